"""Bounded context beside full context and truncation, on long sums, counting and automata of reasoning-gym.

    python -m benchmarks.bounded [--tasks 40] --base-url URL --model M   # a real model
    python -m benchmarks.bounded                                         # a SIMULATED one

Three arms answer the same tasks with the same seeds: `full` (8 chunks' tokens at once), `truncated` (one chunk),
`bounded` (C = 256, m = 128, 8 chunks). Told are the share of right answers, tokens of prompts and answers a task, and
the longest prompt. The simulated model counts on from the last number that it sees, up to a goal of each task: its
state is one number, so what it shows is what the arms cost, and that nothing is lost at a boundary; not what a
language model does.
"""

import argparse
import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tfgrpo.model.upstream import Model, Upstream
from tfgrpo.probe.backend import probe
from tfgrpo.records import Backend, CallKey, ChatBody, Frame, Prior, Reply, Rollout, Task, message_text
from tfgrpo.rollouts.bounded import BoundedExecutor, Bounds
from tfgrpo.rollouts.executor import ChatExecutor
from tfgrpo.rollouts.group import concurrently
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.rollouts.rewards.reward import score
from tfgrpo.settings import Settings
from tfgrpo.tasks.read import tasks_of
from tfgrpo.testing import Answer, ScriptedModel

BOUNDS = Bounds(256, 128, 8)
FULL = BOUNDS.chunk + (BOUNDS.chunks - 1) * (BOUNDS.chunk - BOUNDS.carry)
ARMS: Mapping[str, Bounds] = {
    "full": Bounds(FULL, 1, 1),
    "truncated": Bounds(BOUNDS.chunk, 1, 1),
    "bounded": BOUNDS,
}


@dataclass(slots=True)
class Watched:
    """A model, and the longest prompt that it was given."""

    model: Model
    longest: int = 0

    async def __call__(self, body: ChatBody, key: CallKey) -> Reply:
        reply = await self.model(body, key)
        self.longest = max(self.longest, reply.usage.prompt_tokens)
        return reply


def counting(body: ChatBody) -> Answer:
    """The simulated model."""
    first, last = message_text(body["messages"][0]), message_text(body["messages"][-1])
    goal = int(re.findall(r"\d+", first)[0])
    seen = 0 if len(body["messages"]) == 1 else int(re.findall(r"\d+", last)[-1])
    numbers = range(seen + 1, min(goal, seen + body["max_tokens"]) + 1)
    return Answer("".join(f"{number} " for number in numbers), "stop" if numbers.stop > goal else "length")


def made_up(count: int) -> list[Task]:
    """Goals from 100 to what the full context has room for."""
    goals = [100 + (FULL - 100) * place // max(1, count - 1) for place in range(count)]
    return [Task(f"Count to {goal}.", " ".join(map(str, range(1, goal + 1)))) for goal in goals]


def row(arm: str, rollouts: Sequence[Rollout], longest: int) -> str:
    """What an arm came to."""
    right = sum(rollout.reward or 0.0 for rollout in rollouts) / len(rollouts)
    prompts, answers = (
        sum(getattr(rollout.usage, name) for rollout in rollouts) / len(rollouts)
        for name in ("prompt_tokens", "completion_tokens")
    )
    return f"| {arm} | {100 * right:.0f}% | {prompts:.0f} | {answers:.0f} | {longest} |"


async def compared(model: Model, frame: Frame, backend: Backend, tasks: Sequence[Task], reward: str) -> None:
    """Print the table."""
    print("| arm | right | prompt tokens a task | answer tokens a task | longest prompt |\n|---|---|---|---|---|")
    for arm, bounds in ARMS.items():
        watched = Watched(model)
        plain = ChatExecutor(watched, frame, backend, run="", stage="bounded", seed=0)
        make = BoundedExecutor(plain, bounds, lambda: None)
        made = await concurrently(make(task, Prior(), 0, 0) for task in tasks)
        scored = [await score(load_reward(reward), rollout) for rollout in made]
        print(row(arm, scored, watched.longest))


async def real(url: str, name: str, count: int) -> None:
    """On a model that is served."""
    families = ("chain_sum", "letter_counting", "game_of_life")
    each = [tasks_of(f"gym:{family}?size={count // len(families)}&seed=1").tasks for family in families]
    async with Upstream(url, settings=Settings(concurrency=1)) as upstream:
        backend = await probe(upstream, name, run="")
        await compared(upstream, Frame(name), backend, [task for of in each for task in of], "gym")


def main() -> None:
    """The table, of a real model where one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--base-url")
    parser.add_argument("--model", default="local")
    asked = parser.parse_args()
    if asked.base_url:
        asyncio.run(real(asked.base_url, asked.model, asked.tasks))
        return
    model = ScriptedModel(counting)
    asyncio.run(compared(model, Frame("simulated"), Backend("llama.cpp"), made_up(asked.tasks), "exact"))


if __name__ == "__main__":
    main()
