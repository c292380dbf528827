"""What a learning run came to, step by step and as a whole."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from ..gate.promote import Promotion
from ..observer import StepSummary
from ..records import JSON, Prior, Run, Usage


@dataclass(frozen=True, slots=True)
class LearningResult:
    """What a run came to."""

    run: Run
    resumed: bool
    prior: Prior
    """What is live now; the prior that was live before when nothing new went live."""
    changed: bool
    """Something new went live."""
    steps: tuple[StepSummary, ...]
    """Those that were completed."""
    fates: Mapping[str, int]
    """How many experiences are kept, on trial, retired, refused."""
    usage: Usage
    notes: tuple[str, ...]
    """What a person should know about this run: what was dropped, left out, or failed."""
    candidate: Prior | None = None
    """What was learned; None where it is nothing new."""
    promotion: Promotion | None = None
    """What became of it; None where there is none, or where it was live already."""
    ended: str | None = None
    """Why the budget ended the run, and what was not done; None where all of it was done."""
    token_prior: Mapping[str, JSON] | None = None
    """How the token prior was estimated, on what figures it was kept or not; None where none was tried."""
    race: tuple[Mapping[str, JSON], ...] = ()
    """How the ways to prompt stood after each step; empty where nothing raced."""
    tokens_a_call: int = 0
    """Prompt tokens that the candidate, or without one the live prior, adds to a call."""

    @property
    def promoted(self) -> bool:
        """The gate has promoted what was learned, and it is live."""
        return self.promotion is not None and self.promotion.state == "live"

    @property
    def why(self) -> str:
        """What became of what was learned, and for what reason, in a sentence."""
        if self.promotion:
            return self.promotion.why
        if self.candidate:
            return "what was learned is live already"
        if not self.steps:
            return f"nothing was learned yet: {self.ended}" if self.ended else "nothing was learned yet"
        return "nothing was learned that evidence supports"

    def as_json(self) -> dict[str, JSON]:
        """The figures of the run."""
        return {
            "run": self.run.id,
            "resumed": self.resumed,
            "prior": self.prior.id,
            "changed": self.changed,
            "candidate": self.candidate.id if self.candidate else None,
            "state": self.promotion.state if self.promotion else None,
            "gate": self.promotion.as_json() if self.promotion and self.promotion.trial else None,
            "ended": self.ended,
            "experiences": len(self.prior.experiences),
            "biases": len(self.prior.biases),
            "race": [dict(lap) for lap in self.race],
            "tokens_a_call": self.tokens_a_call,
            "token_prior": None if self.token_prior is None else dict(self.token_prior),
            "steps": [asdict(step) for step in self.steps],
            "fates": dict(self.fates),
            "usage": asdict(self.usage),
            "notes": list(self.notes),
        }


def last_looks(race: Sequence[Mapping[str, JSON]]) -> list[tuple[int, Mapping[str, JSON]]]:
    """Each way to prompt of a race as it stood when it was last looked at, and after which step (from 0) that was.

    Those that stayed come first, the best of them at the head; then those that left, the last to leave first.
    """
    latest: dict[str, tuple[int, Mapping[str, JSON]]] = {}
    for lap in race:
        latest |= {row["arm"]: (lap["step"], row) for row in lap["arms"]}
    return sorted(latest.values(), key=lambda entry: (entry[1]["left"], -entry[0], -entry[1]["reward"]))
