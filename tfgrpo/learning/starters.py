"""The variants that a race begins with: from the training tasks alone, what is live, what the distiller writes."""

from ..errors import BudgetEnded
from ..experiences.distil import Distiller
from ..experiences.examples import usable_examples
from ..experiences.instruct import instructions, instructions_wanted
from ..experiences.step_notes import StepNotes
from ..experiences.variants import PROPOSERS, variant_of
from ..records import Variant
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


def _left_out(tasks: int, usable: int) -> str:
    """What is said of tasks that cannot be shown as examples."""
    if not usable:
        return "race: no task has an answer that earns the full reward as it stands, so none is shown as an example"
    none = counted(tasks - usable, "task")
    return (
        f"race: {none} of {tasks} cannot be shown as examples: no answer, or one that earns less than the full reward"
    )
