"""Exact groups in a run: whether they are to be had, and the rollouts that are drawn from listed answers.

They are looked for at the first tasks. Where the answers to these can be listed in no more calls than rollouts would
take, so are those of every prompt that is dealt at least as many rollouts; the others are sampled as ever. What is
listed of a prompt is remembered, so that in later steps, under other biases, it costs nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..probe.backend import with_alternatives
from ..records import Backend, CallKey, ListedPrompt, Rollout, Task
from ..rollouts.group import Under, concurrently
from ..text import counted
from ..token_prior.exact import COVERED, LOOKED_AT, draw_evenly, start_of
from .plan import RunContext
from .token_prior import TokenRun

if TYPE_CHECKING:
    from ..token_prior.listing import Listing

STAGE, LOOK = "rollout listed", "rollout look"


@dataclass(frozen=True, slots=True)
class ExactRound:
    """What is known exactly of a round."""

    rollouts: Mapping[tuple[str, int], Rollout] = field(default_factory=dict)
    """By task and sample."""
    listed: Mapping[str, tuple[ListedPrompt, ...]] = field(default_factory=dict)
    """What they are drawn from, by task."""


class ExactRollouts:
    """Draws the rollouts of a round from listed answers, where that can be done."""

    def __init__(self, context: RunContext, tokens: TokenRun) -> None:
        """To be made only where the request keeps answers short."""
        self._context, self._tokens = context, tokens
        self._needs: int | None = None
        """Calls that the answers to a prompt take; None: not looked at yet."""
        self.listing: Listing | None = self._made(context.backend) if self._may_be() else None
        """What lists answers, with all that is listed already; None where rollouts are sampled."""

    def _may_be(self) -> bool:
        """Whether there may be any in this run, as far as can be told before anything is asked."""
        plan, settings, stages = self._context.plan, self._context.plan.settings, self._context.store.spent_by_stage
        if settings.exact_groups == "off" or plan.agent or settings.bounded or settings.overlong:
            return False
        begun = stages(self._context.run.id)
        return STAGE in begun or "rollout" not in begun  # a run goes on as it began

    def _made(self, backend: Backend) -> "Listing | None":
        from ..token_prior.listing import Listing, unlistable

        context, frame = self._context, self._tokens.frame()
        if unlistable(frame, backend, context.plan.reward):
            return None
        return Listing(context.upstream, frame, backend, context.plan.reward)

    async def drawn(self, tasks: Sequence[Task], step: int, under: Callable[[Task, int], Under]) -> ExactRound:
        """The rollouts of these tasks that need not be sampled."""
        if self.listing and self._needs is None:
            backend, model = self._context.backend, self._context.plan.frame.model
            counted_there = await with_alternatives(self._context.upstream, backend, model, run=self._context.run.id)
            self.listing = self._made(counted_there)
        if self.listing and self._needs is None:
            await self._look(self.listing, tasks, under)
        if self.listing is None:
            return ExactRound()
        dealt = [(task, given, samples) for task in tasks for given, samples in self._prompts(task, under)]
        found = await concurrently(self._rollouts(self.listing, *one, step) for one in dealt)
        rollouts: dict[tuple[str, int], Rollout] = {}
        listed: dict[str, tuple[ListedPrompt, ...]] = {}
        for (task, *_), one in zip(dealt, found, strict=True):
            if one:
                listed[task.id] = (*listed.get(task.id, ()), one[0])
                rollouts |= {(task.id, made.sample): made for made in one[1]}
        for made in rollouts.values():
            self._context.observer.landed(made)
        return ExactRound(rollouts, listed)

    def _prompts(self, task: Task, under: Callable[[Task, int], Under]) -> list[tuple[Under, list[int]]]:
        """The different prompts that a task's rollouts are dealt, each with its samples."""
        found: dict[tuple[str, str], tuple[Under, list[int]]] = {}
        for sample in range(self._context.plan.settings.group_size):
            given = under(task, sample)
            found.setdefault((given.prior.id, given.variant), (given, []))[1].append(sample)
        return list(found.values())

    async def _look(self, listing: "Listing", tasks: Sequence[Task], under: Callable[[Task, int], Under]) -> None:
        """Decide by the first tasks, and say what was decided."""
        most, seen = self._context.plan.settings.group_size, tasks[:LOOKED_AT]
        found = await concurrently(
            listing.answers(
                task,
                under(task, 0).prior,
                self._tokens.sampled_at,
                CallKey(self._context.run.id, LOOK, 0, task.id),
                calls=most,
            )
            for task in seen
        )
        known = [one for one in found if one and one.is_known]
        if len(known) < len(seen):
            self.listing = None
            least = min((one.now.covered if one else 0.0 for one in found), default=0.0)
            told = f"rollouts are sampled: of the answers to {counted(len(seen), 'task')}, all short"
            self._context.notes.note(f"{told}, only {least:.0%} could be listed ({COVERED:.0%} are needed)")
            return
        self._needs = max((one.calls for one in known), default=1)
        least = min((one.now.covered for one in known), default=1.0)
        each = counted(self._needs, "call")
        self._context.notes.note(
            f"exact groups: {each} a prompt lists {least:.1%} of its answers or more, in place of rollouts"
        )

    async def _rollouts(
        self, listing: "Listing", task: Task, given: Under, samples: Sequence[int], step: int
    ) -> tuple[ListedPrompt, list[Rollout]] | None:
        """What is listed of a prompt, and its rollouts; None where they are to be sampled."""
        calls = len(samples) if len(samples) >= (self._needs or 1) else 0
        key = CallKey(self._context.run.id, STAGE, step, task.id, samples[0])
        found = await listing.answers(task, given.prior, self._tokens.sampled_at, key, calls=calls)
        if not (found and found.is_known):
            return None
        included = tuple(one.id for one in given.prior.experiences)
        listed = ListedPrompt(
            task,
            found.request,
            found.tree,
            len(samples),
            found.now.mean,
            found.now.missing,
            given.variant,
            included,
        )
        start = start_of(self._context.plan.settings.seed, STAGE, step, task.id, samples[0])
        places = draw_evenly(found.tree, found.now, len(samples), start)
        return listed, [
            found.rollout(place, Rollout(task, step, sample, given.prior.id, included, variant=given.variant))
            for place, sample in zip(places, samples, strict=True)
        ]
