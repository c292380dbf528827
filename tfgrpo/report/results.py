"""What `tfgrpo.learn` and `tfgrpo.evaluate` give: results that know their store, and that a notebook can show."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..evaluation.arms import Evaluation
from ..evaluation.difference import FEWEST
from ..learning.result import LearningResult
from ..records import Prior, Rollout
from ..store import Store, StorePath
from ..text import counted
from .gather import gather_figures
from .notebook import evaluation_html, learning_html
from .page import render_page
from .verdict import points


@dataclass(frozen=True, slots=True, repr=False)
class LearningRun(LearningResult):
    """What a learning came to, and the store that all of it is in."""

    store: StorePath = field(kw_only=True)

    @classmethod
    def of(cls, result: LearningResult, store: StorePath) -> "LearningRun":
        """A result, and the store that it is in."""
        return cls(**_parts(result), store=store)

    def rollouts(self) -> tuple[Rollout, ...]:
        """All rollouts that it learned from: by step, then in the order of the tasks."""
        with Store(self.store, create=False) as store:
            return tuple(rollout for group in store.groups(self.run.id) for rollout in group.rollouts)

    def report(self, path: str | Path) -> Path:
        """Write the run's page, one HTML file that needs nothing else, and return where; needs the extra `report`.

        Raises InputError without the extra, and for a place that cannot be written.
        """
        with Store(self.store, create=False) as store:
            page = render_page(gather_figures(store, self.run.id))
        place = Path(path).expanduser()
        try:
            place.write_text(page, encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot write {place}: {error.strerror}") from error
        return place

    def __repr__(self) -> str:
        state = self.promotion.state if self.promotion else "nothing new"
        learned = self.candidate or self.prior
        held = f"{counted(len(learned.experiences), 'experience')}, {counted(len(learned.biases), 'token bias')}"
        rewards = " -> ".join(f"{100 * step.mean_reward:.1f}%" for step in self.steps)
        return f"<LearningRun {self.run.id}: {state}, {learned.id} ({held}), mean reward {rewards or '-'}>"

    def _repr_html_(self) -> str:
        return learning_html(self)


@dataclass(frozen=True, slots=True, repr=False)
class EvaluationRun(Evaluation):
    """What an evaluation came to, and the prior that it measured."""

    prior: Prior = field(kw_only=True)

    @classmethod
    def of(cls, result: Evaluation, prior: Prior) -> "EvaluationRun":
        """A result, and the prior that was measured."""
        return cls(**_parts(result), prior=prior)

    def __repr__(self) -> str:
        means = ", ".join(f"{arm} {100 * mean:.1f}%" for arm, mean in self.means.items())
        gain = self.difference
        interval = f"95% interval {points(gain.low)} to {points(gain.high)}"
        around = interval if self.tasks >= FEWEST else "too few tasks for an interval"
        told = f"{means}; {points(gain.mean)} points, {around}"
        failed = f"; {self.what_failed}" if self.failed else ""
        return f"<EvaluationRun {self.prior.id} on {counted(self.tasks, 'task')}: {told}{failed}>"

    def _repr_html_(self) -> str:
        return evaluation_html(self)


def _parts(result: LearningResult | Evaluation) -> Mapping[str, Any]:
    return {one.name: getattr(result, one.name) for one in fields(result)}
