"""Transitions told in hindsight: as the tasks that they would have done.

As in Hindsight Experience Replay (arXiv 1707.01495), without weights. A small model acts by an example only where it
looks like its own task (`docs/neighbours.md`), so each end that was seen is told by tasks of those at hand that name
it, and where none does by the distiller, in the form of the tasks. One that leaves out what came with the action, or
says the end again, is no such task, and is dropped.
"""

from collections.abc import Callable, Iterable, Sequence, Set
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
    """Transitions that change anything, at most so many, of all actions alike, those seen first of each."""
    by_action: dict[str, list[Transition]] = {}
    for one in transitions:
        if one.action and one.before != one.after:
            by_action.setdefault(one.action, []).append(one)
    turns = chain.from_iterable(zip_longest(*by_action.values()))
    chosen = [one for one in turns if one is not None][:most]
    return sorted(chosen, key=lambda one: derive_seed("hindsight", one.task.id, one.turn, one.action))


async def as_tasks(
    distiller: Distiller, tasks: Sequence[Task], transitions: Sequence[Transition], each: int = 1
) -> list[tuple[Transition, Task]]:
    """Transitions, each with the tasks that it would have done, the first of each before the second ones.

    At most `each` of the tasks at hand name its end, or the distiller tells one; those of which none can are left out.
    """
    said = [(task, {*words(task.prompt)}) for task in tasks]
    spoken = _spoken([told for _, told in said], transitions)
    naming = [_naming(one, said, spoken)[:each] for one in transitions]
    rest = [one for one, named in zip(transitions, naming, strict=True) if not named]
    told = iter(await concurrently(_told(distiller, tasks, one, spoken) for one in rest))
    found: list[list[Task | None]] = [[*named] or [next(told)] for named in naming]
    turns = (zip(transitions, turn, strict=True) for turn in zip_longest(*found))
    return [(one, task) for one, task in chain.from_iterable(turns) if task]


def _spoken(said: Sequence[Set[str]], transitions: Sequence[Transition]) -> Set[str]:
    """What is wanted is told by words that some of the tasks say and others do not, and that not every end of several
    actions says."""
    ends = [{*words(one.after)} for one in transitions]
    looked_at = [said, ends] if len({one.action for one in transitions}) > 1 else [said]
    return {word for word in {*chain(*said)} if all(any(word not in text for text in texts) for texts in looked_at)}


def _naming(one: Transition, said: Sequence[tuple[Task, Set[str]]], spoken: Set[str]) -> list[Task]:
    """The tasks that one would have done, of those that name what came with the action, what says most of the end
    first; `said` are all of them with their words."""
    if not spoken & {*word_changes(one.before, one.after)[0]}:
        return []
    ends, is_end_of = {*words(one.after)}, _says(one, spoken)
    naming = [(len(ends & told), task) for task, told in said if is_end_of(told)]
    return [task for _, task in sorted(naming, key=lambda of: (-of[0], derive_seed("named", one.before, of[1].id)))]


def _says(one: Transition, spoken: Set[str]) -> Callable[[Set[str]], bool]:
    """Whether words say what came with an action, and nothing that went: of the words that tasks speak in, if any of
    them came."""
    came, went = ({*changes} for changes in word_changes(one.before, one.after))
    wanted, gone = spoken & came or came, spoken & (went - came)
    return lambda said: wanted <= said and not said & gone


async def _told(distiller: Distiller, tasks: Sequence[Task], one: Transition, spoken: Set[str]) -> Task | None:
    key = CallKey(distiller.run, "hindsight", task=one.task.id, sample=derive_seed(one.before, one.action) % 2**31)
    drawn = sorted(tasks, key=lambda task: derive_seed("shown", one.task.id, one.action, task.id))[:_TASKS_SHOWN]
    shown = "\n".join(f"- {neutralise(clip(task.prompt, STATE_CHARS))}" for task in drawn)
    is_end_of = _says(one, spoken)

    def read(text: str) -> Task | Unusable:
        lines = (line.strip().removeprefix("- ") for line in text.splitlines())
        said = next((line for line in lines if line and not line.startswith("<")), "")
        if not is_end_of({*words(said)}) or words(said) == words(one.after):
            return Unusable("it is no task of which this is the end")
        return Task(said)

    prompt = template("hindsight").render(tasks=shown, end=neutralise(clip(one.after, STATE_CHARS)))
    try:
        return await ask(distiller, key, [{"role": "user", "content": prompt}], read)
    except UpstreamError:
        raise
    except ModelError:
        return None
