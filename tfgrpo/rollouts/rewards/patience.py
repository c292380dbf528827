"""How long a run goes on asking a model for verdicts that do not come.

One that is missing spoils one rollout. A judge that is away spoils all of them, each after as many tries as a call has:
that takes hours. So the run ends, and is gone on with once the judge is back.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from ...errors import ModelError, UpstreamError

T = TypeVar("T")

FAILURES = 20
"""In a row, after which nothing more is asked: more than are in flight at once, so that one outage is no end."""
SILENCE = 900.0
"""Seconds in which no verdict came, though some were waited for: one call may take 600."""
_NEXT = "what was done is kept, and the same command goes on once it answers"


@dataclass(slots=True)
class Patience:
    """What was heard of one judge, by all who wait for it in a run."""

    name: str
    """Of the judge, for people."""
    failed: int = 0
    """Times in a row."""
    heard: float = 0.0
    """When it last came to an end with anything, by the clock of the event loop."""

    async def verdict(self, asked: Coroutine[Any, Any, T]) -> T:
        """What comes of a question; ModelError where it came to nothing, UpstreamError where no more is to be asked."""
        loop = asyncio.get_running_loop()
        began, work = loop.time(), loop.create_task(asked)
        try:
            while not work.done():
                left = max(began, self.heard) + SILENCE - loop.time()
                if left <= 0:
                    raise UpstreamError(f"{self.name} has said nothing for {SILENCE / 60:.0f} minutes; {_NEXT}")
                await asyncio.wait([work], timeout=left)
            self.heard = loop.time()
            return self._counted(work)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    def _counted(self, work: "asyncio.Task[T]") -> T:
        try:
            found = work.result()
        except UpstreamError:
            raise
        except ModelError as error:
            self.failed += 1
            if self.failed < FAILURES:
                raise
            told = f"{self.name} failed {FAILURES} times in a row, the last time: {error}"
            raise UpstreamError(f"{told}; {_NEXT}") from error
        self.failed = 0
        return found
