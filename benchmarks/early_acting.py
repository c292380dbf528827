"""Does a real model act by what an exploration told in hindsight? Measured without a reward, then by it.

    python -m benchmarks.early_acting --world cabinet --model local --slots 1 --kept calls.jsonl --minutes 20

Tasks of a small world (`early_worlds`) teach and measure, others judge. The product explores, tells what followed in
hindsight, and says which ways to show it are kept; the tasks that judge are then acted, once with each way and once
with nothing, as all that is measured at temperature 0. Told are the share of tasks solved and of first actions that
are right, each with its difference to nothing, and what acting at random comes to. A grammar (llama.cpp) has the model
name an action.
"""

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.early import interval
from benchmarks.early_worlds import WORLDS, World
from benchmarks.kept import RUN, asked_of, served
from tfgrpo.errors import BudgetEnded
from tfgrpo.experiences.distil import Distiller
from tfgrpo.experiences.transitions import explored
from tfgrpo.experiences.variants import as_prior
from tfgrpo.learning.hindsight import Seen, in_hindsight
from tfgrpo.observer import Silent
from tfgrpo.records import Frame, Prior, Task
from tfgrpo.rollouts.acting import EnvironmentExecutor, actions_of
from tfgrpo.rollouts.executor import SAMPLERS_OFF, ChatExecutor
from tfgrpo.rollouts.group import concurrently
from tfgrpo.settings import PROPOSES_SLOWLY, ROLLS_SLOWLY, Settings

Earned = tuple[list[float], list[float]]
"""Of each task: the reward, and whether its first action earned it."""


async def earned(executor: EnvironmentExecutor, tasks: Sequence[Task], prior: Prior) -> Earned:
    """One rollout of each task."""
    made = await concurrently(executor(task, prior, 1, 0) for task in tasks)
    rewards = [one.reward or 0.0 for one in made]
    return rewards, [
        float(reward == 1 and len(actions_of(one)) == 1) for one, reward in zip(made, rewards, strict=True)
    ]


def at_random(world: World, tasks: Sequence[Task]) -> tuple[float, float]:
    """The share of tasks that actions drawn evenly solve, and that their first ones do."""
    first = float(np.mean([_right(world, task) for task in tasks]))
    return 1 - (1 - first) ** world.turns, first


def _right(world: World, task: Task) -> float:
    done = []
    for action in world.actions:
        environment = world.make()
        environment.reset(task)
        done.append(environment.step(action).reward or 0.0)
    return float(np.mean(done))


async def measured(asked: argparse.Namespace) -> None:
    """Print what is told in hindsight, and what the tasks that judge earn by it."""
    world, settings = WORLDS[asked.world], replace(Settings(concurrency=asked.slots), **ROLLS_SLOWLY, **PROPOSES_SLOWLY)
    tasks = world.tasks(2 * asked.tasks + asked.judging, asked.seed)
    teach, judge = {task.id for task in tasks[: asked.tasks]}, tasks[2 * asked.tasks :]
    words = " | ".join(map(json.dumps, world.actions))
    async with served(asked, settings) as (upstream, name, backend):

        def acting(stage: str, temperature: float) -> EnvironmentExecutor:
            frame = Frame(
                name, world.system, {"max_tokens": 12, "grammar": f"root ::= {words}"}, temperature=temperature
            )
            plain = ChatExecutor(upstream, frame, backend, run=RUN, stage=stage, seed=0)
            return EnvironmentExecutor(plain, world.make, world.turns, at_once=asked.slots)

        exploring = acting("act", asked.temperature)
        distiller = Distiller(upstream, name, RUN, settings, request=SAMPLERS_OFF.get(backend.kind, {}))
        seen = (
            await explored(exploring, tasks[: 2 * asked.tasks], states=1, alternatives=asked.alternatives)
        ).transitions
        taught = Seen(tasks[: asked.tasks], [one for one in seen if one.task.id in teach])
        others = Seen(tasks[asked.tasks : 2 * asked.tasks], [one for one in seen if one.task.id not in teach])
        found = await in_hindsight(acting("measured", 0.0), distiller, taught, others, Silent())
        print("{} and {} transitions".format(*(len(part.transitions) for part in (taught, others))))
        print(*(one.line() for one in found), sep="\n", flush=True)
        print("at random {:.0%} solved, {:.0%} by the first action".format(*at_random(world, judge)))
        judging = acting("judged", 0.0)
        frozen = await earned(judging, judge, Prior())
        for told, prior in [("nothing", Prior()), *((one.variant.source, as_prior(one.variant)) for one in found)]:
            done = await earned(judging, judge, prior)
            for what, rewards, without in zip(("solved", "by the first action"), done, frozen, strict=True):
                less = interval((np.array(rewards) - without).tolist())
                print(f"{told}: {np.mean(rewards):.0%} {what}, less nothing {less}", flush=True)


def main() -> None:
    """The figures, on the model that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", choices=("panel", "cabinet", "switchboard"), default="cabinet")
    parser.add_argument("--tasks", type=int, default=36, help="that teach; as many measure")
    parser.add_argument("--judging", type=int, default=100)
    parser.add_argument("--alternatives", type=int, default=2, help="to the model's own action at a state")
    parser.add_argument("--seed", type=int, default=5, help="of the tasks")
    parser.add_argument("--temperature", type=float, default=0.7, help="of the exploration")
    asked_of(parser)
    try:
        asyncio.run(measured(parser.parse_args()))
    except BudgetEnded as ended:
        raise SystemExit(f"{ended}; the same command goes on") from None


if __name__ == "__main__":
    main()
