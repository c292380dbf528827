"""Rollouts by agents: what stops a run, how many go at once, what is never made again."""

import asyncio
from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest

from tests import own_agents
from tests.inprocess import MemoryJournal
from tests.rollouts.agents.made import (
    PRINTS,
    PRIOR,
    TASK,
    TOOLS,
    URLLIB,
    Cut,
    Program,
    always,
    rolled,
    rolling,
    tool_user,
)
from tfgrpo.errors import BudgetEnded, UpstreamError
from tfgrpo.model.budget import Budget, Ceiling
from tfgrpo.records import JSON, Task
from tfgrpo.rollouts.agents import FunctionAgent, ModelAddress
from tfgrpo.rollouts.agents.agent import WorkerLost
from tfgrpo.settings import Settings
from tfgrpo.testing import Answer, ScriptedModel


async def test_an_upstream_that_can_answer_nothing_stops_the_run_and_the_agent(
    program: Program,
) -> None:
    model = always(Answer("no", status=401))
    with pytest.raises(UpstreamError, match="refuses the key"):
        await rolled(program(PRINTS), model)
    with pytest.raises(UpstreamError, match="refuses the key"):
        await rolled(FunctionAgent("tests.own_agents:route"), model)


async def test_a_spent_budget_stops_the_run(program: Program) -> None:
    with pytest.raises(BudgetEnded):
        await rolled(program(TOOLS), ScriptedModel(tool_user), budget=Budget(Ceiling(calls=1)))


async def test_no_more_agents_run_at_once_than_calls_may(program: Program, tmp_path: Path) -> None:
    counted = (
        f"""
import os, time
folder = {str(tmp_path)!r}
open(os.path.join(folder, f"running-{{os.getpid()}}"), "w").close()
most = len([name for name in os.listdir(folder) if name.startswith("running-")])
"""
        + PRINTS
        + """
time.sleep(0.2)
os.remove(os.path.join(folder, f"running-{os.getpid()}"))
sys.stdout = sys.stderr = None
"""
    )
    agent = program(counted.replace("print(said)", "print(most)"))
    async with rolling(agent, always(), Settings(concurrency=2)) as executor:
        made = await asyncio.gather(*(executor(TASK, PRIOR, 0, sample) for sample in range(6)))
    assert {rollout.text for rollout in made} <= {"1", "2"}


async def test_a_finished_rollout_is_not_made_again(program: Program) -> None:
    journal, model = MemoryJournal(), ScriptedModel(tool_user)
    first = await rolled(program(TOOLS), model, journal=journal)
    second = await rolled(program(TOOLS), model, journal=journal)
    assert len(model.requests) == 2
    assert replace(second, trace=None) == replace(first, trace=None)


async def test_a_rollout_that_failed_may_be_made_again() -> None:
    journal, agent, model = MemoryJournal(), FunctionAgent("tests.own_agents:crashes"), always()
    first = await rolled(agent, model, journal=journal)
    second = await rolled(agent, model, journal=journal)
    assert (second.error, second.usage) == (first.error, first.usage)
    assert (len(own_agents.RUNS), len(model.requests)) == (2, 1)


class Losing:
    """An agent that loses its worker so many times before it answers."""

    name = "losing"

    def __init__(self, times: int) -> None:
        self._left, self._agent = times, FunctionAgent("tests.own_agents:route")
        self.at: list[float] = []

    async def __call__(self, task: Task, place: ModelAddress) -> JSON:
        self.at.append(monotonic())
        if len(self.at) <= self._left:
            raise WorkerLost("its worker was lost")
        return await self._agent(task, place)


async def test_a_lost_worker_is_waited_for_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfgrpo.rollouts.agents.executor.LOST_PAUSES", (0.01, 0.05))
    agent = Losing(2)
    made = await rolled(agent, always())
    assert (made.text, made.error) == ("billing", None)
    first, second, third = agent.at
    assert second - first >= 0.01 and third - second >= 0.05
    assert (await rolled(Losing(3), always())).error == "its worker was lost, 3 times"


async def test_an_unfinished_rollout_replays_the_calls_that_it_makes_again(program: Program) -> None:
    journal, model = Cut(), ScriptedModel(tool_user)
    first = await rolled(program(TOOLS), model, journal=journal)
    second = await rolled(program(TOOLS), model, journal=journal)
    assert len(model.requests) == 2
    assert replace(second, trace=None) == replace(first, trace=None)


async def test_an_agent_that_asks_something_else_after_a_crash_goes_its_own_way(
    program: Program,
) -> None:
    fickle = (
        URLLIB
        + """
messages = [{"role": "user", "content": sys.argv[1]}, {"role": "assistant", "content": said}]
for turn in range(2):
    messages += [{"role": "user", "content": f"sure, {os.getpid()}?"}]
    said = json.loads(ask(messages))["choices"][0]["message"]["content"]
    messages += [{"role": "assistant", "content": said}]
print(said)
"""
    )
    journal, model = Cut(), always()
    for calls in (3, 5, 7):
        rollout = await rolled(program(fickle), model, journal=journal)
        assert (rollout.text, rollout.error) == ("billing", None)
        assert [message["role"] for message in rollout.messages] == ["system", *["user", "assistant"] * 3]
        assert len(model.requests) == calls, "the first call of each rollout is the same, and made once"
