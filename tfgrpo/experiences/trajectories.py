"""Whole trajectories of agents that earned the full reward, shortened, as demonstrations. Pure.

From Demystifying Reinforcement Learning in Agentic Reasoning (arXiv 2510.11701): real end-to-end trajectories teach the
use of tools better than ones that are put together. Left out of them is what taught nothing: a call that is made again
in the same words, one whose result is an error, and the middle of what is long.
"""

import unicodedata
from collections.abc import Mapping, Sequence

from ..hashing import canonical
from ..prompts import clip, task_place
from ..records import JSON, Demonstration, Group, Message, Rollout, Variant, message_text
from ..settings import FLAT, Settings
from ..surfaces.surface import turns_text
from ..surfaces.triggers import Trigger
from ..text import counted
from .admission import secret_in
from .variants import DRAWS, SIZES, in_turns

TURN_CHARS = 400
"""Of what a tool gave, and of what the model says beside a call."""
_NOTE_CHARS = 40
"""Of the note that says what was left out."""
_FAILED = Trigger("tool error")


def verified_trajectories(groups: Sequence[Group], settings: Settings) -> Variant | None:
    """The trajectory with the fewest turns of each task; None where fewer tasks than the smallest set has have one."""
    found = []
    for group in groups:
        shown = [one for one in map(_demonstration, group.scored) if one]
        if shown:
            found.append(min(shown, key=lambda entry: (len(entry.messages), canonical(entry.messages))))
    ordered = in_turns(found, settings.seed, DRAWS)[: max(SIZES)]
    if len(ordered) < min(SIZES):
        return None
    return Variant(None, tuple(ordered), source=f"{counted(len(ordered), 'whole rollout')} with tools")


def _demonstration(rollout: Rollout) -> Demonstration | None:
    """A rollout as it is shown; None for one that did not earn the full reward, called no tool or has several chats.

    Nor is one shown in which a tool gave what looks like a secret, which every later call would hold. What stands
    before the task it was shown, and did not do; an agent that puts the task in other words is not shown.
    """
    start = task_place(rollout)
    own = [] if start is None else [*rollout.task.messages, *rollout.messages[start + len(rollout.task.messages) :]]
    several = any(one.get("role") in ("system", "developer") for one in own)
    if several or (rollout.reward or 0.0) < 1 - FLAT or len(own) < 2 or own[-1].get("role") != "assistant":
        return None
    asked = shortened_turns(own[:-1])
    answer = message_text(own[-1]).strip()
    if not answer or not any(map(calls_of, asked)):
        return None
    shown = Demonstration(tuple(asked), answer, rollout.task.id)
    return None if secret_in(unicodedata.normalize("NFKC", turns_text(shown))) else shown


def calls_of(message: Message) -> list[tuple[str, JSON, JSON]]:
    """The tool calls of a message: id, name and arguments of each."""
    found = []
    for call in message.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            found.append((str(call.get("id")), function.get("name"), function.get("arguments")))
    return found


def shortened_turns(messages: Sequence[Message]) -> list[Message]:
    """The turns without calls that failed or are made again in the same words, each with its results, and cut.

    A call and its results stay together; a turn goes only where all its calls do.
    """
    blocks = _blocks(messages)
    acts = [sorted(canonical([name, given]) for _, name, given in calls_of(block[0])) for block in blocks]
    kept = []
    for place, block in enumerate(blocks):
        again = bool(acts[place]) and acts[place] in acts[place + 1 :]
        failed = len(block) > 1 and all(_FAILED.fires([result]) for result in block[1:])
        if not (again or failed):
            kept += [_cut(message) for message in block]
    return kept


def _blocks(messages: Sequence[Message]) -> list[list[Message]]:
    """Each message alone, but calls together with what the tools gave."""
    blocks: list[list[Message]] = []
    for message in messages:
        if message.get("role") == "tool" and blocks and calls_of(blocks[-1][0]):
            blocks[-1].append(message)
        else:
            blocks.append([message])
    return blocks


def _cut(message: Message) -> Message:
    """A turn whose text is not longer than it may be; a user's is whole."""
    text = message_text(message)
    if message.get("role") == "user" or len(text) <= TURN_CHARS:
        return message
    return {**message, "content": clip(text, TURN_CHARS - _NOTE_CHARS)}
