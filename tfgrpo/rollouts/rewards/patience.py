"""How long a run goes on asking a model for verdicts that do not come.

One that is missing spoils one rollout. A judge that is away spoils all of them, each after as many tries as a call has:
that takes hours. So the run ends, and is gone on with once the judge is back.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ...errors import ModelError, UpstreamError
from ...model.upstream import Model, Upstream
from ...records import CallKey

T = TypeVar("T")

FAILURES = 20
"""Texts in a row, after which nothing more is asked: more than are in flight at once, so that one outage is no end."""
_OF_ONE_TEXT = (400, 413, 422)
"""Statuses by which a text is refused, as by a filter of contents: that says nothing of others, and is told at once."""
SILENCE = 900.0
"""Seconds in which it said nothing, though it was asked: one call may take 600. Where one may take longer, half as
long again as that."""
_NEXT = "what was done is kept, and the same command goes on once it answers"


@dataclass(slots=True)
class Patience:
    """What was heard of one judge, by all who wait for it in a run."""

    name: str
    """Of the judge, for people."""
    failed: set[CallKey] = field(default_factory=set)
    """What it failed at since a verdict came: however many votes there are on one text, that is one."""
    heard: float = 0.0
    """When it last said anything, usable or not, or a question came to its end, by the clock of the event loop."""
    call_seconds: float = 0.0
    """How long one call to it may take; 0: it is not known."""

    @property
    def silence(self) -> float:
        """Seconds without a word after which nothing more is asked."""
        return max(SILENCE, 1.5 * self.call_seconds)

    def hear(self) -> None:
        """It has said something."""
        self.heard = asyncio.get_running_loop().time()

    async def verdict(self, asked: Coroutine[Any, Any, T], about: CallKey) -> T:
        """What comes of a question about a text; ModelError where it came to nothing, UpstreamError where no more is to
        be asked."""
        loop = asyncio.get_running_loop()
        began, work = loop.time(), loop.create_task(asked)
        try:
            while not work.done():
                left = max(began, self.heard) + self.silence - loop.time()
                if left <= 0:
                    raise UpstreamError(f"{self.name} has said nothing for {self.silence / 60:.0f} minutes; {_NEXT}")
                await asyncio.wait([work], timeout=left)
            self.hear()
            return self._counted(work, about)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    def _counted(self, work: "asyncio.Task[T]", about: CallKey) -> T:
        try:
            found = work.result()
        except UpstreamError:
            raise
        except ModelError as error:
            if error.status not in _OF_ONE_TEXT:
                self.failed.add(about)
            if len(self.failed) < FAILURES:
                raise
            told = f"{self.name} failed {FAILURES} times in a row, the last time: {error}"
            raise UpstreamError(f"{told}; {_NEXT}") from error
        self.failed.clear()
        return found


def patience_with(name: str, model: Model) -> Patience:
    """That with a judge of this name, in the run that begins."""
    return Patience(name, call_seconds=model.call_seconds if isinstance(model, Upstream) else 0.0)
