"""What a run on a question of the decisions API came to: the prior that it would make live, and its figures."""

from dataclasses import asdict, dataclass, replace

import numpy as np

from ..gate.promote import Promotion
from ..model.questions import Question
from ..priors.questions import strongest_offsets
from ..records import JSON, OptionOffset, Prior, QuestionOffsets, Run, Usage
from ..token_prior.decisions import Fitted
from .decision_race import Raced, SaidStanding

_FURTHEST_Z = 99.0
_TINY = 1e-4
"""Nats: no deviation of an offset is taken for less."""


@dataclass(frozen=True, slots=True)
class DecisionsLearned:
    """What a run came to."""

    run: Run
    resumed: bool
    fitted: Fitted
    candidate: Prior | None
    """None where no offsets were kept, or where they are live already."""
    promotion: Promotion | None
    usage: Usage
    notes: tuple[str, ...]
    instructions: str
    raced: Raced

    @property
    def offsets(self) -> list[OptionOffset]:
        """Those that were learned, the strongest first."""
        found = self.candidate.questions if self.candidate else ()
        return next((strongest_offsets(entry) for entry in found if entry.instructions == self.instructions), [])

    def as_json(self) -> dict[str, JSON]:
        """The figures of the run."""
        return {
            "run": self.run.id,
            "resumed": self.resumed,
            "surface": "decisions",
            "candidate": self.candidate.id if self.candidate else None,
            "state": self.promotion.state if self.promotion else None,
            "changed": self.promotion is not None and self.promotion.state in ("live", "ungated"),
            "gate": self.promotion.as_json() if self.promotion and self.promotion.trial else None,
            "kept": self.fitted.kept,
            "why": self.fitted.why,
            "said": self.raced.winner.arm.source,
            "race": [one.as_json() for one in self.raced.table],
            "ridge": None if np.isinf(self.fitted.ridge) else self.fitted.ridge,
            "before": self.fitted.before,
            "after": self.fitted.after,
            "offsets": [{"option": one.option, "offset": one.offset, "z": round(one.z, 2)} for one in self.offsets],
            "usage": asdict(self.usage),
            "notes": list(self.notes),
        }


def candidate_of(won: SaidStanding, live: Prior, said: Prior, question: Question, tasks: int) -> Prior | None:
    """What won, with the offsets that were learned under it; None where that is nothing new.

    Where something else is said than now (`said`), it stands with the question that it was learned for, even where all
    its offsets are 0.
    """
    fitted, is_new = won.fitted, won.arm.said.id != said.id
    if not (fitted.kept or is_new):
        return None
    z = np.clip(fitted.offsets / np.maximum(fitted.deviations, _TINY), -_FURTHEST_Z, _FURTHEST_Z)
    entries = tuple(
        OptionOffset(option, offset, round(float(sure), 4), tasks)
        for option, offset, sure in zip(question.options, fitted.offsets.tolist(), z.tolist(), strict=True)
    )
    learned = QuestionOffsets(question.kind, question.instructions, entries)
    others = tuple(entry for entry in live.questions if entry.id != learned.id)
    parent = None if live.id == Prior().id else live.id
    candidate = replace(won.arm.said if is_new else live, questions=(*others, learned), parent=parent)
    return None if candidate.id == live.id else candidate
