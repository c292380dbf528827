"""The variants that a race begins with: from the training tasks alone, what is live, what the distiller writes."""

from collections.abc import Sequence

from ..errors import BudgetEnded
from ..experiences.distil import Distiller
from ..experiences.instruct import instructions, instructions_wanted
from ..experiences.step_notes import StepNotes
from ..experiences.variants import PROPOSERS, example, shared_messages, variant_of
from ..records import Demonstration, Rollout, Task, Variant
from ..rollouts.rewards.reward import Reward, score
from ..settings import FLAT, Settings
from ..text import counted
from .context import RunContext
from .race import FROZEN, Race


async def open_race(context: RunContext, proposer: Distiller) -> Race:
    """The race of a run; of one arm, what it begins with, where nothing is to race."""
    plan, settings = context.plan, context.plan.settings
    live = variant_of(context.start, "live" if context.start.has_text else "frozen")
    if not settings.race:
        return Race(context, (), [live])
    examples = await usable_examples(plan.tasks, plan.reward, settings) if settings.demonstrations else ()
    if settings.demonstrations and len(examples) < len(plan.tasks):
        context.notes.note(_left_out(len(plan.tasks), len(examples)))
    found = [variant for propose in PROPOSERS for variant in propose(examples, settings)]
    written = await _instructed(context, proposer)
    return Race(context, examples, [*found, *written, *([live] if live.id != FROZEN else [])])


async def _instructed(context: RunContext, proposer: Distiller) -> tuple[Variant, ...]:
    """The instructions that the distiller writes; what could not be written is said."""
    plan, log = context.plan, StepNotes(context.store, context.run.id)
    try:
        found = await instructions(proposer, plan.tasks, instructions_wanted(plan.settings), log)
    except BudgetEnded:
        return ()  # so does the first step, and it says so
    for why in found.failures:
        context.notes.note(f"race: an instruction is left out: {why}")
    return found.variants


async def usable_examples(tasks: Sequence[Task], reward: Reward, settings: Settings) -> tuple[Demonstration, ...]:
    """The tasks whose own answer would earn the full reward if the model gave it in these words, as demonstrations.

    An answer that is no such text (a pattern, a list of conditions) would teach the model to say it.
    """
    found, shared = [], shared_messages(tasks)
    for task in tasks:
        shown = example(task, shared)
        if shown is None:
            continue
        said = await score(reward, Rollout(task, 0, 0, "", text=shown.answer), clip=settings.clip_rewards)
        if said.reward is not None and said.reward >= 1 - FLAT:
            found.append(shown)
    return tuple(found)


def _left_out(tasks: int, usable: int) -> str:
    """What is said of tasks that cannot be shown as examples."""
    if not usable:
        return "race: no task has an answer that earns the full reward as it stands, so none is shown as an example"
    none = counted(tasks - usable, "task")
    return (
        f"race: {none} of {tasks} cannot be shown as examples: no answer, or one that earns less than the full reward"
    )
