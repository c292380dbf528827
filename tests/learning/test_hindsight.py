"""What was seen, told as the tasks that it would have done, and kept where a SIMULATED model acts by it."""

import re
from collections.abc import Callable
from dataclasses import replace

from benchmarks.early_worlds import BUTTONS, LINES, WORLDS, tasks_of_panel, tasks_of_switchboard
from tests.experiences.test_distil import Recorded, distiller
from tfgrpo.experiences.told_in_hindsight import as_tasks, balanced
from tfgrpo.experiences.transitions import Transition
from tfgrpo.experiences.variants import as_prior
from tfgrpo.learning.earned import reward_gained
from tfgrpo.learning.hindsight import EXAMPLES, Hindsight, Seen, in_hindsight
from tfgrpo.observer import Silent
from tfgrpo.records import Backend, ChatBody, Frame, Task, message_text
from tfgrpo.rollouts.acting import EnvironmentExecutor
from tfgrpo.rollouts.executor import ChatExecutor
from tfgrpo.settings import Settings
from tfgrpo.testing import ScriptedModel

PANEL, TASKS = WORLDS["panel"], tasks_of_panel(70)
TEACH, MEASURE, JUDGE = TASKS[:12], TASKS[12:40], TASKS[40:]


def seen(tasks: list[Task]) -> list[Transition]:
    """Two buttons a task, all of them alike often."""
    found: list[Transition] = []
    for place, task in enumerate(tasks):
        for button in (BUTTONS[place % 6], BUTTONS[(place + 1) % 6]):
            panel = PANEL.make()
            before = panel.reset(task).text
            found.append(Transition(task, 0, before, button, panel.step(button).text, own=False))
    return found


def as_an_order(end: str) -> str:
    return f"- Order 9: {end.replace(' shows a ', ' is to show a ')}\n\nThat is all."


def simulated(tell: Callable[[str], str]) -> Callable[[ChatBody], str]:
    """A model that tells ends by `tell`, and does what an example did that wants the same; else the first button."""

    def answer(body: ChatBody) -> str:
        said = [message_text(message) for message in body["messages"] if message["role"] != "system"]
        if ends := re.findall(r"this is the end:\n(.*)", said[0]):
            return tell(ends[0])
        wanted = [re.findall(r"is to show a (\w+)", text) for text in said]
        examples = {want[0]: did for want, did in zip(wanted[:-1], said[1:], strict=True) if want}
        return examples.get(wanted[-1][0], BUTTONS[0]) if wanted[-1] else BUTTONS[0]

    return answer


async def examined(
    tell: Callable[[str], str], named: bool = False
) -> tuple[tuple[Hindsight, ...], EnvironmentExecutor]:
    model = ScriptedModel(simulated(tell))
    plain = ChatExecutor(model, Frame("simulated", PANEL.system), Backend(), run="run_1", stage="act", seed=0)
    executor = EnvironmentExecutor(plain, PANEL.make, 1)
    asked = distiller(Recorded(simulated(tell)), Settings(distiller_retries=0))
    teach, measure = (
        part if named else [replace(task, input="An order for the panel.") for task in part]
        for part in (TEACH, MEASURE)
    )
    found = await in_hindsight(executor, asked, Seen(teach, seen(teach)), Seen(measure, seen(measure)), Silent())
    return found, executor


async def test_what_was_seen_is_told_as_a_task_and_kept_where_the_model_acts_by_it() -> None:
    found, executor = await examined(as_an_order)
    sizes = (
        ("6 actions", ", draw 1"),
        ("6 actions", ", draw 2"),
        ("12 actions", ", draw 3"),
        ("4 nearest of 20 examples", ""),
    )
    assert {one.variant.source for one in found} == {f"{size} told in hindsight{draw}" for size, draw in sizes}
    for one in found:
        examples = one.variant.demonstrations
        assert {example.answer for example in examples} == {*BUTTONS}
        first = examples[0]
        assert str(first.input).startswith("Order 9: The sign in the ")
        assert str(first.input).count("\n\nThe sign in the ") == 1
        assert one.gain is not None
        assert one.gain.low > 0
        assert one.kept
        assert f"kept: {one.variant.source}" in one.line()
        assert one.as_json()["kept"] is True
    earned = await reward_gained(executor, JUDGE, as_prior(found[0].variant))
    assert earned is not None
    assert earned.gain.low > 0.5


async def test_a_task_that_names_an_end_tells_it_and_the_distiller_is_not_asked() -> None:
    found, _ = await examined(lambda end: "", named=True)
    assert found[0].kept
    ids = {task.id: task.prompt for task in TEACH}
    for example in found[0].variant.demonstrations:
        assert str(example.input).startswith(ids[str(example.task)]), "hidden from its own task"
    pool = next(one.variant for one in found if one.variant.nearest)
    assert {example.task for example in pool.demonstrations} == {*ids}, "each end by every task that names it"


async def test_a_task_without_its_end_is_dropped_and_examples_that_show_nothing_are_not_kept() -> None:
    assert (await examined(lambda end: "Order 9: press something."))[0] == ()
    assert (await examined(lambda end: ""))[0] == ()
    assert (await examined(lambda end: f"<end>\n{end}"))[0] == (), "the end again is no task"
    found, _ = await examined(lambda end: f"Order 9: {end}")  # no form that the simulated model knows
    assert len(found) == 4
    assert not any(one.kept for one in found)
    assert " not kept: " in found[0].line()


async def test_words_that_every_end_says_need_no_task_that_says_them() -> None:
    tasks, board = tasks_of_switchboard(40), WORLDS["switchboard"].make()
    ends = [(task, line, board.reset(task).text, board.step(line).text) for task in tasks for line in LINES]
    said = [Transition(task, 0, before, line, after, own=False) for task, line, before, after in ends]
    never = distiller(Recorded(lambda body: "Call 9: I do not know."), Settings(distiller_retries=0))
    found = await as_tasks(never, tasks, said)
    things = {str(task.metadata["wanted"]) for task in tasks}
    assert len(found) == sum(any(f"a {thing}." in one.after for thing in things) for one in said)
    assert all(one.after.split()[-1].strip(".") in task.prompt for one, task in found)


def test_all_actions_have_their_turn_and_what_changes_nothing_is_no_example() -> None:
    chosen = balanced(seen(TASKS), EXAMPLES)
    assert sorted(one.action for one in chosen) == sorted([*BUTTONS, *BUTTONS])
    assert all(one.before != one.after for one in chosen)
    still = [Transition(TASKS[0], 0, "All is dark.", "wait", "All is dark.", own=True)]
    assert balanced(still, EXAMPLES) == []
    assert len(balanced([*still, *chosen[:1]], EXAMPLES)) == 1
