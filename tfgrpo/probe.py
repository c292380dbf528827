"""What an upstream honours, measured with a few one-token calls before anything is learned from it."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from .hashing import content_id
from .llm import Upstream
from .records import JSON, Backend, CallKey, ChatBody, Frame, Reply, TokenTrace
from .rollouts import sampling
from .tokens import is_special

_PROMPT = "Name a colour."
_TEXT = "Tokenizers split THIS text, naïve façade, 你好 \U0001f642, 12345.678 and\n\tindentation, in their own way."
"""A text whose token ids tell tokenizers apart."""
_COLD = 0.5
"""The temperature at which reported log-probabilities are compared with those at 1."""
_FORCE = 100
"""A bias under which a token is sampled for certain, where biases are honoured."""


async def probe(upstream: Upstream, model: str, *, run: str) -> Backend:
    """Three calls of one token: ids, log-probabilities, and what temperature and a forcing bias do to both.

    Raises UpstreamError when the upstream cannot be used at all, ModelError when it does not answer the plain call.
    """
    backend = Backend(kind=await _kind(upstream, model, run))
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
    backend = replace(backend, tokenizer=await _fingerprint(upstream, backend, model, run))
    target = _unlikely(plain.trace)
    if target is None:
        return backend
    cold = await ask(1, temperature=_COLD)
    forced = await ask(2, logit_bias={str(target): _FORCE})
    before, after = _listed(plain.trace), _listed(forced.trace)
    return replace(
        backend,
        token_ids=True,
        logprobs=True,
        logit_bias=_honoured(upstream, forced, target),
        includes_bias=after.get(target, -math.inf) > before[target] / 2,
        includes_temperature=_scaled(before, _listed(cold.trace)),
    )


async def _kind(upstream: Upstream, model: str, run: str) -> Literal["llama.cpp", "vllm", "other"]:
    """By who owns the model, among several; one that is not listed by that name may be any of them (llama.cpp)."""
    answer = await upstream.get("/models", CallKey(run, "probe /models"))
    data = answer.get("data") if isinstance(answer, Mapping) else None
    models = [entry for entry in data if isinstance(entry, Mapping)] if isinstance(data, list) else []
    named = [entry for entry in models if entry.get("id") == model]
    owners = [entry.get("owned_by") for entry in named or models]
    return "llama.cpp" if "llamacpp" in owners else "vllm" if "vllm" in owners else "other"


async def _fingerprint(upstream: Upstream, backend: Backend, model: str, run: str) -> str:
    """The ids of a telling text where the server tokenizes, else the model's name."""
    if backend.kind != "other":
        field = "content" if backend.kind == "llama.cpp" else "prompt"
        key = CallKey(run, "probe /tokenize")
        answer = await upstream.post("/tokenize", {field: _TEXT, "model": model}, key)
        tokens = answer.get("tokens") if isinstance(answer, Mapping) else None
        if isinstance(tokens, list) and tokens and all(isinstance(token, int) for token in tokens):
            return content_id("tokenizer", tokens)
    return content_id("tokenizer", "model", model)


def _listed(trace: TokenTrace | None) -> dict[int, float]:
    """The log-probabilities that were given at the first position, the sampled token's first."""
    if trace is None:
        return {}
    pairs = zip(trace.ids[0].tolist(), trace.logprobs[0].tolist(), strict=True)
    return {token: logprob for token, logprob in pairs if math.isfinite(logprob)}


def _unlikely(trace: TokenTrace | None) -> int | None:
    """The least likely token listed that was not sampled, so that forcing it shows; one that leaves a text."""
    listed = _listed(trace)
    if trace is None:
        return None
    others = [token for token in listed if token != trace.ids[0, 0] and not is_special(trace.pieces[token])]
    return min(others, key=lambda token: (listed[token], token), default=None)


def _honoured(upstream: Upstream, forced: Reply, target: int) -> Literal["honoured", "rejected", "inert"]:
    if "logit_bias" in upstream.dropped:
        return "rejected"
    return "honoured" if forced.trace is not None and int(forced.trace.ids[0, 0]) == target else "inert"


def _scaled(plain: Mapping[int, float], cold: Mapping[int, float]) -> bool:
    """Whether the widest gap between two tokens' log-probabilities grew with 1 / T."""
    shared = sorted(plain.keys() & cold.keys(), key=lambda token: (plain[token], token))
    if len(shared) < 2:
        return False
    one = plain[shared[-1]] - plain[shared[0]]
    other = cold[shared[-1]] - cold[shared[0]]
    return abs(other - one / _COLD) < abs(other - one)
