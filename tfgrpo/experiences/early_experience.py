"""Early experience: what was seen to follow in an environment, written down as rules and reflections.

From Agent Learning via Early Experience (arXiv 2510.08558). The distiller writes rules from many transitions ("When S,
doing A leads to S'") and reflections from those of one state, never without what was seen to follow. A text that judges
an action is dropped. What a text is worth is measured by `foreseen.py`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from ..errors import ModelError, UpstreamError
from ..prompts import clip, neutralise, template
from ..records import CallKey, Experience, Origin
from ..rollouts.group import concurrently
from ..text import counted, words
from .admission import text_refusal
from .distil import Distiller, ask
from .edits import Form, Proposals
from .transitions import STATE_CHARS, Transition

JUDGING = (
    "best",
    "better",
    "correct",
    "correctly",
    "expert",
    "ideal",
    "optimal",
    "perfect",
    "should have",
    "suboptimal",
)
"""Words that say how good an action was, which nobody has measured; allowed where what was seen says them."""
BATCH = 10
"""Transitions that rules are written from at once."""


async def written(
    distiller: Distiller, transitions: Sequence[Transition]
) -> tuple[tuple[Experience, ...], tuple[str, ...]]:
    """Rules and reflections from what was seen, as many as may be on trial, and why others were dropped.

    Raises UpstreamError.
    """
    batches = [transitions[start : start + BATCH] for start in range(0, len(transitions), BATCH)]
    states: dict[tuple[str, int], list[Transition]] = {}
    for one in transitions:
        states.setdefault((one.task.id, one.turn), []).append(one)
    compared = [seen for seen in states.values() if len(seen) > 1]
    proposed = await concurrently(
        [
            *(_rules(distiller, batch, number) for number, batch in enumerate(batches)),
            *(_reflections(distiller, seen) for seen in compared),
        ]
    )
    return _admitted(proposed, transitions, distiller.settings.trial_experiences)


async def _rules(distiller: Distiller, seen: Sequence[Transition], number: int) -> Proposals:
    key = CallKey(distiller.run, "transitions", sample=number)
    return await _asked(distiller, key, seen, distiller.settings.trial_experiences)


async def _reflections(distiller: Distiller, seen: Sequence[Transition]) -> Proposals:
    key = CallKey(distiller.run, "reflections", task=seen[0].task.id, sample=seen[0].turn)
    return await _asked(distiller, key, seen, 1, task=neutralise(clip(seen[0].task.prompt, STATE_CHARS)))


async def _asked(
    distiller: Distiller, key: CallKey, seen: Sequence[Transition], limit: int, **blanks: str
) -> Proposals:
    prompt, most = template(key.stage), distiller.settings.experience_words
    told = "\n".join(one.told() for one in seen)
    messages = prompt.messages(transitions=told, limit=str(limit), words=str(most), **blanks)
    form = Form((), limit, most, prompt.text, tasks=tuple(dict.fromkeys(one.task.id for one in seen)))
    try:
        return await ask(distiller, key, messages, form.read, form)
    except UpstreamError:
        raise
    except ModelError as error:
        return Proposals(failure=str(error))


def _admitted(
    proposed: Iterable[Proposals], transitions: Sequence[Transition], most: int
) -> tuple[tuple[Experience, ...], tuple[str, ...]]:
    """The texts that are measured, at most so many, those proposed most often first, and why others are not."""
    seen = " ".join(f"{one.before} {one.action} {one.after}" for one in transitions)
    tasks = [*{one.task.id: one.task for one in transitions}.values()]
    sources: dict[str, set[str]] = {}
    often, dropped = Counter[str](), list[str]()
    for found in proposed:
        dropped += [*found.dropped, *([found.failure] if found.failure else [])]
        for edit in found.edits:
            sources.setdefault(edit.text, set()).update(edit.tasks)
            often[edit.text] += 1
    admitted: list[Experience] = []
    for text, _ in often.most_common():
        if why := judges(text, seen) or text_refusal(text, tasks):
            dropped.append(f"{text!r}: {why}")
        elif len(admitted) == most:
            dropped.append(f"{text!r}: no place beside the {counted(most, 'text')} proposed most often or first")
        else:
            admitted.append(Experience(text, origin=Origin(tasks=tuple(sorted(sources[text])))))
    return tuple(admitted), tuple(dropped)


def judges(text: str, seen: str) -> str | None:
    """Why a text says how good an action was; None where it does not, or what was seen says that word."""
    said, known = f" {' '.join(words(text))} ", f" {' '.join(words(seen))} "
    word = next((one for one in JUDGING if f" {one} " in said and f" {one} " not in known), None)
    return f"it says {word!r}, which nothing has shown" if word else None
