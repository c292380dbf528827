"""Which experiences of a prior a task is to be shown, and why."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...errors import InputError
from ...text import counted, shortened
from .tables import printable

if TYPE_CHECKING:
    from ...experiences.relations import Relations
    from ...records import JSON, Experience, Prior
    from ...store import Store


def related(store: "Store", namespace: str, prior: "Prior", given: str, temperature: float) -> "tuple[Relations, str]":
    """What holds of a prior's experiences for a task, by its id or as a text; and the text of that task.

    What words tell tasks apart is read off the tasks that the namespace has learned from.
    """
    from ...experiences.relations import relate
    from ...priors.offered import tasks_used

    known = tasks_used(store, namespace)
    named = [task.prompt for task in known if given.startswith("task_") and task.id.startswith(given)]
    if not named and re.fullmatch(r"task_[0-9a-z]+", given):
        raise InputError(f"the namespace {namespace} has learned from no task {given}; give its text, or another id")
    text = named[0] if len(named) == 1 else given
    every = store.experiences(namespace)
    effects = {one.experience.id: one.effect.mean for one in every if one.effect}
    earlier = [one.experience for one in every]
    return relate(prior.experiences, [text], known, effects=effects, temperature=temperature, earlier=earlier), text


def _tokens(experiences: "Sequence[Experience]") -> int:
    """Of what they say, without their triggers."""
    from ...surfaces.chat import render_experiences, token_estimate
    from ...surfaces.triggers import said_text

    return token_estimate(render_experiences([replace(one, text=said_text(one.text)) for one in experiences]))


def related_json(found: "Relations", text: str) -> "dict[str, JSON]":
    """The experiences for one task, each with why it is shown, waits for its moment, is withheld or does not apply."""
    from ...records import Prior
    from ...surfaces.triggers import as_said

    shown, waiting, withheld = found.shown(), found.waiting(), found.withheld()
    served = as_said(Prior(found.experiences), [{"role": "user", "content": text}]).experiences

    def rows(which: "Sequence[Experience]") -> "list[JSON]":
        return [{"id": one.id, "text": one.text, "why": found.why(one)} for one in which]

    return {
        "task": text,
        "shown": rows(shown),
        "waiting": rows(waiting),
        "withheld": rows(withheld),
        "not_applying": rows([one for one in found.experiences if one not in (*shown, *waiting, *withheld)]),
        "contradictions": [[one.id, other.id] for one, other in found.contradictions()],
        "tokens": {"shown": _tokens(shown), "all": _tokens(found.experiences), "served": _tokens(served)},
    }


def related_lines(found: "Relations", text: str) -> Iterator[str]:
    """The same for people."""
    told = related_json(found, text)
    tokens, all_of = told["tokens"], len(found.experiences)
    yield printable(f"for the task {shortened(text)!r}")
    shown = f"{len(told['shown'])} of {counted(all_of, 'experience')}"
    yield f"{shown} to be shown: about {tokens['shown']:,} of {counted(tokens['all'], 'token')}"
    if told["waiting"]:
        of_each = "its moment has" if len(told["waiting"]) == 1 else "their moments have"
        yield f"{len(told['waiting'])} to be shown once {of_each} come"
    yield f"as the prior is served: about {counted(tokens['served'], 'token')}"
    for name, sign in (("shown", "+"), ("waiting", "?"), ("withheld", "~"), ("not_applying", "-")):
        for row in told[name]:
            yield printable(f"{sign} {row['text']}")
            yield printable(f"    {name.replace('_', ' ')}: {row['why']}")
    for one, other in told["contradictions"]:
        yield f"{one} and {other} contradict each other; tfgrpo experience retire ID takes one out of later learning"
