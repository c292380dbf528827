"""What the distiller writes from tasks and answers alone, without any rollout: experiences and instructions.

Experiences are on trial from a run's first step, and an arm of their own in an evaluation: learning has to beat them.

The answers take turns, so that those of all labels stand side by side. Each instruction is sampled (temperature 1, a
hashed seed) and sees another draw of the tasks. What fails is told, and noted in the journal: the race of a run that is
resumed has the same arms.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..errors import ModelError, UpstreamError
from ..hashing import canonical
from ..prompts import Template, clip, neutralise, template
from ..records import CallKey, Experience, Task, Variant
from ..rollouts.group import concurrently
from ..settings import Settings
from ..text import whole_sentences, words
from .admission import is_reply, refusal
from .distil import Distiller, ask
from .edits import THOUGHTS, Form, Proposals, Unusable
from .step_notes import StepNotes
from .variants import answer_text, example, in_turns

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


INSTRUCTION = "instruction"
"""The stage of the calls, and the name of their template."""
INSTRUCTIONS = 2
"""How many are written for a race."""
ASKED_BY = (INSTRUCTION, "retry", "prior")
"""Templates of which an instruction may echo the words: what else we ask for, as a list in JSON, may be what the tasks
want."""
PAIRS_CHARS = 4_000
"""Of all tasks and answers in one prompt."""
PAIR_CHARS = 400
"""About the least of one task and its answer, so about ten stand side by side."""
INSTRUCTION_WORDS = 80
_PREAMBLE = re.compile(
    r"^(?:(?:sure|certainly|of course|okay)\W+)?(?:here(?:'s| is| are)|(?:the )?instructions?)\b[^:.]{0,60}:\s+(?=\S)",
    re.IGNORECASE,
)
"""What a model says before the instruction that it was asked for."""
SHORTEST = 3
"""Words; what is shorter is no instruction but an answer."""


@dataclass(frozen=True, slots=True)
class Instructions:
    """What was written."""

    variants: tuple[Variant, ...] = ()
    failures: tuple[str, ...] = ()
    """Why there are no more, a line each."""


def instructions_wanted(settings: Settings) -> int:
    """How many instructions a run with these settings asks for: none that would race before a person has seen them."""
    wanted = settings.race and settings.experiences and settings.ground_truth and not settings.review
    return INSTRUCTIONS if wanted else 0


async def instructions(distiller: Distiller, tasks: Sequence[Task], count: int, log: StepNotes) -> Instructions:
    """So many instructions for tasks like these, each as a variant; none, and no call, where no task has an answer.

    Raises UpstreamError when no call can succeed, BudgetEnded.
    """
    known = [task for task in tasks if answer_text(task.answer) is not None]
    if not known:
        return Instructions(failures=("no task has an answer",) if count else ())
    found = await concurrently(_written(distiller, known, number, log) for number in range(count))
    variants = (Variant(one, source=f"written {number}") for number, one in enumerate(found, 1) if isinstance(one, str))
    return Instructions(tuple(variants), tuple(one.why for one in found if isinstance(one, Unusable)))


async def _written(distiller: Distiller, tasks: Sequence[Task], number: int, log: StepNotes) -> str | Unusable:
    if failed := await log.unwritten(INSTRUCTION, number):
        return Unusable(failed)
    try:
        return await _asked(distiller, tasks, number)
    except UpstreamError:
        raise
    except ModelError as error:
        await log.leave_unwritten(INSTRUCTION, number, str(error))
        return Unusable(str(error))


async def _asked(distiller: Distiller, tasks: Sequence[Task], number: int) -> str:
    settings = distiller.settings
    shown = pairs_shown(tasks, settings, number)
    messages = distiller.template(INSTRUCTION).messages(
        tasks=quoted_pairs(shown, True, PAIRS_CHARS), words=str(INSTRUCTION_WORDS)
    )

    def read(answer: str) -> str | Unusable:
        return _read(answer, tasks, settings)

    key = CallKey(distiller.run, INSTRUCTION, sample=number)
    return await ask(distiller, key, messages, read, temperature=1, whole=False)  # what is read is cut to sentences


def pairs_shown(tasks: Sequence[Task], settings: Settings, number: int) -> list[Task]:
    """The tasks shown for one instruction: in turns over their answers, as many as fit."""
    by_id = {task.id: task for task in tasks}
    examples = [shown for task in tasks if (shown := example(task))]
    ordered = [by_id[entry.task] for entry in in_turns(examples, settings.seed, number)]
    return list(_fitting(ordered))


def _fitting(tasks: Sequence[Task]) -> Iterator[Task]:
    used = 0
    for task in tasks:
        used += min(PAIR_CHARS, len(task.prompt) + len(answer_text(task.answer) or ""))
        if used > PAIRS_CHARS:
            return
        yield task


def _read(answer: str, tasks: Sequence[Task], settings: Settings) -> str | Unusable:
    """The instruction in an answer, cut to whole sentences of no more words than asked for; or what is wrong."""
    lines = [line.strip() for line in THOUGHTS.sub("", answer).replace("`", "").splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].endswith(":") and (is_reply(lines[0]) or INSTRUCTION in lines[0].casefold()):
        lines = lines[1:]  # "Sure, here is the instruction:"
    said = _PREAMBLE.sub("", " ".join(" ".join(lines).split()), count=1)
    text = whole_sentences(said.strip('"'), INSTRUCTION_WORDS)
    if len(words(text)) < SHORTEST:
        return Unusable(f"it has fewer than {SHORTEST} words, or one sentence of more than {INSTRUCTION_WORDS}")
    if re.match(r"(?:json )?[\[{]+\s*\"", text):
        return Unusable("it is JSON; the instruction alone was asked for")
    limits = replace(settings, experience_words=INSTRUCTION_WORDS)
    why = refusal(Experience(text), (), tasks, limits, prompts=ASKED_BY)
    return Unusable(why) if why else text
