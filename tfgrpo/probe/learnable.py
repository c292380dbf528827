"""What can be learned on an upstream, and what to do about the rest: the probe's verdict in words. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from ..model.tokenizer import Tokenizer
from ..records import JSON, Backend
from ..surfaces.surface import way_of
from ..token_prior.estimators import WEAKER, obstacle

_AGAIN = (
    "logit_bias is {how}, and log-probabilities come: where answers are labels, these are decided again, in learning"
    " and by client and proxy, as the biases would have decided them"
)
_NAME_TOKENS = "--tokenizer FILE, the model's tokenizer.json (extra `tfgrpo[tokenizer]`)"


@dataclass(frozen=True, slots=True)
class Learnable:
    """What an upstream lets be learned; experiences and demonstrations are text, and can be learned on any."""

    token_prior: str | None
    """By which estimator, `policy gradient` or `log-odds`; None: not at all."""
    why: str
    advice: tuple[str, ...]
    """What would make more of it."""

    def as_json(self) -> dict[str, JSON]:
        """The verdict for programs."""
        texts: dict[str, JSON] = {"experiences": True, "demonstrations": True}
        return {**texts, "token_prior": self.token_prior, "why": self.why, "advice": list(self.advice)}


def learnable(backend: Backend, tokenizer: Tokenizer | None) -> Learnable:
    """The verdict on a backend; `tokenizer` is what is at hand for its model."""
    advice = tuple(_advice(backend, tokenizer))
    if way_of(backend, ("a label",)) == "re-decide":
        return Learnable("policy gradient", _AGAIN.format(how=backend.logit_bias), advice)
    if lacking := obstacle(backend, tokenizer):
        return Learnable(None, f"the upstream {lacking}", advice)
    if backend.logprobs:
        return Learnable("policy gradient", "logit_bias is honoured, and log-probabilities tell of each token", advice)
    return Learnable("log-odds", f"logit_bias is honoured, and no log-probabilities come: {WEAKER}", advice)


def _advice(backend: Backend, tokenizer: Tokenizer | None) -> Iterator[str]:
    """One sentence for each thing that is lacking and can be had."""
    if backend.logit_bias in ("rejected", "inert"):
        if backend.logprobs:
            yield "say what answers may be: --reward choice, or --labels A,B,C; other answers have no token prior here"
            return
        yield (
            "a token prior needs a server that honours logit_bias, such as llama.cpp, vLLM or SGLang; what is learned"
            " as text works here"
        )
        return
    if backend.lacking:
        yield f"tokens have no ids here: {backend.lacking}"
    elif not backend.logprobs and tokenizer is None:
        yield f"name the tokens: {_NAME_TOKENS}"
    elif backend.logit_bias == "unknown":
        yield "no answer showed what logit_bias does; probe again, at a time when the model answers"
    if backend.logprobs and backend.kind == "vllm" and not backend.includes_bias:
        yield "vLLM tells of probabilities before the bias; with logprobs_mode=processed_logprobs they are exact"
