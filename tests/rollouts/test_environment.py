"""Rollouts in a text environment, and what follows on other actions, on branches of it or by the same steps again."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby

import pytest

from tfgrpo.errors import InputError
from tfgrpo.experiences.transitions import explored
from tfgrpo.records import Backend, ChatBody, Experience, Frame, Observation, Prior, Task, message_text
from tfgrpo.rollouts.acting import EnvironmentExecutor, action_in, actions_of
from tfgrpo.rollouts.environment import Walk
from tfgrpo.rollouts.executor import ChatExecutor
from tfgrpo.rollouts.group import concurrently
from tfgrpo.testing import Answer, Script, ScriptedModel, StoreRoom

TASK = Task("Fetch the box.", metadata={"lamp": "red", "hall": "porch"})


def opening_the_door(body: ChatBody) -> str:
    shown = message_text(body["messages"][-1])
    if "A box is here" in shown:
        return "take"
    return "go" if "is open" in shown else "turn" if "green" in shown else "press\nand then I turn it"


def executor(script: Script, turns: int = 8, *, at_once: int = 16) -> tuple[EnvironmentExecutor, ScriptedModel]:
    model = ScriptedModel(script)
    plain = ChatExecutor(model, Frame("fake", "Act."), Backend(), run="", stage="act", seed=0)
    return EnvironmentExecutor(plain, StoreRoom, turns, at_once=at_once), model


async def test_a_rollout_goes_on_turn_by_turn_until_the_environment_is_over() -> None:
    make, model = executor(opening_the_door)
    prior = Prior((Experience("When the lamp is green, doing turn leads to an open door."),))
    rollout = await make(TASK, prior, 0, 0)
    assert actions_of(rollout) == ["press", "turn", "go", "take"]
    assert (rollout.reward, rollout.usage.calls, rollout.included) == (1.0, 4, (prior.experiences[0].id,))
    system, first, *_ = model.requests[-1]["messages"]
    assert "leads to an open door" in message_text(system)
    assert (
        message_text(first) == "Fetch the box.\n\nYou are in the porch. The lamp is red. The door to the store is shut."
    )
    assert [message["role"] for message in rollout.messages] == ["system"] + ["user", "assistant"] * 4 + ["user"]


async def test_what_never_ends_ends_after_its_turns_and_a_call_that_fails_is_told() -> None:
    rollout = await executor(lambda body: "wait", turns=3)[0](TASK, Prior(), 0, 0)
    assert (rollout.usage.calls, rollout.reward) == (3, 0.0)
    failed = await executor(lambda body: Answer("no", status=400))[0](TASK, Prior(), 0, 0)
    assert failed.error
    assert failed.reward is None


async def test_one_at_once_ends_before_the_next_begins_so_that_a_server_still_knows_its_beginning() -> None:
    tasks = [Task(f"{place}. Fetch the box.") for place in range(3)]
    make, model = executor(opening_the_door, at_once=1)
    await concurrently(make(task, Prior(), 0, 0) for task in tasks)
    await explored(make, tasks, states=2, alternatives=1)
    asked = [message_text(request["messages"][1]).partition(".")[0] for request in model.requests]
    by_task = [task for task, _ in groupby(asked)]
    assert by_task == ["0", "1", "2"] * 2


@pytest.mark.parametrize(("text", "action"), [("press", "press"), ("\n  go \nbecause", "go"), ("", ""), ("   ", "")])
def test_an_action_is_the_first_line_that_says_something(text: str, action: str) -> None:
    assert action_in(text) == action


class Uncloned:
    """The store room without `clone`."""

    def __init__(self) -> None:
        self._room = StoreRoom()

    def reset(self, task: Task, /) -> Observation:
        return self._room.reset(task)

    def step(self, action: str, /) -> Observation:
        return self._room.step(action)


@pytest.mark.parametrize(("make", "replayed"), [(StoreRoom, 0), (Uncloned, 2 + 2)])
async def test_a_branch_changes_nothing_here_and_without_clone_it_costs_a_replay(
    make: Callable[[], StoreRoom | Uncloned], replayed: int
) -> None:
    async with Walk.begun(make, TASK) as walk:
        await walk.step("press")
        await walk.step("turn")
        assert "You are in the store. A box is here." in (await walk.after("go")).text
        assert "lamp is blue" in (await walk.after("press")).text
    assert walk.shown.text == "You are in the porch. The lamp is green. The door to the store is open."
    assert walk.replayed == replayed


@dataclass
class Moody:
    """Shows something else at each reset."""

    resets: list[int] = field(default_factory=lambda: RESETS)

    def reset(self, task: Task, /) -> Observation:
        self.resets.append(1)
        return Observation(f"It is day {len(self.resets)}.")

    def step(self, action: str, /) -> Observation:
        return Observation("Still that day.")


RESETS: list[int] = []


async def test_a_clone_that_is_none_is_an_error_and_where_the_same_actions_part_is_shown() -> None:
    class Same(Moody):
        def clone(self) -> object:
            return self

    class Lost(Same):
        def clone(self) -> object:
            return None

    class Ticking(Moody):
        def reset(self, task: Task, /) -> Observation:
            return Observation(f"{'You are in the hall. ' * 9}{super().reset(task).text}")

    for made, said in ((Same, "itself"), (Lost, "NoneType, without step")):
        async with Walk.begun(made, TASK) as walk:
            with pytest.raises(InputError, match=rf"clone\(\) gives {said}.*another one in the same state"):
                await walk.after("wait")
    async with Walk.begun(Ticking, TASK) as walk:
        with pytest.raises(InputError, match=r"led to '.*day \d+\.', and before to '.*day \d+\.'"):
            await walk.after("wait")


async def test_an_environment_that_cannot_be_branched_from_or_shows_nothing_is_an_error() -> None:
    async with Walk.begun(Moody, TASK) as walk:
        with pytest.raises(InputError, match="an environment without clone\\(\\) has to be deterministic"):
            await walk.after("wait")

    class Silent:
        def reset(self, task: Task, /) -> Observation:
            return "hello"  # pyrefly: ignore[bad-return]  # what a user may do

        def step(self, action: str, /) -> Observation:
            return Observation("")

    with pytest.raises(InputError, match=r"gives a tfgrpo\.records\.Observation with a text, not .*hello"):
        async with Walk.begun(Silent, TASK):
            pass

    class Slow(Silent):
        def reset(self, task: Task, /) -> Observation:
            return Observation("You are here.")

        def step(self, action: str, /) -> Observation:
            over.wait(60)
            return Observation("You are there.")

    over = threading.Event()
    async with Walk.begun(Slow, TASK) as walk:
        walk.thread._seconds = 0.05  # its beginning may take longer
        for _ in range(2):  # and what is asked of it afterwards does not wait for it
            with pytest.raises(InputError, match=r"no answer to step\('go'\) within 0.05 s \(--step-timeout\)"):
                await walk.step("go")
