"""One call with the live prior, under the request frame that it was learned in, with no proxy between."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..model.upstream import Upstream
from ..probe.backend import recognised
from ..records import Backend, Prior, Snapshot, Task
from ..rollouts.executor import rollout_once
from ..surfaces.chat import prior_for
from ..surfaces.surface import left_out, way_of


@dataclass(frozen=True, slots=True)
class Said:
    """What one call came to."""

    text: str
    prior: Prior
    """What the model was given of the live prior."""
    notes: tuple[str, ...]
    """What was left out of the request, and why."""


async def say(
    url: str | None,
    model: str,
    text: str,
    snapshot: Snapshot,
    probed: Mapping[str, Mapping[str, Backend]],
    *,
    frozen: bool,
    seed: int,
) -> Said:
    """Send a text to a model; `probed` is what the store remembers of upstreams, and `frozen` leaves the prior out.

    Raises ModelError where the call fails.
    """
    async with Upstream(url) as upstream:
        known = probed.get(upstream.key, {}).get(model)
        given, notes = (Prior(), []) if frozen else _fitting(snapshot, model, upstream, known)
        frame = replace(snapshot.frame, model=model)
        backend = known or await recognised(upstream, model)
        if way_of(backend, frame.labels) != "re-decide":
            backend = replace(backend, logit_bias="honoured")
        rollout = await rollout_once(upstream, frame, Task(text), given, backend=backend, seed=seed)
    return Said(rollout.text, given, (*notes, *upstream.adapted.notes))


def _fitting(snapshot: Snapshot, model: str, upstream: Upstream, known: Backend | None) -> tuple[Prior, list[str]]:
    """The live prior less a token prior that the model or its upstream has no use for, and what to say of that."""
    given = prior_for(snapshot, model)
    if len(given.biases) < len(snapshot.prior.biases):
        return given, [f"token prior left out: it was learned on {snapshot.frame.model}, and this is {model}"]
    if known and way_of(known, snapshot.frame.labels) == "re-decide":
        return given, ["logit_bias is not honoured: the label is decided again, from log-probabilities"]
    if lacking := left_out(given, known):
        return replace(given, biases=(), tokenizer=None), [
            f"token prior left out: {upstream.name} was probed: {lacking}"
        ]
    return given, []
