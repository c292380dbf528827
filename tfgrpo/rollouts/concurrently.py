"""Coroutines side by side: results in the order given, and the first error ends the rest."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from ..errors import BudgetEnded

T = TypeVar("T")


async def concurrently(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results in the order given; the first error cancels the rest and is raised as it is.

    A budget that ends cancels nothing: calls in flight are paid for, so they land first, and are committed.
    """
    made: list[Coroutine[Any, Any, T]] = []
    tasks: list[asyncio.Task[T | BudgetEnded]] = []
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                made.append(one)
                tasks.append(group.create_task(_unless_ended(one)))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        for one in made:
            one.close()  # one that was cancelled before it began would be complained of
    results = [task.result() for task in tasks]
    for result in results:
        if isinstance(result, BudgetEnded):
            raise result
    return [result for result in results if not isinstance(result, BudgetEnded)]


async def _unless_ended(one: Coroutine[Any, Any, T]) -> T | BudgetEnded:
    try:
        return await one
    except BudgetEnded as ended:
        return ended
