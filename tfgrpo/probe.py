"""What an upstream honours, measured with a few one-token calls before anything is learned from it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from .hashing import content_id
from .llm import Upstream
from .records import JSON, Backend, CallKey, ChatBody, Frame, Reply, TokenTrace
from .rollouts import sampling

_PROMPT = "Name a colour."
_TEXT = "Tokenizers split THIS text, naïve façade, 你好 \U0001f642, 12345.678 and\n\tindentation, in their own way."
"""A text whose token ids tell tokenizers apart."""
_HOT = 0.5
"""The temperature at which reported log-probabilities are compared with those at 1."""


async def probe(upstream: Upstream, model: str, *, run: str) -> Backend:
    """Three or four calls of one token: ids, log-probabilities, and what a forcing bias does to both.

    Raises UpstreamError when the upstream cannot be used at all, ModelError when it does not answer the plain call.
    """
    backend = Backend(kind=await _kind(upstream))
    frame = Frame(model, temperature=1.0)

    async def ask(sample: int, **more: JSON) -> Reply:
        body: ChatBody = {
            "model": model,
            "messages": [{"role": "user", "content": _PROMPT}],
            "max_tokens": 1,
            **sampling(frame, backend, seed=1),
            "logprobs": True,
            "top_logprobs": 5,
            **more,
        }
        return await upstream(body, CallKey(run, "probe", sample=sample))

    plain = await ask(0)
    backend = replace(backend, tokenizer=await _fingerprint(upstream, backend, model))
    if plain.trace is None or plain.trace.ids.shape[1] < 3:
        return backend
    cold = await ask(1, temperature=_HOT)
    target = _runner_up(plain.trace)
    forced = await ask(2, logit_bias={str(target): 100})
    return replace(
        backend,
        token_ids=True,
        logprobs=True,
        logit_bias=_honoured(upstream, forced, target),
        includes_bias=_log_probability(forced.trace, target) > _log_probability(plain.trace, target) / 2,
        includes_temperature=_scaled(plain.trace, cold.trace),
    )


async def _kind(upstream: Upstream) -> Literal["llama.cpp", "vllm", "other"]:
    models = await upstream.get("/models")
    owners = [entry.get("owned_by") for entry in models.get("data", ())] if isinstance(models, Mapping) else []
    return "llama.cpp" if "llamacpp" in owners else "vllm" if "vllm" in owners else "other"


async def _fingerprint(upstream: Upstream, backend: Backend, model: str) -> str:
    """The ids of a telling text where the server tokenizes, else the model's name."""
    if backend.kind != "other":
        key = "content" if backend.kind == "llama.cpp" else "prompt"
        answer = await upstream.post("/tokenize", {key: _TEXT, "model": model})
        if isinstance(answer, Mapping) and isinstance(answer.get("tokens"), list):
            return content_id("tokenizer", answer["tokens"])
    return content_id("tokenizer", "model", model)


def _runner_up(trace: TokenTrace) -> int:
    """A token that the plain call did not sample, so that forcing it shows."""
    return int(next(token for token in trace.ids[0, 1:] if token >= 0))


def _honoured(upstream: Upstream, forced: Reply, target: int) -> Literal["honoured", "rejected", "inert"]:
    if "logit_bias" in upstream.dropped:
        return "rejected"
    return "honoured" if forced.trace is not None and int(forced.trace.ids[0, 0]) == target else "inert"


def _log_probability(trace: TokenTrace | None, token: int) -> float:
    if trace is None:
        return float("-inf")
    places = (trace.ids[0] == token).nonzero()[0]
    return float(trace.logprobs[0, places[0]]) if len(places) else float("-inf")


def _scaled(plain: TokenTrace, cold: TokenTrace | None) -> bool:
    """Whether the gap between two tokens' log-probabilities grew with 1 / T."""
    if cold is None:
        return False
    first, last = (int(token) for token in (plain.ids[0, 0], plain.ids[0, -1]))
    one = _log_probability(plain, first) - _log_probability(plain, last)
    other = _log_probability(cold, first) - _log_probability(cold, last)
    return abs(other - one / _HOT) < abs(other - one)
