"""The experiences of one run, from proposal to verdict; every change is written to the store as it is made.

After so many unusable answers in a step the distiller rests: it is asked nothing more in it. Which groups are left out
must not depend on which one lands first, or the same run would learn something else when it is made again. So a group
is left out if so many answers about those *before it in the order of the tasks* had no use. If it looked at all of
them, they would wait one for the other; so it looks at the first half of them: an echoing distiller is asked ten times,
and the better it is, the more groups are distilled side by side. What was asked in vain before the first step counts in
it.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ..experiences.admission import refusal
from ..experiences.credit import JointEffect, estimate, rollouts_needed, to_keep, to_keep_together, to_retire
from ..experiences.dealing import included
from ..experiences.distil import Distiller, LaterTry, merge, propose
from ..experiences.edits import Edit, Proposals, consolidate
from ..experiences.library import (
    DISTILLER,
    RULE,
    SCREENED,
    Library,
    affordable,
    apply,
    clearly_worse,
    describe,
    judged,
    judged_together,
    rivals,
    screened_out,
    screens,
)
from ..experiences.overlap import NO_MEANINGS, Meanings
from ..experiences.step_notes import DistillerTry, StepNotes, TakenIn
from ..experiences.variants import taking_turns
from ..experiences.write import INSTRUCTION, WRITTEN, instructions_wanted, texts_wanted, write
from ..hashing import canonical, derive_seed
from ..records import Effect, Experience, Group, Prior, Rollout, Run, Task
from ..rollouts.executor import with_failure
from ..rollouts.group import concurrently
from ..store import Store
from ..surfaces.chat import mean_tokens, prior_tokens, token_count
from ..surfaces.triggers import applies, awaited_words, is_triggered, said_text
from ..text import counted
from .plan import RunContext

RESTS_AFTER = 5
"""Answers of one step without use: those to a question that came to nothing, and those that no rule would let in."""


class Rest:
    """Tells each group of a step whether it is distilled."""

    def __init__(self, tries: int, before: int = 0) -> None:
        """A group takes at most so many `tries`; so many answers were unusable `before` the first step."""
        self._tries, self._before = tries, before
        self._step = 0
        self._order: list[str] = []
        self._unusable: dict[str, int] = {}
        self._turns: dict[str, asyncio.Future[bool]] = {}

    def expect(self, step: int, tasks: Sequence[str]) -> None:
        """Groups of these tasks (ids) are to be distilled next; those of earlier rounds of the step come before them.

        Each has to be reported by `ended`, whatever becomes of it.
        """
        if step != self._step:
            self._step, self._before, self._order = step, 0, []
            self._unusable.clear()
            self._turns.clear()
        loop = asyncio.get_running_loop()
        self._order += tasks
        self._turns |= {task: loop.create_future() for task in tasks}
        self._look()

    async def allows(self, task: str) -> bool:
        """Whether the distiller is still to be asked about a task's group; waits until that is known."""
        return await self._turns[task]

    def ended(self, task: str, unusable: int) -> None:
        """A group is done with, after so many unusable answers."""
        self._unusable[task] = unusable
        self._look()

    def give_up(self) -> None:
        """Let nothing wait any longer: the step ends here, and not all of its groups will land."""
        for turn in self._turns.values():
            if not turn.done():
                turn.set_result(False)

    def _look(self) -> None:
        unusable, pending = self._before, 0
        for place, task in enumerate(self._order):
            if place % 2:  # of those before it, the first half has become one more
                seen = self._order[place // 2]
                unusable += self._unusable.get(seen, 0)
                pending += 0 if seen in self._unusable else self._tries
            turn = self._turns[task]
            if not turn.done() and (unusable >= RESTS_AFTER or unusable + pending < RESTS_AFTER):
                turn.set_result(unusable < RESTS_AFTER)


_TOLD_EFFECT = 0.1
"""The effect, in reward units, for which people are told what it takes to see it."""


def window(store: Store, run: Run, runs: int) -> tuple[Group, ...]:
    """The groups of the last runs that ended before a run began, under its frame, reward and way of making rollouts.

    A run that is resumed later finds the same ones.
    """
    if not runs:
        return ()
    entries = store.runs(run.namespace)
    started = next(entry.started for entry in entries if entry.run.id == run.id)
    before = [
        entry.run
        for entry in entries
        if entry.run.kind == "learn"
        and entry.run.status in ("finished", "out of budget")
        and (entry.ended or "") <= started
    ]
    alike = [earlier for earlier in before if _conditions(earlier) == _conditions(run)]
    return tuple(group for earlier in alike[-runs:] for group in store.groups(earlier.id))


def _conditions(run: Run) -> tuple[object, ...]:
    """What an effect depends on beside the experiences."""
    return run.frame, run.reward, *(run.settings.get(name) for name in ("agent", "overlong"))


@dataclass(frozen=True, slots=True)
class Taken:
    """What a step took in beside the proposals of its own groups."""

    again: tuple[Proposals, ...]
    """Of groups of earlier steps that could not be distilled in an earlier start."""
    by_rule: str | None
    """Why proposals had to be merged by rule, if they had."""
    by_wording: str | None
    """Why they had to be compared by their wording alone, if an embedding model should have been asked."""
    screened: tuple[int, int] = (0, 0)
    """How many texts were screened before they took a place on trial, and how many of them were out."""


class Attempt(Protocol):
    """Makes a scored rollout like one that there is, shown a text besides."""

    async def __call__(self, like: Rollout, shown: Experience, sample: int, /) -> Rollout:
        """`sample` names it among those of its task in a step. Raises as an executor does."""
        ...


class ExperienceLearning:
    """The library of a namespace while a run adds to it; starts from what it was before the run."""

    def __init__(self, context: RunContext, distiller: Distiller) -> None:
        store, run = context.store, context.run
        self._count_tokens, self._embedder = token_count(context.upstream.tokenizer), context.embedder
        self.log = StepNotes(store, run.id)
        self._made: dict[tuple[int, str], DistillerTry] = {}
        self._to_retry: dict[tuple[int, str], DistillerTry] = {}
        self._distiller, self._store, self._run, self._settings = distiller, store, run, context.plan.settings
        self.rest = Rest(self._settings.distiller_retries + 1)
        self._tasks = context.plan.tasks
        known = store.experiences(run.namespace, without_run=run.id)
        decisions = tuple(status.decision for status in known if status.decision)
        self.library = Library(tuple(status.experience for status in known), decisions)
        self._groups = list(window(store, run, self._settings.effect_window) if known else ())
        self._earlier = len(self._groups)
        self._effects: tuple[Effect, ...] = ()
        self._joint: JointEffect | None = None
        self._attempt: Attempt | None = None
        self._screens = 0
        """Texts that may still be screened in the step."""
        self._screened = (0, 0)
        """How many were in the step, and how many of them did clearly worse."""
        self._passed, self._out = set[str](), set[str]()
        """Ids of the texts that may take a place, and of those that may not."""

    @property
    def on_offer(self) -> tuple[Experience, ...]:
        """What the next step's rollouts draw from: those on trial or kept that can be afforded."""
        return affordable(self.library, self._effects, self._settings, self._count_tokens)

    def kept(self, *, beside: int = 0) -> tuple[Experience, ...]:
        """The kept ones that can be afforded beside so many tokens of a prior's way to prompt."""
        kept = Library(self.library.having("kept"), self.library.decisions)
        return affordable(kept, self._effects, self._settings, self._count_tokens, beside=beside)

    @property
    def worth(self) -> dict[str, float]:
        """What each experience was last measured to do to the reward."""
        return {effect.experience: effect.mean for effect in self._effects}

    def shown(self, offered: Sequence[Experience], task: Task, step: int, sample: int) -> tuple[Experience, ...]:
        """What one rollout is shown of those on offer; what waits for words that its task does not say counts as out.

        So an effect is that on the tasks to which the experience applies.
        """
        kept = {experience.id for experience in self.library.having("kept")}
        applying = [entry for entry in offered if applies(entry.text, task.messages)]
        return included(applying, kept, self._settings, task=task.id, step=step, sample=sample)

    async def start(self) -> str | None:
        """Put on trial what the distiller writes from the tasks alone; why there is none of it, where that failed."""
        failed = await self._write()
        self.rest = Rest(self._settings.distiller_retries + 1, await self._unwritten())
        return failed

    async def _write(self) -> str | None:
        limit = texts_wanted(self._settings)
        if not limit or all(task.answer is None for task in self._tasks):
            return None
        if failed := await self.log.unwritten(WRITTEN):
            return failed
        found = await write(self._distiller, self._tasks, limit)
        if found.failure:
            await self.log.leave_unwritten(WRITTEN, 0, found.failure)
        self._apply(self._waiting(consolidate(found.edits, self._strategies).edits), 0)
        return found.failure

    async def _unwritten(self) -> int:
        """What could not be written before the first step. Each question counts once: contrasts ask in another form."""
        stages = [(WRITTEN, 0), *((INSTRUCTION, number) for number in range(instructions_wanted(self._settings)))]
        failed = [await self.log.unwritten(stage, number) for stage, number in stages]
        return sum(why is not None for why in failed)

    async def propose(self, group: Group) -> Proposals:
        """The edits that one group proposes; a failure is noted, and tried again when the run is resumed.

        A distiller that has failed too often in the step is left in peace; a step that was taken in is repeated as it
        was, whoever failed then.
        """
        task, unusable = group.task.id, 0
        fixed = await self.log.taken_in(group.step)
        try:
            if not (task in fixed.numbers if fixed else await self.rest.allows(task)):
                return Proposals(rested=True)
            one = await self.log.next_try(group.step, task)
            if fixed:
                one = DistillerTry(group.step, task, fixed.numbers[task])
            found = await self._try(group, one)
            unusable = found.unusable or self._is_useless(found)
            return found
        finally:
            self.rest.ended(task, unusable)

    def _is_useless(self, found: Proposals) -> bool:
        """Whether all that a group proposes is an echo, a copy or the like, which no library would let in."""
        said = [Experience(edit.text) for edit in found.edits if edit.operation in ("ADD", "UPDATE")]
        return bool(said) and all(refusal(one, (), self._tasks, self._settings) for one in said)

    async def _try(self, group: Group, one: DistillerTry) -> Proposals:
        """One try at distilling a group; one that is known to have failed is not made again."""
        self._made[group.step, group.task.id] = one
        if failure := await self.log.failure(one):
            return Proposals(failure=failure)
        model = LaterTry(self._distiller.model, one.number)
        found = await propose(replace(self._distiller, model=model), group, self._strategies)
        if not found.failure:
            return found
        await self.log.fail(one, found.failure)
        return found if model.is_new else await self._try(group, one.next)  # it failed in an earlier start

    async def _again(self, step: int, failed: Sequence[Group], *, rests: bool) -> list[Proposals]:
        """What groups of earlier steps propose that could not be distilled in an earlier start; fixes the step.

        `failed` are the groups of this step that could not be distilled. They wait for the next start: once the step
        is repeated there, they are tried again in the first step that is new.
        """
        fixed = await self.log.taken_in(step)
        again = fixed.again if fixed else () if rests else tuple(self._to_retry.values())
        groups = {(group.step, group.task.id): group for group in self._groups[self._earlier :]}
        found = await concurrently(self._try(groups[each.step, each.task], each) for each in again)
        for each, proposals in zip(again, found, strict=True):
            self._to_retry.pop((each.step, each.task), None)
            if fixed and proposals.failure:
                self._to_retry[each.step, each.task] = each.next
        if fixed:
            self._to_retry |= {key: self._made[key].next for key in ((group.step, group.task.id) for group in failed)}
        else:
            numbers = {task: made.number for (of, task), made in self._made.items() if of == step}
            await self.log.take_in(step, TakenIn(numbers, again))
        return found

    @property
    def _strategies(self) -> tuple[Experience, ...]:
        """What a distiller is shown and may change: an example of another task is none of its business."""
        return tuple(entry for entry in self.library.current if entry.kind == "strategy")

    def expect(self, step: int, tasks: Sequence[Task]) -> None:
        """The groups of these tasks come next, in this order."""
        self.rest.expect(step, [task.id for task in tasks if self.distils(task, step)])

    def distils(self, task: Task, step: int) -> bool:
        """Whether the group of a task is among those distilled in a step: drawn by hash and known beforehand."""
        if not self._settings.experiences:
            return False
        return self._settings.distilled_groups is None or task.id in self._distilled(step)

    def _distilled(self, step: int) -> list[str]:
        """Ids of the tasks distilled in a step: drawn by hash and known beforehand, so that no group waits.

        Where answers repeat they take turns, so that no label is without a voice.
        """
        drawn = sorted(self._tasks, key=lambda each: derive_seed(self._settings.seed, "distil", step, each.id))
        in_turn = taking_turns(drawn, lambda task: None if task.answer is None else canonical(task.answer))
        return [task.id for task in in_turn][: self._settings.distilled_groups]

    async def learn(
        self, step: int, groups: Sequence[Group], proposals: Sequence[Proposals], attempt: Attempt | None = None
    ) -> Taken:
        """Take in a step, proposals in task order; after them what groups of earlier steps propose on a second try.

        `attempt` makes those by which texts are screened; None: none is.
        """
        self._attempt, self._screened = attempt, (0, 0)
        self._screens = screens(self._settings, len(self._tasks)) if attempt else 0
        failed = [group for group, found in zip(groups, proposals, strict=True) if found.failure]
        rests = any(found.rested for found in proposals)
        again = await self._again(step, failed, rests=rests)
        edits = [edit for found in (*proposals, *again) for edit in found.edits]
        by_rule = by_wording = None
        if edits:
            merged = await merge(self._distiller, step, edits, self._strategies, rests=rests)
            by_rule, proposed = merged.failure, self._waiting(merged.edits, groups)
            meanings, by_wording = await self._meanings(proposed, step)
            out = len(self._out)
            await self._enter(proposed, step, groups, meanings)
            if len(self._out) > out:  # what merging left out may have a place that is free now
                left = [edit for edit in consolidate(edits, self._strategies).edits if edit.operation == "ADD"]
                await self._enter(self._waiting(left, groups), step, groups, meanings)
        self._groups += groups  # only now: a budget may end what is before it
        self._measure(step)
        await self._enter((), step)  # what waits takes the places that have become free
        return Taken(tuple(again), by_rule, by_wording, self._screened)

    async def _enter(
        self, edits: Sequence[Edit], step: int, groups: Sequence[Group] = (), meanings: Meanings = NO_MEANINGS
    ) -> None:
        """Take in the edits of a step; a text that does clearly worse at its own tasks leaves its place to the next."""
        run, settings = self._run.id, self._settings
        while True:
            edits = [edit for edit in edits if Experience(edit.text, edit.kind).id not in self._out]
            after = apply(self.library, edits, self._tasks, settings, run=run, step=step, meanings=meanings)
            before = {entry.id for entry in self.library.having("on trial")}
            new = [entry for entry in after.having("on trial") if entry.id not in before | self._passed]
            seen = (*self._groups[self._earlier :], *groups)
            told = await concurrently(self._screen(one, step, seen) for one in new[: self._screens])
            self._screens -= len(told)
            many, bad = self._screened
            self._screened = many + len(told), bad + sum(map(bool, told))
            out = {one: why for one, why in zip(new, told, strict=False) if why}
            self._passed |= {one.id for one in new if one not in out}
            self._out |= {one.id for one in out}
            if not out:
                self._adopt(after)
                return
            self._adopt(screened_out(self.library, out, run, step))

    async def _screen(self, one: Experience, step: int, groups: Sequence[Group]) -> str:
        """Why a text must not take a place: it does clearly worse at its own tasks, as their rollouts were made and
        with it; empty where it does not, or where so few attempts could not show it."""
        assert self._attempt is not None
        noted = await self.log.screened(step, one.id)
        if noted is not None:
            return noted
        mine = [group for group in groups if group.scored and group.task.id in one.origin.tasks]
        sources = mine[::-1][:SCREENED]
        known = sum(group.mean for group in sources) / max(1, len(sources))
        if not sources or not clearly_worse([0.0] * SCREENED, known):
            return ""
        alike = []
        for number in range(SCREENED):
            group, seed = sources[number % len(sources)], derive_seed("screen", one.id, step, number)
            alike.append((group.scored[seed % len(group.scored)], seed % 2**31))
        made = await concurrently(self._attempt(rollout, one, sample) for rollout, sample in alike)
        rewards = [rollout.reward for rollout in map(with_failure, made) if rollout.reward is not None]
        earned = sum(rewards) / max(1, len(rewards))
        why = f"screened: {counted(len(rewards), 'attempt')} at its own tasks earned {earned:.2f}, others {known:.2f}"
        why = why if clearly_worse(rewards, known) else ""
        await self.log.note_screened(step, one.id, why)
        return why

    async def _meanings(self, edits: Sequence[Edit], step: int) -> tuple[Meanings, str | None]:
        """What an embedding model makes of proposed strategies and of those that they must not repeat.

        Demonstrations share a form, and so lie near each other whatever they show: their wording alone decides.
        """
        proposed = [edit.text for edit in edits if edit.operation in ("ADD", "UPDATE")]
        if self._embedder is None or not proposed:
            return NO_MEANINGS, None
        existing = [entry.text for entry in rivals(self.library) if entry.kind == "strategy"]
        return await self._embedder.meanings(step, [*existing, *proposed])

    def _waiting(self, edits: Sequence[Edit], groups: Sequence[Group] = ()) -> Sequence[Edit]:
        """The edits as they are to be tried: where only what applies is said, what they say waits for its moment, as
        these groups and earlier ones had it, or for words."""
        if not self._settings.only_what_applies:
            return edits
        from ..experiences.awaited_moments import waiting_for_moments  # other runs get on without them
        from ..experiences.conditions import waiting_for_words

        timed = waiting_for_moments(edits, (*self._groups[self._earlier :], *groups))
        return waiting_for_words(timed, self.library.experiences, self._tasks)

    def _apply(self, edits: Sequence[Edit], step: int, meanings: Meanings = NO_MEANINGS) -> None:
        run = self._run.id
        self._adopt(apply(self.library, edits, self._tasks, self._settings, run=run, step=step, meanings=meanings))

    def _measure(self, step: int) -> None:
        """Estimate every current experience anew, and retire what hurts."""
        if self._settings.recipe == "paper" or not self.library.current:
            return
        run, settings = self._run.id, self._settings
        harmful = to_retire(self._groups, self.library.current, settings, run=run, step=step)
        self._adopt(judged(self.library, harmful, "retired"))
        self._effects = estimate(self._groups, self.library.experiences, settings, run=run, step=step)
        self._store.add_effects(self._run.namespace, self._effects)

    def keep(self, *, over: bool = True, produced: Sequence[Group] | None = None) -> None:
        """The verdicts that only the end of a run may give; what a person has decided meanwhile stands.

        `produced` are the run's rollouts as production would make them, where that is not how they were made. Where the
        run is not over, and a budget ended it, the verdicts make its prior and are not written down: they are given
        anew when it goes on.
        """
        self._heed_people()
        step, run = max((effect.step for effect in self._effects), default=0), self._run.id
        groups, effects = self._groups, self._effects
        if produced is not None and effects:
            groups = [*produced]
            effects = estimate(groups, self.library.experiences, self._settings, run=run, step=step)
        on_trial = {experience.id for experience in self.library.having("on trial")}
        good = to_keep([effect for effect in effects if effect.experience in on_trial], self._settings)
        library = judged(self.library, good, "kept")
        measured = {effect.experience for effect in effects}
        undecided = [experience for experience in library.having("on trial") if experience.id in measured]
        self._joint = to_keep_together(groups, undecided, self._settings, run=run, step=step)
        if self._joint:
            library = judged_together(library, self._joint)
        if over:
            self._adopt(library)
        else:
            self.library = library

    def told(self) -> tuple[str | None, ...]:
        """What people should know of what was kept."""
        return self._together(), self._outlook(), self._narrowed(), *self._moments()

    def _moments(self) -> Iterator[str]:
        """How often the moments came in this run that experiences wait for, for people."""
        if any(is_triggered(entry) for entry in self.library.current):
            from ..evaluation.fire_rates import fired, waiting_texts  # other runs get on without them

            waiting = waiting_texts(self.library.current)
            for _, _, told in fired(self._store, self._run.id, waiting) if waiting else ():
                yield f"waits for its moment: {told}"

    def _narrowed(self) -> str | None:
        """How much of what is kept a task is shown, for people; None where nothing waits for words."""
        kept = Prior(self.kept())
        of = counted(len(kept.experiences), "kept experience")
        waiting = sum(bool(awaited_words(entry.text)) for entry in kept.experiences)
        if not waiting:
            return None
        said = replace(kept, experiences=tuple(replace(one, text=said_text(one.text)) for one in kept.experiences))
        shown, whole = mean_tokens(kept, self._tasks, self._count_tokens), prior_tokens(said, self._count_tokens)
        return (
            f"only what applies: words are waited for by {waiting:,} of {of}, and"
            f" {shown:,} of {counted(whole, 'token')} are added to a call on average over the tasks"
        )

    def _together(self) -> str | None:
        """What was kept for what it does together, for people; None where nothing was."""
        if self._joint is None:
            return None
        kept, of = len(self._joint.kept), len(self._joint.members)
        return (
            f"{kept} of {of} undecided experiences are kept for what they do together: {describe(self._joint.effect)}"
        )

    def _outlook(self) -> str | None:
        """What it takes to keep measuring what is kept, for people; None where nothing is, or nothing is measured."""
        kept, settings = self.library.having("kept"), self._settings
        if not kept or settings.recipe == "paper" or not 0 < settings.kept_exclusion < 1:
            return None
        needed = rollouts_needed(_TOLD_EFFECT, 1 - settings.kept_exclusion)
        scored = sum(len(group.scored) for group in self._groups)
        earlier = sum(len(group.scored) for group in self._groups[: self._earlier])
        return (
            f"kept experiences stay measured: each is left out of {settings.kept_exclusion:.0%} of the rollouts, and"
            f" showing {100 * _TOLD_EFFECT:g} points takes about {needed:,}; these estimates are from {scored:,}"
            f" ({earlier:,} of earlier runs)"
        )

    def _heed_people(self) -> None:
        """Take in what people have decided in the store since the run began."""
        for status in self._store.experiences(self._run.namespace):
            decided, standing = status.decision, self.library.standing.get(status.experience.id)
            if decided and decided.by not in (RULE, DISTILLER) and standing not in (None, decided):
                self.library = self.library.decided(decided)

    def _adopt(self, library: Library) -> None:
        """Take over a library, and write down what is new in it."""
        known = {experience.id: experience.origin for experience in self.library.experiences}
        new = [experience for experience in library.experiences if known.get(experience.id) != experience.origin]
        self._store.add_experiences(self._run.namespace, new)
        self._store.add_decisions(self._run.namespace, library.decisions[len(self.library.decisions) :])
        self.library = library
