"""The steps of one run: every task's rollouts under the current prior, and what they teach.

The prior changes only at the end of a step. Within a step nothing waits for a whole batch: a group is distilled as soon
as its last rollout lands. Every derivation goes in task order, never in order of completion.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ..errors import BudgetEnded, ModelError, NoRewardError
from ..experiences.dealing import rounds
from ..experiences.distil import can_teach
from ..experiences.edits import Proposals
from ..hashing import canonical
from ..observer import StepSummary
from ..records import Experience, Group, Prior, Rollout, Task
from ..rollouts.executor import Executor, is_short, request_body
from ..rollouts.group import (
    Order,
    Under,
    by_beginning,
    by_variant,
    concurrently,
    diversity,
    group_kind,
    made_under,
    roll_groups,
    shaped,
    unless_ended,
    visited,
)
from ..rollouts.rewards.reward import compared, score
from ..surfaces.chat import with_prior
from ..surfaces.surface import manner_of
from ..text import counted
from .exact import ExactRollouts, ExactRound
from .experiences import RESTS_AFTER, Attempt, ExperienceLearning
from .forecast import LEARNED, Forecast, course, forecast, forecast_line, sure_reward
from .plan import RunContext
from .race import RACED_OUT, Race
from .result import earned_nothing, hopeless
from .token_prior import TokenRun


class Steps:
    """Makes the steps, one after the other; what they teach is in `experiences` and `tokens`."""

    def __init__(self, context: RunContext, experiences: ExperienceLearning, tokens: TokenRun, race: Race) -> None:
        self._context, self._experiences, self._tokens, self._race = context, experiences, tokens, race
        self._plan, self._settings = context.plan, context.plan.settings
        self._groups: list[Group] = []
        self._outlook: Forecast | None = None
        self._ends: str | None = None
        """Why the last completed step was the last one before its time."""
        self._failed: dict[tuple[int, str, int], Rollout] = {}
        self._executor = self._scoring()
        self.exact = ExactRollouts(context, tokens) if is_short(tokens.frame()) else None

    async def make(self, *, resumed: bool) -> tuple[tuple[StepSummary, ...], BudgetEnded | None]:
        """The steps that were completed, and what ended them early; calls in flight then have landed."""
        self._failed = await self._failures() if resumed else {}
        settings, tasks = self._settings, len(self._plan.tasks)
        most = tasks if settings.distilled_groups is None else min(tasks, settings.distilled_groups)
        distilled = most if settings.experiences else 0
        self._context.observer.stage(
            "learn", self._plan.visits * settings.group_size * tasks, settings.steps * distilled
        )
        steps: list[StepSummary] = []
        try:
            if failed := await self._experiences.start():
                self._context.notes.note(f"nothing is on trial in the first step: {failed}")
            for number in range(settings.steps):
                steps.append(await self._step(number))
                if self._is_last(number):
                    break
        except BudgetEnded as cut:
            return tuple(steps), cut
        return tuple(steps), None

    @property
    def groups(self) -> Sequence[Group]:
        """The groups of the completed steps, in order."""
        return self._groups

    async def _failures(self) -> dict[tuple[int, str, int], Rollout]:
        """Failed rollouts, by step, task and sample, that something was derived from before the run was resumed.

        They stay failed: with a reward they would change what followed. All others are made again.
        """
        found: dict[tuple[int, str, int], Rollout] = {}
        for group in self._context.store.groups(self._context.run.id):
            seen = can_teach(group, ground_truth=self._settings.ground_truth)
            if seen or await self._experiences.log.taken_in(group.step):
                failed = (rollout for rollout in group.rollouts if rollout.error)
                found |= {(group.step, group.task.id, rollout.sample): rollout for rollout in failed}
        return found

    async def _step(self, step: int) -> StepSummary:
        prior = self._context.prior(self._experiences.on_offer, self._tokens.working)
        self._context.store.add_prior(prior)
        tasks = self._visited(step)
        results = await self._rounds(tasks, prior, step)
        groups, proposals = [group for group, _ in results], [found for _, found in results]
        if not any(group.scored for group in groups):
            first = groups[0].rollouts[0].error
            raise ModelError(f"every rollout of step {step + 1} failed; the first one: {first}")
        if step == 0 and self._settings.stop_hopeless and earned_nothing(groups):
            examples, bounded = self._race.has_examples, self._settings.bounded is not None
            raise NoRewardError(hopeless(groups, self._plan.reward_name, examples=examples, bounded=bounded))
        await self._learn(step, groups, proposals, prior)
        summary = _summary(step, groups, proposals, len(tasks if self._plan.ported else self._plan.tasks))
        self._context.observer.step(summary)
        self._tell(summary)
        return summary

    def _visited(self, step: int) -> Sequence[Task]:
        """The tasks of a step."""
        if self._plan.ported is None:
            return visited(self._plan.tasks, self._groups, step, self._settings)
        from .transfer import portions

        return portions(self._plan.tasks, self._settings.seed)[step]

    async def _rounds(self, tasks: Sequence[Task], prior: Prior, step: int) -> list[tuple[Group, Proposals]]:
        """The groups of a step and what they propose, in task order; a race is looked at after each round of them.

        Distilling goes on beside the rollouts of the next round. What ends the step early lets it land, as it is paid.
        """
        beside: dict[str, asyncio.Task[Proposals | BudgetEnded]] = {}
        try:
            async with asyncio.TaskGroup() as distilling:

                def landed(made: Group) -> Group:
                    group = compared(self._plan.reward, made)
                    work = self._distilled(group)
                    try:
                        beside[group.task.id] = distilling.create_task(work)
                    except RuntimeError:  # what failed beside it is ending the step
                        work.close()
                        raise
                    return group

                groups = await unless_ended(self._rolled(tasks, prior, step, landed))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        if isinstance(groups, BudgetEnded):
            raise groups
        found: list[tuple[Group, Proposals]] = []
        for group in groups:
            proposals = beside[group.task.id].result()
            if isinstance(proposals, BudgetEnded):
                raise proposals
            found.append((group, proposals))
        return found

    async def _rolled(
        self, tasks: Sequence[Task], prior: Prior, step: int, landed: Callable[[Group], Group]
    ) -> list[Group]:
        """The groups of a step, in task order, round by round; `landed` is told of each."""
        count = self._settings.race_rounds if self._race.is_open else 1
        groups: dict[str, Group] = {}
        for ids in rounds([task.id for task in tasks], count, seed=self._settings.seed, step=step):
            now = [task for task in tasks if task.id in ids]
            made = await self._made(now, self._race.deal(now, step), prior, step, landed)
            self._race.look(made)
            groups |= {group.task.id: group for group in made}
        return [groups[task.id] for task in tasks]

    async def _made(
        self,
        tasks: Sequence[Task],
        deal: Mapping[str, Sequence[str]],
        prior: Prior,
        step: int,
        landed: Callable[[Group], Group],
    ) -> list[Group]:
        """The groups of a round, each rollout under the arm that it is dealt; `landed` is told of each."""

        def under(task: Task, sample: int) -> Under:
            shown = self._experiences.shown(prior.experiences, task, step, sample)
            return self._race.under(deal[task.id][sample], task, replace(prior, experiences=shown))

        early = await self._tried_first(tasks, deal, under, step)
        gone = {arm for arms in deal.values() for arm in arms}.difference(self._race.racing)
        if gone:  # its places go to the others
            others = self._race.deal(tasks, step)
            deal = {
                task: [other if arm in gone else arm for arm, other in zip(arms, others[task], strict=True)]
                for task, arms in deal.items()
            }
        known = await self.exact.drawn(tasks, step, under) if self.exact else ExactRound()

        async def made(task: Task, prior: Prior, step: int, sample: int) -> Rollout:
            drawn = known.rollouts.get((task.id, sample)) or early.get((task.id, sample))
            return drawn or await self._executor(task, prior, step, sample)

        self._experiences.expect(step, tasks)
        size = self._settings.group_size
        return await roll_groups(
            made,
            tasks,
            prior,
            step=step,
            size=size,
            under=under,
            landed=lambda group: landed(replace(group, listed=known.listed.get(group.task.id, ()))),
            order=self._order(),
        )

    async def _tried_first(
        self, tasks: Sequence[Task], deal: Mapping[str, Sequence[str]], under: Callable[[Task, int], Under], step: int
    ) -> Mapping[tuple[str, int], Rollout]:
        """One rollout of each arm that the model's context may have no room for, before there are many; those that
        were not refused, by task and sample."""
        if not self._race.is_open or (self.exact and self.exact.listing):
            return {}
        first, of = self._race.first_tries(deal), {task.id: task for task in tasks}
        asked = [(of[task], under(of[task], sample).prior, step, sample) for task, sample in first.values()]
        made = dict(zip(first, await concurrently(self._executor(*one) for one in asked), strict=True))
        self._race.tried(made)
        return {first[arm]: rollout for arm, rollout in made.items() if arm in self._race.racing}

    def _order(self) -> Order | None:
        """By beginnings where prompts are read by the one machine that keeps the last of them, else by variant for what
        is in flight twice over, so that distilling begins early."""
        if self._context.backend.kind == "llama.cpp":
            return None if self._plan.agent else by_beginning(self._prompt)
        return by_variant(max(1, 2 * self._settings.concurrency // self._settings.group_size))

    def _prompt(self, task: Task, given: Under) -> str:
        """What a rollout's request says, as text: prompts that begin alike follow each other in alphabetical order."""
        backend = self._context.backend
        asked = request_body(self._tokens.frame(), backend, task, 0)
        return canonical(with_prior(asked, given.prior, manner_of(backend, task.id))["messages"])

    async def _distilled(self, group: Group) -> Proposals | BudgetEnded:
        """What a group proposes, which is written down first; nothing else is waited for, nor ended by a budget."""
        self._context.store.add_group(self._context.run.id, group)
        if not self._experiences.distils(group.task, group.step):
            return Proposals()
        try:
            proposals = await self._experiences.propose(group)
        except BudgetEnded as ended:
            return ended
        self._context.observer.distilled(group)
        return proposals

    async def _learn(self, step: int, groups: Sequence[Group], proposals: Sequence[Proposals], prior: Prior) -> None:
        """What the step, under a prior, teaches in experiences and tokens."""
        attempt = self._screening(step, prior) if step + 1 < self._settings.steps else None  # else none is tried again
        taken, note = await self._experiences.learn(step, groups, proposals, attempt), self._context.notes.note
        if taken.screened[1]:
            many, out = taken.screened
            note(f"step {step + 1}: of {counted(many, 'text')} screened, {out} did clearly worse at their own tasks")
        if rested := sum(found.rested for found in proposals):
            unasked = counted(rested, "more group")
            note(f"step {step + 1}: after {RESTS_AFTER} unusable answers the distiller rested, for {unasked}")
        self._groups += groups  # only now: a budget may end what is before it
        self._outlook = forecast(course(self._groups))
        self._ends = self._why_now(step)
        last = self._is_last(step)
        if self._ends:
            note(f"{self._ends}, so the run ends after step {step + 1} of {self._settings.steps}")
        if self._race.end_step(step, last=last) and step == 0 and not last:
            await self._race.follow(groups)
        if step == 0 and "temperature" in self._context.upstream.dropped:
            note(f"no temperature is taken: answers of a group differ by {diversity(groups):.0%} (0%: all alike)")
        before = self._tokens.temperature
        self._tokens.learn(made_under(groups, self._race.racing))
        if self._tokens.temperature != before:
            self._executor = self._scoring()
        if taken.by_rule:
            note(f"step {step + 1}: proposals were merged by rule: {taken.by_rule}")
        if taken.by_wording:
            note(f"step {step + 1}: proposals were compared by their wording alone: {taken.by_wording}")
        if taken.again:
            failed = sum(found.failure is not None for found in taken.again)
            groups_again = counted(len(taken.again), "group")
            note(f"step {step + 1}: {groups_again} of earlier steps distilled again, {failed} failed")

    def _is_last(self, step: int) -> bool:
        """Whether a completed step is the last one: none is left, or none is wanted."""
        return self._ends is not None or step + 1 == self._settings.steps

    def _why_now(self, step: int) -> str | None:
        """Why the run ends with a completed step before its time; None where it goes on."""
        settings, race = self._settings, self._race
        if step + 1 == settings.steps:
            return None
        if settings.stop_when_flat and self._outlook and self._outlook.flat:
            return "more rollouts are unlikely to pay"
        if settings.keep_going or step == 0:
            return None
        least = race.least_reward if race.is_open else sure_reward(self._groups)
        if least > LEARNED:
            return f"nothing is left to learn (at least {least:.0%} of the reward is earned; --keep-going goes on)"
        only_races = race.laps and not settings.experiences and not self._tokens.is_learning
        if only_races and race.chance_of_overtaking < RACED_OUT:
            return "no way to prompt can overtake the best any more (--keep-going goes on)"
        return None

    def _screening(self, step: int, prior: Prior) -> Attempt:
        """Attempts by which a text is screened: under the arm of a rollout of the step, with what it was shown."""
        context, settings, race = self._context, self._settings, self._race
        stage, frame = "rollout screen", self._tokens.frame()
        call = context.make_executor(frame, context.backend, run=context.run.id, stage=stage, seed=settings.seed)

        async def attempt(like: Rollout, shown: Experience, sample: int) -> Rollout:
            mine = (*(one for one in prior.experiences if one.id in like.included), shown)
            given = race.under(like.variant or race.racing[0], like.task, replace(prior, experiences=mine))
            made = await call(like.task, given.prior, step, sample)
            return shaped(await score(self._plan.reward, made, clip=settings.clip_rewards), settings)

        return attempt

    def _scoring(self) -> Executor:
        """Rollouts that are scored as they land."""
        context, settings = self._context, self._settings
        call = context.make_executor(
            self._tokens.frame(),
            context.backend,
            run=context.run.id,
            stage="rollout",
            seed=settings.seed,
            top_logprobs=self._tokens.top_logprobs,
        )

        async def scored(task: Task, prior: Prior, step: int, sample: int) -> Rollout:
            if known := self._failed.get((step, task.id, sample)):
                context.observer.landed(known)
                return known
            try:
                made = await call(task, prior, step, sample)
            except BudgetEnded:
                self._experiences.rest.give_up()
                raise
            rollout = shaped(await score(self._plan.reward, made, clip=settings.clip_rewards), settings)
            context.observer.landed(rollout)
            return rollout

        return scored

    def _tell(self, summary: StepSummary) -> None:
        """The step for people; only what failed in distilling is kept beside the figures."""
        where = f"step {summary.step + 1}"
        shares = ", ".join(f"{count} {kind}" for kind, count in sorted(summary.groups.items()))
        text = f"{where}/{self._settings.steps}: mean reward {summary.mean_reward:.2f}; groups: {shares}"
        text += f"; {counted(summary.exact, 'group')} exact" if summary.exact else ""
        text += f"; {counted(summary.rested, 'task')} rested (all right or all wrong twice)" if summary.rested else ""
        failed = f"; {counted(summary.failed, 'rollout')} failed, the first one: {summary.first_error}"
        text += failed if summary.failed else ""
        self._context.observer.note(text)
        if self._outlook:
            self._context.observer.note(f"{where}: {forecast_line(self._outlook)}")
        if failures := summary.undistilled:
            self._context.notes.note(
                f"{where}: {counted(len(failures), 'group')} could not be distilled: {failures[0]}"
            )


def _summary(step: int, groups: Sequence[Group], proposals: Sequence[Proposals], tasks: int) -> StepSummary:
    """A step, of so many `tasks` in all, in figures."""
    scored = [group for group in groups if group.scored]
    earned = sum(group.mean * len(group.scored) for group in scored)
    return StepSummary(
        step,
        earned / sum(len(group.scored) for group in scored),
        dict(Counter[str](group_kind(group) for group in groups)),
        failed=sum(len(group.rollouts) - len(group.scored) for group in groups),
        proposed=sum(len(found.edits) for found in proposals),
        undistilled=tuple(found.failure for found in proposals if found.failure),
        rested=tasks - len(groups),
        first_error=next((one.error for group in groups for one in group.rollouts if one.error), None),
        exact=sum(group.is_exact for group in groups),
    )
