"""Transitions told in hindsight: as the tasks that they would have done.

As in Hindsight Experience Replay (arXiv 1707.01495), without weights. A small model acts by an example only where it
looks like its own task (`docs/neighbours.md`), so the distiller tells each end that was seen in the form of the tasks.
One that leaves out what came with the action, or says the end again, is no such task, and is dropped.
"""

from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest

from ..errors import ModelError, UpstreamError
from ..hashing import derive_seed
from ..prompts import clip, neutralise, template
from ..records import CallKey, Task
from ..rollouts.group import concurrently
from ..text import words
from .distil import Distiller, ask
from .edits import Unusable
from .foreseen import word_changes
from .transitions import STATE_CHARS, Transition

_TASKS_SHOWN = 3


def balanced(transitions: Iterable[Transition], most: int) -> list[Transition]:
    """Transitions that change anything, at most so many, of all actions alike, each end of an action once if it can."""
    by_action: dict[str, list[Transition]] = {}
    for one in transitions:
        if one.action and one.before != one.after:
            by_action.setdefault(one.action, []).append(one)
    turns = chain.from_iterable(zip_longest(*by_action.values()))
    chosen = [one for one in turns if one is not None][:most]
    return sorted(chosen, key=lambda one: derive_seed("hindsight", one.task.id, one.turn, one.action))


async def as_tasks(
    distiller: Distiller, tasks: Sequence[Task], transitions: Sequence[Transition]
) -> list[tuple[Transition, Task]]:
    """Transitions, each with the task that it would have done; those left out of which none could be told."""
    found = await concurrently(_told(distiller, tasks, one) for one in transitions)
    return [(one, task) for one, task in zip(transitions, found, strict=True) if task]


async def _told(distiller: Distiller, tasks: Sequence[Task], one: Transition) -> Task | None:
    key = CallKey(distiller.run, "hindsight", task=one.task.id, sample=derive_seed(one.before, one.action) % 2**31)
    drawn = sorted(tasks, key=lambda task: derive_seed("shown", one.task.id, one.action, task.id))[:_TASKS_SHOWN]
    came, went = word_changes(one.before, one.after)
    shown = "\n".join(f"- {neutralise(clip(task.prompt, STATE_CHARS))}" for task in drawn)

    def read(text: str) -> Task | Unusable:
        lines = (line.strip().removeprefix("- ") for line in text.splitlines())
        said = next((line for line in lines if line and not line.startswith("<")), "")
        there = {*words(said)}
        if not {*came} <= there or there & ({*went} - {*came}) or words(said) == words(one.after):
            return Unusable("it is no task of which this is the end")
        return Task(said)

    prompt = template("hindsight").render(tasks=shown, end=neutralise(clip(one.after, STATE_CHARS)))
    try:
        return await ask(distiller, key, [{"role": "user", "content": prompt}], read)
    except UpstreamError:
        raise
    except ModelError:
        return None
