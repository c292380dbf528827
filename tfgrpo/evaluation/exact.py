"""Exact groups in an evaluation: arms whose answers are listed, so that what they earn is known without sampling.

One call lists the answers to a task under the text of a prior, for every token prior: arms that differ by that alone
share it. Whether it can be done is looked at on the first tasks, as in learning (`learning/exact.py`); an answer that
cannot be listed in as many calls as there would be rollouts is sampled: that is decided once for an arm and a task.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..records import AnswerTree, CallKey, Prior, Rollout, Task
from ..rollouts.executor import Executor
from ..rollouts.group import concurrently
from ..settings import FLAT
from ..token_prior.exact import LOOKED_AT, AnswerShares, draw_evenly, start_of
from .arms import Earned

if TYPE_CHECKING:
    from ..token_prior.listing import ListedAnswers, Listing

LISTING_STAGE = "eval listed"


class ExactArms:
    """Makes the rollouts of arms from listed answers, and knows what these arms earn."""

    def __init__(self, listing: "Listing", run: str, heat: float, *, repeats: int, seed: int) -> None:
        self._listing, self._run, self._heat, self._repeats, self._seed = listing, run, heat, repeats, seed
        self.known: dict[tuple[str, str], Earned] = {}
        """By arm and task, once its rollouts are made."""
        self._drawn: dict[tuple[str, str], tuple[Rollout, ...]] = {}
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}

    async def look(self, tasks: Sequence[Task]) -> float:
        """The least that is listed of the answers to the first tasks: they can all be had where that is enough."""
        found = await concurrently(self._answers(task, Prior()) for task in tasks[:LOOKED_AT])
        return min((one.now.covered if one else 0.0 for one in found), default=0.0)

    def executor(self, arm: str, sampled: Executor) -> Executor:
        """Of one arm: draws from what is listed, as evenly as can be; `sampled` makes what cannot be."""

        async def one(task: Task, prior: Prior, step: int, sample: int) -> Rollout:
            name = arm, task.id
            async with self._locks.setdefault(name, asyncio.Lock()):
                if name not in self._drawn:
                    self._drawn[name] = await self._draw(arm, task, prior, step)
            drawn = self._drawn[name]
            return drawn[sample] if drawn else await sampled(task, prior, step, sample)

        return one

    async def _draw(self, arm: str, task: Task, prior: Prior, step: int) -> tuple[Rollout, ...]:
        """All rollouts of an arm at a task; none where its answers cannot be listed."""
        found = await self._answers(task, prior)
        if found is None or not found.is_known:
            return ()
        self.known[arm, task.id] = earned(found.tree, found.now, self._repeats)
        start = start_of(self._seed, LISTING_STAGE, arm, task.id)
        places = draw_evenly(found.tree, found.now, self._repeats, start)
        blank = Rollout(task, step, 0, prior.id, tuple(one.id for one in prior.experiences))
        return tuple(found.rollout(place, replace(blank, sample=sample)) for sample, place in enumerate(places))

    async def _answers(self, task: Task, prior: Prior) -> "ListedAnswers | None":
        said = replace(prior, biases=(), tokenizer=None, parent=None)
        key = CallKey(self._run, f"{LISTING_STAGE} {said.id}", task=task.id)
        return await self._listing.answers(task, prior, self._heat, key, calls=self._repeats)


def earned(tree: AnswerTree, now: AnswerShares, repeats: int) -> Earned:
    """What so many rollouts of these answers earn; what is not listed is taken for as good as what is."""
    ended = np.isfinite(tree.rewards)
    chances = np.where(ended, now.reached[:, None] * now.chances, 0.0)
    full = float(chances[ended & (tree.rewards > 1 - FLAT)].sum()) / now.covered
    return Earned(now.mean, 1 - (1 - min(1.0, full)) ** repeats)
