"""What a run's steps took in, journalled: a resumed run repeats that history, and tries again what failed in it.

Distilling a group may take several tries, each in another start of the run, and each with calls of its own in the
journal. One that failed is noted with its reason. When a step is taken in, it is noted which one counted for each
of its groups, and which groups of earlier steps were distilled again beside them; that never changes any more. Nor does
it that texts got no vectors: the step went by their wording."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..hashing import content_id
from ..model.upstream import Journal
from ..records import CallKey, Usage


@dataclass(frozen=True, slots=True)
class DistillerTry:
    """One try at distilling a group."""

    step: int
    """Of the group."""
    task: str
    number: int = 0

    @property
    def next(self) -> "DistillerTry":
        """The try after this one."""
        return DistillerTry(self.step, self.task, self.number + 1)


@dataclass(frozen=True, slots=True)
class TakenIn:
    """What a step took in."""

    numbers: Mapping[str, int]
    """For each task whose group was distilled, the try that counted."""
    again: tuple[DistillerTry, ...] = ()
    """Tries at groups of earlier steps, in order."""


class StepNotes:
    """Reads and writes both kinds of note; what was read once is not read again."""

    def __init__(self, journal: Journal, run: str) -> None:
        self._journal, self._run = journal, run
        self._known: dict[int, TakenIn] = {}

    async def taken_in(self, step: int) -> TakenIn | None:
        """What a step took in, in whatever start; None while it has not been taken in."""
        if step not in self._known:
            found = await self._read(CallKey(self._run, "taken in", step))
            if found is None:
                return None
            noted = json.loads(found)
            again = tuple(DistillerTry(*each) for each in noted["again"])
            self._known[step] = TakenIn(noted["numbers"], again)
        return self._known[step]

    async def take_in(self, step: int, what: TakenIn) -> None:
        """Note what a step takes in."""
        again = [(each.step, each.task, each.number) for each in what.again]
        await self._write(CallKey(self._run, "taken in", step), json.dumps({"numbers": what.numbers, "again": again}))

    async def failure(self, one: DistillerTry) -> str | None:
        """Why a try failed; None when it has not been made, or has not failed."""
        return await self._read(self._key(one))

    async def fail(self, one: DistillerTry, why: str) -> None:
        """Note that a try has failed."""
        await self._write(self._key(one), why)

    async def next_try(self, step: int, task: str) -> DistillerTry:
        """The first try at a group that has not failed in an earlier start."""
        one = DistillerTry(step, task)
        while await self.failure(one) is not None:
            one = one.next
        return one

    async def unembedded(self, step: int, batch: int) -> str | None:
        """Why a step's texts of a batch have no vectors; None where that has not failed."""
        return await self._read(CallKey(self._run, "not embedded", step, sample=batch))

    async def leave_unembedded(self, step: int, batch: int, why: str) -> None:
        """Note that they get none."""
        await self._write(CallKey(self._run, "not embedded", step, sample=batch), why)

    async def examples(self) -> tuple[list[str], int, str] | None:
        """The tasks that may be shown as examples, of how many the reward failed, and why; None: not known yet."""
        found = await self._read(CallKey(self._run, "examples"))
        return None if found is None else tuple(json.loads(found))

    async def note_examples(self, tasks: Sequence[str], failed: int, why: str) -> None:
        """Note which these are."""
        await self._write(CallKey(self._run, "examples"), json.dumps([tasks, failed, why]))

    async def screened(self, step: int, experience: str) -> str | None:
        """Why a text was screened out in a step, empty where it was not; None while it was not screened."""
        return await self._read(CallKey(self._run, "screened", step, experience))

    async def note_screened(self, step: int, experience: str, why: str) -> None:
        """Note it."""
        await self._write(CallKey(self._run, "screened", step, experience), why)

    async def unwritten(self, stage: str, number: int = 0) -> str | None:
        """Why there is no text of a stage before the first step; None where that has not failed."""
        return await self._read(CallKey(self._run, f"no {stage}", sample=number))

    async def leave_unwritten(self, stage: str, number: int, why: str) -> None:
        """Note that there is none."""
        await self._write(CallKey(self._run, f"no {stage}", sample=number), why)

    def _key(self, one: DistillerTry) -> CallKey:
        return CallKey(self._run, "not distilled", one.step, one.task, retry=one.number)

    async def _read(self, key: CallKey) -> str | None:
        return await self._journal.reply(key, content_id("note", key.stage))

    async def _write(self, key: CallKey, text: str) -> None:
        await self._journal.record(key, content_id("note", key.stage), text, Usage())
