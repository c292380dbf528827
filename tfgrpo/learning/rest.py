"""When the distiller rests: after so many groups of a step without a usable answer it is asked nothing more in it.

Which groups are left out must not depend on which one lands first, or the same run would learn something else when it
is made again. So a group is left out if so many *before it in the order of the tasks* failed. If it looked at all of
them, a handful of groups could be distilled at a time, one waiting for the other; so it looks at the first half of
them: ten groups are asked about in vain at most, and the better the distiller, the more of them side by side.
"""

import asyncio
from collections.abc import Sequence

RESTS_AFTER = 5
"""Groups of one step that could not be distilled."""


class Rest:
    """Tells each group of a step whether it is distilled."""

    def __init__(self) -> None:
        self._step = -1
        self._order: list[str] = []
        self._failed: dict[str, bool] = {}
        self._turns: dict[str, asyncio.Future[bool]] = {}

    def expect(self, step: int, tasks: Sequence[str]) -> None:
        """Groups of these tasks (ids) are to be distilled next; those of earlier rounds of the step come before them.

        Each has to be reported by `ended`, whatever becomes of it.
        """
        if step != self._step:
            self._step, self._order = step, []
            self._failed.clear()
            self._turns.clear()
        loop = asyncio.get_running_loop()
        self._order += tasks
        self._turns |= {task: loop.create_future() for task in tasks}
        self._look()

    async def allows(self, task: str) -> bool:
        """Whether the distiller is still to be asked about a task's group; waits until that is known."""
        return await self._turns[task]

    def ended(self, task: str, *, failed: bool) -> None:
        """A group is done with, and could (not) be distilled."""
        self._failed[task] = failed
        self._look()

    def give_up(self) -> None:
        """Let nothing wait any longer: the step ends here, and not all of its groups will land."""
        for turn in self._turns.values():
            if not turn.done():
                turn.set_result(False)

    def _look(self) -> None:
        failed = pending = 0
        for place, task in enumerate(self._order):
            if place % 2:  # of those before it, the first half has become one more
                seen = self._order[place // 2]
                failed += self._failed.get(seen, False)
                pending += seen not in self._failed
            turn = self._turns[task]
            if not turn.done() and (failed >= RESTS_AFTER or failed + pending < RESTS_AFTER):
                turn.set_result(failed < RESTS_AFTER)
