"""Whether a text is no advice but a copy: of our own prompts' words, or of a task. Pure.

Small models that are to write advice echo what they were told, or repeat the task that they were shown. Texts are
compared as runs of words; where words are single ideographs a run has twice as many.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

from ..prompts import instructions_of, template
from ..records import Task
from .words import words

ECHOED = ("answer", "contrast", "merge", "summarise", "written", "instruction", "retry", "prior")
"""Templates of which a model may echo the words."""
ECHO, RESTATED, COPIED = 4, 5, 8
"""Words in a run: half of a text's runs of 4 in our prompts are an echo; most of its runs of 5 in one task's text, or
one run of 8 that most tasks do not share, are a copy."""
FEWEST_RUNS = 2
"""Runs that have to be found: one alone is chance."""
_OURS = ("advice", "attempt", "experience", "model", "proposal", "reward")
"""Nouns of our prompts. A text with three of them, none from the tasks, speaks of our work and not of the tasks'."""
_MOST_OURS = 2


def echoes_prompt(text: str, tasks: Sequence[Task]) -> bool:
    """Whether a text says what our prompts say."""
    runs = list(_runs(text, ECHO))
    echoed = sum(any(f" {run} " in prompt for prompt in _prompts()) for run in runs)
    if echoed >= FEWEST_RUNS and 2 * echoed >= len(runs):
        return True
    said = {word.removesuffix("s") for word in words(text)}
    ours = [noun for noun in _OURS if noun in said]
    return len(ours) > _MOST_OURS and sum(not _in_any(noun, tasks) for noun in ours) > _MOST_OURS


def restated_task(text: str, tasks: Sequence[Task]) -> str | None:
    """The id of the first task whose text a text copies, or None."""
    short, long = list(_runs(text, RESTATED)), list(_runs(text, COPIED))
    own = [run for run in long if 2 * sum(f" {run} " in _flat(task.prompt) for task in tasks) <= max(2, len(tasks))]
    for task in tasks:
        flat = _flat(task.prompt)
        copied = sum(f" {run} " in flat for run in short)
        if (copied >= FEWEST_RUNS and 2 * copied > len(short)) or any(f" {run} " in flat for run in own):
            return task.id
    return None


def _in_any(noun: str, tasks: Sequence[Task]) -> bool:
    return any(f" {noun} " in _flat(task.prompt) or f" {noun}s " in _flat(task.prompt) for task in tasks)


def _runs(text: str, size: int) -> Iterator[str]:
    """Every run of so many words of a text."""
    spoken = _flat(text).split()
    size = 2 * size if 2 * sum(len(word) == 1 and word > "\u0e00" for word in spoken) > len(spoken) else size
    return (" ".join(spoken[start : start + size]) for start in range(len(spoken) - size + 1))


@lru_cache(maxsize=4096)
def _flat(text: str) -> str:
    return f" {' '.join(words(unicodedata.normalize('NFKC', text)))} "


@lru_cache(maxsize=1)
def _prompts() -> tuple[str, ...]:
    return tuple(_flat(instructions_of(template(name))) for name in ECHOED)
