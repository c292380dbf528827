"""A winning attempt shown as an example: an experience that needs no model to write it. Pure.

It may hold its own task's answer, and is never shown on that task. Like every other experience it is admitted, tried
and measured before it is kept. What it quotes are a task and an attempt: whoever may see the prior may see them.
"""

from ..prompts import Template
from ..records import Edit, Group, message_text
from ..rollouts.advantage import group_kind
from ..settings import FLAT, Settings
from .quote import clip, neutralise, transcript


def demonstration(group: Group, settings: Settings, prompt: Template) -> Edit | None:
    """The ADD of a mixed group's shortest attempt with the full reward; the first sample's of equally long ones.

    Of the task it quotes the last message: what comes before (instructions, examples) other tasks bring along.

    None when the group is not mixed, or when its only full rewards went to attempts that were cut off or say nothing.
    Raises PromptError for a template whose blanks are not `task` and `answer`.
    """
    if group_kind(group) != "mixed":
        return None
    won = [entry for entry in group.scored if (entry.reward or 0) >= 1 - FLAT and entry.finish_reason != "length"]
    answers = [text for text in (transcript(rollout).strip() for rollout in won) if text]
    if not answers:
        return None
    limit = settings.demonstration_chars
    asked, answered = (
        neutralise(clip(text, limit)) for text in (message_text(group.task.messages[-1]), min(answers, key=len))
    )
    text = prompt.render(task=asked, answer=answered)
    return Edit("ADD", text, tasks=(group.task.id,), kind="demonstration")
