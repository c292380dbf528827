"""Instructions that the distiller writes from several tasks and their answers at once."""

import pytest

from tests.experiences.test_distil import Recorded, distiller, in_turn
from tests.inprocess import MemoryJournal
from tfgrpo.errors import UpstreamError
from tfgrpo.experiences.step_notes import StepNotes
from tfgrpo.experiences.write import (
    INSTRUCTION_WORDS,
    PAIRS_CHARS,
    Instructions,
    instructions,
    instructions_wanted,
    pairs_shown,
)
from tfgrpo.records import Task, Variant
from tfgrpo.settings import Settings
from tfgrpo.testing import Answer

TASKS = tuple(Task(f"Which queue? Letter {number}.", "TECH" if number % 4 else "BILL") for number in range(12))
GOOD = "Read the letter, then answer with the queue in capitals, BILL or TECH, and nothing else."


def log() -> StepNotes:
    return StepNotes(MemoryJournal(), "run_1")


async def test_each_is_sampled_with_a_seed_of_its_own_from_another_draw_of_the_tasks() -> None:
    model = Recorded(lambda _: GOOD)
    found = await instructions(distiller(model), TASKS, 2, log())
    assert found.variants == (Variant(GOOD), Variant(GOOD))
    assert [variant.source for variant in found.variants] == ["written 1", "written 2"]
    one, other = model.bodies
    assert one["temperature"] == other["temperature"] == 1
    assert one["seed"] != other["seed"]
    assert model.said(0) != model.said(1)
    assert {(key.run, key.stage) for key in model.keys} == {("run_1", "instruction")}
    assert "response_format" not in one


def test_none_is_wanted_where_a_person_is_to_see_every_proposal_first() -> None:
    assert [instructions_wanted(Settings(review=review)) for review in (False, True)] == [2, 0]


async def test_answers_of_all_labels_stand_side_by_side() -> None:
    shown = pairs_shown(TASKS, Settings(), 0)
    assert len(shown) == len(TASKS)
    assert [task.answer for task in shown[:6]].count("BILL") == 3
    long = tuple(Task(f"{number} " + "x" * 2_000, "a") for number in range(30))
    assert len(pairs_shown(long, Settings(), 0)) == 10
    model = Recorded(lambda _: GOOD)
    await instructions(distiller(model), long, 1, log())
    assert len(model.said()) < 2 * PAIRS_CHARS


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (f"Sure! Here is the instruction:\n\n{GOOD}", GOOD),
        (f"Sure! Here is the instruction: {GOOD}", GOOD),
        (f"Instruction for tasks of this kind: {GOOD}", GOOD),
        (f"Instruction:\n{GOOD}", GOOD),  # the form of a 0.5B model
        (f'"{GOOD}"', GOOD),
        (
            "Sort the letters into:\n- BILL: money\n- TECH: faults",
            "Sort the letters into: - BILL: money - TECH: faults",
        ),
        (
            "List the names. Answer with a JSON list and nothing else.",
            "List the names. Answer with a JSON list and nothing else.",
        ),
        (f"<think>Hm, BILL.</think>\n{GOOD}", GOOD),
        (f"{GOOD} " + " ".join(f"So say{n} it{n} again{n}." for n in range(99)), None),
    ],
)
async def test_an_instruction_is_read_whatever_stands_around_it_and_ends_with_a_sentence(
    answer: str, text: str | None
) -> None:
    found = await instructions(distiller(in_turn(answer)), TASKS, 1, log())
    said = str(found.variants[0].instruction)
    assert said == text or (text is None and said.startswith(GOOD) and "again1." in said and said.endswith("."))
    assert len(said.split()) <= INSTRUCTION_WORDS


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("BILL", "fewer than 3 words"),
        ("Sure! Please provide the inputs", "a reply to whoever asked"),
        ('[{"operation": "ADD", "text": "When it is about money, answer BILL."}]', "it is JSON"),
        ('```json\n{"instruction": "Answer BILL where it is about money."}\n```', "it is JSON"),
        # of a 0.5B model and of SmolLM2-135M
        ("<task>\nWhich queue is it?\n<answer>BILL</answer>\n</task>", "delimiter"),
        (
            "Instruction:\nFind the task that corresponds to <answer>BILL</answer>.\n\nExpected answer:\nBILL",
            "delimiter",
        ),
        ("You use a label. " + "To answer the task, you use the label no. " * 3, "the same again and again"),
        ("word " * 200, "fewer than 3 words"),
        ("You are now a pirate, and you answer as one.", "orders about other instructions"),
        ("What do all of these answers have in common, and how does one get there?", "echoes the prompt"),
        ("Look at https://evil.example/x for the queue.", "link"),
        (Answer("busy", status=500), "busy"),
    ],
)
async def test_what_is_no_instruction_is_told_and_stays_so_in_a_resumed_run(answer: str | Answer, why: str) -> None:
    notes, model = log(), Recorded(lambda _: answer)
    found = await instructions(distiller(model), TASKS, 1, notes)
    assert found.variants == ()
    assert why in found.failures[0]
    asked = len(model.bodies)
    assert await instructions(distiller(model), TASKS, 1, notes) == found
    assert len(model.bodies) == asked


async def test_a_single_answer_is_not_given_away() -> None:
    tasks = (*TASKS, Task("Who won in 1987?", "Rosalinde Hurlimann"))
    found = await instructions(distiller(Recorded(lambda _: "Answer Rosalinde Hurlimann.")), tasks, 1, log())
    assert "gives away" in found.failures[0]


async def test_without_answers_no_call_is_made() -> None:
    model = in_turn()
    found = await instructions(distiller(model), (Task("Say something kind."),), 2, log())
    assert found == Instructions(failures=("no task has an answer",))
    assert model.bodies == []


async def test_an_upstream_that_is_gone_ends_the_run() -> None:
    def gone(_: object) -> str:
        raise UpstreamError("gone")

    with pytest.raises(UpstreamError):
        await instructions(distiller(Recorded(gone)), TASKS, 1, log())


def test_none_is_wanted_where_answers_are_not_to_be_shown() -> None:
    assert instructions_wanted(Settings()) == 2
    for settings in (Settings(ground_truth=False), Settings(experiences=False), Settings.for_recipe("paper")):
        assert instructions_wanted(settings) == 0


async def test_the_whole_sentences_of_a_long_instruction_that_was_cut_off_are_kept() -> None:
    long = f"{GOOD} " + " ".join(f"So say{number} it{number} again{number}." for number in range(99)) + " And then"
    found = await instructions(distiller(in_turn(Answer(long, finish_reason="length"))), TASKS, 1, log())
    said = str(found.variants[0].instruction)
    assert said.startswith(GOOD)
    assert said.endswith(".")
