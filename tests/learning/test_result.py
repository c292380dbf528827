"""A run whose first step earns nothing stops, shows what was said, and names the likeliest cause."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.routing import SMALL, TASKS, WORDS, plan, talkative, upstream
from tfgrpo.errors import NoRewardError
from tfgrpo.learning.result import LearningResult, earned_nothing, likeliest_cause
from tfgrpo.learning.run import carry_out
from tfgrpo.observer import Silent
from tfgrpo.records import ChatBody, Group, Rollout, Task, message_text
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel, SimulatedPolicy

SUMS = tuple(Task(f"What is {n} + {n}?", f"#### {2 * n}") for n in range(11, 17))
ONE_STEP = Settings(steps=1, group_size=2, experiences=False, token_prior=False)


async def stopped(
    path: Path,
    script: Callable[[ChatBody], str | Answer],
    settings: Settings = ONE_STEP,
    tasks: tuple[Task, ...] = TASKS,
) -> str:
    """What is said of a run whose model always answers so."""
    with pytest.raises(NoRewardError) as raised:
        await learned(path, ScriptedModel(script), settings, tasks)
    return str(raised.value)


async def learned(
    path: Path, model: ScriptedModel, settings: Settings, tasks: tuple[Task, ...] = TASKS
) -> LearningResult:
    with Store(path) as store:
        async with upstream(model, store, settings) as calls:
            return await carry_out(plan(settings, tasks), store, calls, Silent())


def right(body: ChatBody) -> str:
    """The right label, or the right sum."""
    asked = message_text(body["messages"][-1])
    topics = {"invoice": "billing", "crash": "technical", "offer": "sales"}
    label = next((label for topic, label in topics.items() if topic in asked), "")
    return label or (str(2 * int(asked.split()[2])) if asked.startswith("What is") else "probed")


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        (
            lambda body: f"I would send this one to {right(body)}, I think",
            "the answer is in the text, but reward exact wants nothing else (contains would have rewarded 24 of 24"
            " rollouts): --reward contains or choice, or tell the model the form with --system",
        ),
        (
            lambda body: Answer("Let me think about this message step by", "length"),
            "24 of 24 rollouts were cut off at max_tokens: raise it in --request",
        ),
        (lambda body: "It is one of billing, technical and sales", "the model does not know: "),
        (lambda body: Answer("", "length"), "were cut off at max_tokens"),
        (lambda body: " ", "24 of 24 rollouts are empty"),
        (lambda body: "I'm sorry, but I can't help with that.", "24 of 24 rollouts refuse to answer"),
        (lambda body: "a pelican", "does not know: the race had examples in it, and they did not help either"),
    ],
)  # fmt: skip
async def test_the_likeliest_cause_is_named(
    tmp_path: Path, script: Callable[[ChatBody], str | Answer], cause: str
) -> None:
    told = await stopped(tmp_path / "t.db", script)
    assert cause in told
    assert told.startswith("no rollout of the first step earned anything. Asked 'message 0 about invoice', it said ")
    assert told.count("where the answer is ") == 3
    assert "--no-stop-hopeless goes on" in told


async def test_answers_that_end_with_a_number_in_a_line_of_its_own_are_numbers(tmp_path: Path) -> None:
    worked = tuple(Task(task.prompt, f"Twice that, so it is:\n{task.answer}") for task in SUMS)
    told = await stopped(tmp_path / "t.db", right, tasks=worked)
    assert "--reward numeric" in told


async def test_a_reward_that_does_not_fit_the_answers_is_named_with_one_that_does(tmp_path: Path) -> None:
    told = await stopped(tmp_path / "t.db", right, tasks=SUMS)
    assert "it said '22', where the answer is '#### 22'" in told
    assert "reward exact does not fit the answers (numeric would have rewarded 12 of 12 rollouts): --reward num" in told


async def test_without_a_race_nobody_says_that_examples_did_not_help(tmp_path: Path) -> None:
    told = await stopped(tmp_path / "t.db", lambda body: "a pelican", Settings(steps=1, group_size=2, race=False))
    assert "the model does not know, and no examples were shown" in told


async def test_calls_that_fail_are_the_cause_with_the_first_reason(tmp_path: Path) -> None:
    def script(body: ChatBody) -> str | Answer:
        fails = "about" in message_text(body["messages"][-1]) and int(body["seed"]) % 4
        return Answer("too many pelicans", status=422) if fails else "a pelican"

    told = await stopped(tmp_path / "t.db", script, Settings(steps=1, group_size=4, experiences=False, race=False))
    assert "failed, the first one: " in told
    assert "too many pelicans" in told


async def test_what_was_done_is_kept_and_the_run_goes_on_if_it_is_told_to(tmp_path: Path) -> None:
    await stopped(tmp_path / "t.db", lambda body: "a pelican", Settings(steps=2, group_size=2, experiences=False))
    with Store(tmp_path / "t.db") as store:
        (entry,) = store.runs()
        assert entry.run.status == "failed"
        assert "no rollout of the first step" in entry.run.result["error"]
        assert len(store.groups(entry.run.id)) == len(TASKS)
        spent = store.spent(entry.run.id).calls
    model = ScriptedModel(lambda body: "a pelican")
    going_on = Settings(steps=2, group_size=2, experiences=False, stop_hopeless=False)
    found = await learned(tmp_path / "t.db", model, going_on)
    assert (found.resumed, found.candidate, len(found.steps)) == (True, None, 2)
    assert len(model.requests) == found.usage.calls - spent


async def test_a_step_that_earned_something_stops_nothing(tmp_path: Path) -> None:
    policy = SimulatedPolicy(WORDS, talkative)
    assert (await learned(tmp_path / "t.db", ScriptedModel(policy), SMALL)).steps[0].mean_reward > 0


def test_tasks_without_answers_leave_the_reward_to_be_looked_at() -> None:
    task = Task("Write a poem.")
    group = Group(task, 0, (Rollout(task, 0, 0, "", text="Roses are red", reward=0.0),))
    assert earned_nothing([group])
    assert not earned_nothing([Group(task, 0, ())])
    cause = likeliest_cause([group], "my:reward", examples=False)
    assert cause == (
        "reward my:reward may ask for another form; the tasks have no answer to compare with, so look at it"
    )
