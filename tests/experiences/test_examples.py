"""Which training examples a run may show, and that a resumed run has the same."""

import asyncio
from dataclasses import replace

from tests.inprocess import MemoryJournal
from tfgrpo.experiences.step_notes import StepNotes
from tfgrpo.experiences.variants import example, examples_of_run, left_out_as_long, short_enough, usable_examples
from tfgrpo.records import Rollout, Task
from tfgrpo.settings import Settings
from tfgrpo.surfaces.chat import token_estimate

TASKS = tuple(Task(f"message {number}", ("billing", "sales", "tech")[number % 3]) for number in range(24))
EXAMPLES = tuple(entry for task in TASKS if (entry := example(task)))


async def test_a_judge_is_asked_about_several_answers_at_once_and_examples_stay_in_order() -> None:
    asked = most = 0

    async def judge(rollout: Rollout) -> float:
        nonlocal asked, most
        asked += 1
        most = max(most, asked)
        await asyncio.sleep(0.001 * (int(rollout.task.prompt.split()[1]) % 3))
        asked -= 1
        return 0.0 if rollout.text == "tech" else 1.0

    found = await usable_examples(TASKS, judge, Settings(concurrency=5))
    assert found.shown == tuple(entry for entry in EXAMPLES if entry.answer != "tech")
    assert most == 5
    assert found.left_out.startswith("8 tasks of 24 cannot be shown as examples: no answer, or one that earns less")


async def test_a_resumed_run_has_the_examples_of_its_first_start_whatever_the_reward_says_now() -> None:
    down = True

    def reward(rollout: Rollout) -> float:
        if down and rollout.text == "tech":
            raise RuntimeError("the service is down")
        return 1.0

    journal = MemoryJournal()
    first = await examples_of_run(TASKS, reward, Settings(), StepNotes(journal, "run_1"))
    assert len(first.shown) == 16
    assert "8 tasks of 24 cannot be shown as examples: the reward failed: RuntimeError" in first.left_out
    down = False
    again = await examples_of_run(TASKS, reward, Settings(), StepNotes(journal, "run_1"))
    assert again == first
    assert len((await examples_of_run(TASKS, reward, Settings(), StepNotes(journal, "run_2"))).shown) == 24


def test_what_is_left_out_as_long_for_any_set_leaves_room_for_the_others() -> None:
    long = [replace(entry, input="a long message " * 500) for entry in EXAMPLES[:2]]
    assert short_enough([*long, *EXAMPLES[2:]], 4_000, token_estimate) == list(EXAMPLES[2:])
    assert left_out_as_long([*long, *EXAMPLES[2:]], EXAMPLES[2:], 4_000) == [
        "2 examples of 24 left out as too long for sets of 4,000 tokens"
    ]
    assert left_out_as_long(EXAMPLES, EXAMPLES, 4_000) == []
    middling = [replace(entry, input="a long message " * 300) for entry in EXAMPLES]
    assert short_enough(middling, 4_000, token_estimate) == middling  # some are better than none
    assert short_enough(middling, 1_000, token_estimate) == []
