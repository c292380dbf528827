"""The capabilities of an upstream, for people: all that it honours, beyond what learning needs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from ..errors import ModelError, UpstreamError
from ..model.upstream import Upstream
from ..records import JSON, Backend, CallKey, Frame, Reply
from ..rollouts.executor import sampling, telling
from ..settings import LISTED_FOR_LABELS
from ..surfaces.surface import Way, ways_open
from .backend import SHORT, Honoured, listed_at_most, probe
from .goes_on import with_way_on

SHIFT = 2.0
"""Nats by which a token is raised to see whether its reported log-probability moves."""
_PROMPT = "Write a short sentence about the sea."
_TOKENS = 24


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What was measured, and how many calls it took."""

    backend: Backend
    shift: float | None
    """By how much the reported log-probability of a token that was raised by SHIFT moved; 0: reported before the bias,
    or not honoured; None where there is none to see."""
    n: Honoured
    """Whether `n` choices come from one request."""
    seed: Honoured
    """Whether one seed gives one answer, and another seed another; unknown where all answers are alike."""
    calls: int

    def as_json(self) -> dict[str, JSON]:
        """All figures, those of the backend beside the others."""
        own = {name: value for name, value in asdict(self).items() if name != "backend"}
        return {**asdict(self.backend), **own, "way": self.ways[0], "ways": list(self.ways)}

    @property
    def ways(self) -> tuple[Way, ...]:
        """How a token prior can act there, the best first; labels alone can be decided again."""
        return ways_open(self.backend, self.n)


async def capabilities(upstream: Upstream, model: str) -> Capabilities:
    """What the probe and ten short calls more show; raises as `probe` does. What a call fails at counts as rejected.

    How many alternatives are listed may take three calls more, and how it goes on with an answer eight.
    """
    backend = await probe(upstream, model, run="")
    if backend.logprobs and not backend.alternatives:
        backend = replace(backend, alternatives=await listed_at_most(upstream, backend, model, run=""))
    frame = Frame(model, temperature=1.0)
    backend = await with_way_on(upstream, backend, frame, run="")

    async def ask(seed: int, **more: JSON) -> Reply | None:
        body = {
            "model": model,
            "messages": [{"role": "user", "content": _PROMPT}],
            "max_tokens": _TOKENS,
            **sampling(frame, backend, seed),
            **more,
        }
        try:
            return await upstream(body, CallKey("", "survey"))
        except UpstreamError:
            raise
        except ModelError:
            return None

    told = {"max_tokens": SHORT, **telling(backend, LISTED_FOR_LABELS)}
    listed, shift = _first(await ask(1, **told)), None
    if backend.logprobs and len(listed) > 1:
        token = sorted(listed, key=lambda each: -listed[each])[1]
        raised = _first(await ask(1, **told, logit_bias={str(token): SHIFT}))
        shift = round(raised[token] - listed[token], 3) if token in raised else None
    several = await ask(1, n=2)
    same, again, other = [await ask(seed) for seed in (2, 2, 3)]
    return Capabilities(
        backend,
        shift,
        _several(several, upstream),
        _seeded(same, again, other, upstream),
        upstream.usage.calls,
    )


def _first(reply: Reply | None) -> Mapping[int, float]:
    """The log-probabilities listed at the first position, the alternatives and the token sampled."""
    if reply is None or reply.trace is None:
        return {}
    pairs = zip(reply.trace.ids[0].tolist(), reply.trace.logprobs[0].tolist(), strict=True)
    return {token: logprob for token, logprob in pairs if token >= 0}


def _several(reply: Reply | None, upstream: Upstream) -> Honoured:
    if reply is None or "n" in upstream.dropped:
        return "rejected"
    return "honoured" if reply.choices > 1 else "inert"


def _seeded(same: Reply | None, again: Reply | None, other: Reply | None, upstream: Upstream) -> Honoured:
    if same is None or again is None or other is None or "seed" in upstream.dropped:
        return "rejected"
    if same.text != again.text:
        return "inert"
    return "honoured" if same.text != other.text else "unknown"
