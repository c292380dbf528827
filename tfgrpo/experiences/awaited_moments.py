"""Texts that speak of a moment wait for it, where rollouts that earned less had it. Pure.

`When a call fails, read what it says before the next one` is said to the end of every request, and counts at few. Where
the condition of a proposed text speaks of a tool's error, or of doing the same again, and the rollouts that taught it
show one, it is put on trial behind that trigger: `[on tool error] When a call fails, ...`. No model is asked when.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ..records import Experience, Group, Rollout
from ..settings import FLAT
from ..surfaces.triggers import Trigger, is_triggered
from .conditions import condition_said
from .edits import Edit
from .moments import ALWAYS, HeardRollouts, Turn, fire_rate

_SPEAKS_OF: Mapping[str, re.Pattern[str]] = {
    "tool error": re.compile(
        r"\b(?:errors?|exceptions?|tracebacks?|fail(?:s|ed|ing|ures?)?|denie[ds]|tim(?:es?|ed) out|timeouts?|not found"
        r"|no such|invalid|refuse[sd]?|rejected)\b",
        re.IGNORECASE,
    ),
    "repetition": re.compile(
        r"\b(?:repeat\w*|repetitions?|loop\w*|in (?:a )?circles?|stuck|twice"
        r"|same (?:action|answer|call|command|query|request|search|step|tool)\w*)\b",
        re.IGNORECASE,
    ),
}
"""By trigger, the words with which a condition speaks of its moment. The others have no words of their own."""
_NEVER = re.compile(
    r"\b(?:no(?! such)|none|nothing|never|without|(?:do|does|did)(?: not|n't|n\u2019t))\b", re.IGNORECASE
)
"""`When nothing fails`: the moment is another one than the words say."""


def waiting_for_moments(edits: Sequence[Edit], groups: Iterable[Group]) -> tuple[Edit, ...]:
    """The same edits, of which each text waits for the moment that its condition speaks of.

    It does so where the moment came in a rollout of `groups` that taught it and earned less than others, or than all
    that there is to earn; and where it is one: what comes at most turns of these groups is always on.
    """
    by_task: dict[str, list[Group]] = {}
    for group in groups:
        by_task.setdefault(group.task.id, []).append(group)

    def waits(edit: Edit) -> Edit:
        experience = Experience(edit.text, edit.kind)
        if edit.operation not in ("ADD", "UPDATE") or edit.kind != "strategy" or is_triggered(experience):
            return edit
        said = condition_said(edit.text)
        taught = [group for task in edit.tasks for group in by_task.get(task, ())]
        spoken = (kind for kind, words in _SPEAKS_OF.items() if words.search(said) and not _NEVER.search(said))
        kind = next((kind for kind in spoken if _is_moment(Trigger(kind), taught)), None)
        return replace(edit, text=f"[on {kind}] {edit.text}") if kind else edit

    return tuple(map(waits, edits))


def _is_moment(trigger: Trigger, groups: Sequence[Group]) -> bool:
    """Whether a trigger fires in what earned less, and at no more turns of all than a moment may."""
    if not fire_rate(trigger, _turns(one for group in groups for one in _lesser(group))).fired:
        return False
    rate = fire_rate(trigger, _turns(one for group in groups for one in group.scored))
    return rate.fired <= ALWAYS * rate.turns


def _lesser(group: Group) -> Sequence[Rollout]:
    """The rollouts that earned less than the mean of their group; where all earned the same, less than 1."""
    limit = group.mean - FLAT if group.scored else 0.0
    lesser = [one for one in group.scored if (one.reward or 0.0) < limit]
    return lesser or [one for one in group.scored if (one.reward or 0.0) < 1 - FLAT]


def _turns(rollouts: Iterable[Rollout]) -> Sequence[Turn]:
    return HeardRollouts().turns(rollouts)
