"""What of a prior may come over to another model, and what it is expected to be worth there.

What was learned is known to help on the old model; whether it does on the new one is measured, by a short race
(`race`): the ways to prompt that the prior holds (as it is; without experiences; its demonstrations; its instruction)
beside what is free. What is known of a way on the old model, less what the frozen model earned there, shrunk by what
earlier ports kept of their effect (TRANSFER before there were any), is the mean that its worth starts from.

Tokens belong to their model: those of the new one are fitted to its own answers. Offsets of decisions stay behind.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..experiences.variants import answer_text, taking_turns, variant_of
from ..hashing import derive_seed
from ..observer import laps_in
from ..records import JSON, Prior, Run, Snapshot, Task, Variant
from ..store import Store
from ..surfaces.chat import prior_text
from ..token_prior.verbalised import with_tokens_in_words

TRANSFER = 0.5
"""What of an effect is expected to come over, before any port has shown how much does."""
LEAST_KNOWN = 0.05
"""An effect on the old model below which nothing is told of how much comes over."""
WHOLE = "ported"
"""The source, for people, of the way to prompt that is all of the prior's."""


@dataclass(frozen=True, slots=True)
class Ported:
    """The prior of another model, to be tried on this one."""

    snapshot: Snapshot
    """It, live on its own model."""
    learned: Run
    """What learned there: its race says what each way to prompt was worth."""
    effect: float
    """What it is worth on its own model, by the gate; 0 where none is known."""

    def as_json(self) -> dict[str, JSON]:
        """What it adds to the settings of the run that tries it."""
        return {"ported": self.snapshot.prior.id, "from": self.snapshot.namespace, "known_effect": float(self.effect)}


@dataclass(frozen=True, slots=True)
class Brought:
    """What enters a race with a prior of another model."""

    origin: str
    """What the log says of a candidate that has come over."""
    variants: tuple[Variant, ...]
    """Its ways to prompt, each with all that it says as its instruction, experiences too."""
    texts: Mapping[str, Prior]
    """By what their variants say: the parts of the prior, with experiences as what they are."""
    expected: Mapping[str, float]
    """By id, of these and of others: what a variant is expected to be worth here beyond the frozen model."""

    def holds(self, variant: Variant) -> bool:
        """Whether a variant has come over, or says what has."""
        return (variant.instruction or "") in self.texts or variant.id in {one.id for one in self.variants}

    def likeliest(self, proposed: Sequence[Variant]) -> list[Variant]:
        """What is free, with the smallest and the largest set of examples, and pool of them: few rollouts tell few
        apart. Of several draws of a size it is the one that is expected to do best."""
        best: dict[tuple[int, int], Variant] = {}
        for one in proposed:
            size = one.nearest, len(one.demonstrations)
            if size not in best or self.expected.get(one.id, 0.0) > self.expected.get(best[size].id, 0.0):
                best[size] = one
        sets, pools = (sorted(size for size in best if size[1] and (size[0] > 0) is pooled) for pooled in (False, True))
        ends = {*sets[:1], *sets[-1:], *pools[:1], *pools[-1:]}
        return [one for size, one in best.items() if size in ends or not any(size)]


def brought_over(ported: Ported, store: Store, run: Run, *, in_words: bool) -> Brought:
    """What enters the race of a run; `in_words`: no token prior can act here, so that the old one is put in words."""
    prior = ported.snapshot.prior
    if in_words and prior.biases and run.frame.labels:
        prior = with_tokens_in_words(prior, run.frame.labels)
    found = {variant.id: (variant, part) for variant, part in reversed([*_ways(prior)])}
    variants = [variant for variant, _ in reversed(found.values())]
    known = dict(_worth(laps_in(ported.learned.result)))
    for variant in variants:
        known.setdefault(variant.id, ported.effect / (1 if variant is variants[0] else 2))
    transfer = learned_transfer(store, before=run)
    return Brought(
        f", ported from {ported.snapshot.prior.id} of {ported.snapshot.frame.model}",
        tuple(variants),
        {text: part for _, part in found.values() if (text := prior_text(part))},
        {name: transfer * effect for name, effect in known.items()},
    )


def _ways(prior: Prior) -> Iterator[tuple[Variant, Prior]]:
    """The ways to prompt that a prior holds, each with the part that it is, the whole first; some may be equal."""
    plain = replace(prior, biases=(), tokenizer=None)
    parts = {
        WHOLE: plain,
        f"{WHOLE}, without experiences": replace(plain, experiences=()),
        f"{WHOLE}, examples alone": replace(plain, experiences=(), instruction=None),
        f"{WHOLE}, instruction alone": replace(plain, experiences=(), demonstrations=(), nearest=0),
    }
    for source, part in parts.items():
        if part.has_text:
            said = prior_text(part) or None
            yield Variant(said, part.demonstrations, part.nearest, source, part.embedding), part


def _worth(laps: Sequence[Mapping[str, JSON]]) -> Iterator[tuple[str, float]]:
    """By id: what each way to prompt earned in a race, as of its last lap, less what the frozen model did."""
    rows = {row["arm"]: row["reward"] for lap in laps for row in lap["arms"]}
    frozen = rows.get(Variant().id)
    if frozen is not None:
        yield from ((name, reward - frozen) for name, reward in rows.items())


def portions(tasks: Sequence[Task], seed: int) -> list[Sequence[Task]]:
    """The tasks in two portions, two thirds and the rest, by hash, answers that repeat in turns; each is in one."""
    drawn = sorted(tasks, key=lambda task: (derive_seed(seed, "port", task.id), task.id))
    ordered = taking_turns(drawn, lambda task: answer_text(task.answer))
    first = -(-2 * len(ordered) // 3) if len(ordered) > 2 else 1
    return [part for part in (ordered[:first], ordered[first:]) if part]


def learned_transfer(store: Store, before: Run | None = None) -> float:
    """What of their effect earlier ports have kept, TRANSFER counted as one of them; `before` a run began."""
    kept, entries = [TRANSFER], store.runs()
    began = next((entry.started for entry in entries if before and entry.run.id == before.id), None)
    for entry in entries:
        known, found = entry.run.settings.get("known_effect"), _measured(entry.run)
        over = entry.ended is not None and (began is None or entry.ended <= began)
        if over and isinstance(known, float) and known > LEAST_KNOWN and found is not None:
            kept.append(min(1.5, max(-0.5, found / known)))
    return float(np.mean(kept))


def _measured(run: Run) -> float | None:
    """What the whole prior was worth in a port; None where nothing tells it."""
    figure = run.result.get("measured")  # of ports before they raced
    if isinstance(figure, float):
        return figure
    laps = laps_in(run.result)
    named = {row["source"]: row["arm"] for lap in laps for row in lap["arms"]}
    return dict(_worth(laps)).get(named.get(WHOLE, ""))


def known_effect(store: Store, snapshot: Snapshot, learned: Run) -> float:
    """What the live prior is worth on its own model, by the race that it won, or the last trial; 0 where none tells."""
    prior, worth = snapshot.prior, dict(_worth(laps_in(learned.result)))
    own = variant_of(prior, "").id
    if own in worth and not prior.experiences:
        return worth[own]
    trials = store.trials(snapshot.namespace)
    passed = [one.outcome.estimate for one in trials if one.candidate == prior.id and one.outcome]
    return passed[-1] if passed else 0.0
