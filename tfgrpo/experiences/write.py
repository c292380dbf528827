"""Experiences that the distiller writes from tasks and their answers alone, in one call and without any rollout.

They are on trial from a run's first step, and an arm of their own in an evaluation: learning has to beat them.
"""

from collections.abc import Sequence

from ..errors import ModelError, UpstreamError
from ..hashing import canonical
from ..prompts import Template, template
from ..records import CallKey, Task
from ..settings import Settings
from .answers import Form, Proposals
from .distil import Distiller, ask
from .quote import clip, neutralise

WRITTEN = "written"
"""The stage of the call, and the name of its template."""
SHOWN_CHARS = 24_000
"""Of all tasks together in the prompt: each is cut to its part of it."""


def written_template() -> Template:
    """Our prompt for this; raises PromptError where a blank is wrong."""
    found = template(WRITTEN)
    found.messages(tasks="", limit="", words="")
    return found


def texts_wanted(settings: Settings) -> int:
    """How many texts are on trial from the first step: half of the places, so that groups find some too."""
    wanted = settings.experiences and settings.ground_truth and settings.recipe == "measured"
    return (settings.trial_experiences + 1) // 2 if wanted else 0


async def write(distiller: Distiller, tasks: Sequence[Task], limit: int) -> Proposals:
    """At most `limit` texts for tasks like these, each as an edit from all of them.

    A failure is told as such. Raises UpstreamError when no call can succeed, BudgetEnded.
    """
    settings, prompt = distiller.settings, distiller.template(WRITTEN)
    messages = prompt.messages(
        tasks=quoted_pairs(tasks, settings.ground_truth), limit=str(limit), words=str(settings.experience_words)
    )
    form = Form((), limit, settings.experience_words, prompt.text, tasks=tuple(task.id for task in tasks))
    try:
        return await ask(distiller, CallKey(distiller.run, WRITTEN), messages, form.read, form)
    except UpstreamError:
        raise
    except ModelError as error:
        return Proposals(failure=str(error))


def quoted_pairs(tasks: Sequence[Task], answers: bool, chars: int = SHOWN_CHARS) -> str:
    """The tasks with their answers, each between tags and cut to its part of all the characters."""
    room = max(200, chars // max(1, len(tasks)))
    parts = []
    for task in tasks[: chars // 200]:
        known = answers and task.answer is not None
        answer = task.answer if isinstance(task.answer, str) else canonical(task.answer)
        said = f"\n<answer>\n{neutralise(clip(answer, room // 2))}\n</answer>" if known else ""
        parts.append(f"<task>\n{neutralise(clip(task.prompt, room))}{said}\n</task>")
    return "\n".join(parts)
