"""What Ray gives an agent that keeps a processor busy, and what it costs one that does not.

    python -m benchmarks.on_ray [--rollouts 16] [--seconds 0.5] [--waiting]

Rollouts of an agent with one model call and so many seconds of processor time, on a cluster that is started here with
one worker, then with two; and rollouts of the same agent with no such time, in this process and on Ray, one after the
other and side by side. The model is scripted and answers at once, so what is left is overhead. With `--waiting` the
agent sleeps for as long in place of working: what Ray's dealing alone allows, on a machine with other work to do.
Last, the processor time that one empty rollout takes of all processes together, whatever else the machine does, and
what that leaves for two workers on two processors: the learner and Ray work on the same two.
"""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import click

from tfgrpo.model.upstream import Upstream
from tfgrpo.records import Backend, CallKey, Frame, Prior, Task, Usage
from tfgrpo.rollouts.agents import Agent, FunctionAgent, agent_executors
from tfgrpo.rollouts.on_ray.cluster import RayWorkers
from tfgrpo.rollouts.on_ray.elsewhere import AgentOnRay
from tfgrpo.settings import Settings
from tfgrpo.testing import ScriptedModel, serving


class Nowhere:
    """A journal that keeps nothing."""

    async def reply(self, key: CallKey, request: str) -> str | None:
        return None

    async def record(self, key: CallKey, request: str, response: str, usage: Usage) -> None:
        return None


def agent(client: Any, task: Any, *, seconds: float, waiting: bool = False) -> Any:
    """One call, then so many seconds of this process's own time, or of none."""
    reply = client.chat.completions.create(model="default", messages=[{"role": "user", "content": task.prompt}])
    if waiting:
        time.sleep(seconds)
        return reply.choices[0].message.content
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
    return reply.choices[0].message.content


async def timed(made: Agent, url: str, rollouts: int, concurrency: int) -> float:
    """Seconds that so many rollouts take, once one of them per worker was made."""
    settings = Settings(concurrency=concurrency)
    async with (
        Upstream(url, api_key="none", settings=settings) as upstream,
        agent_executors(made, upstream, settings, Nowhere()) as make,
    ):
        executor = make(Frame("fake"), Backend(), run="run", stage="rollout", seed=0)
        await asyncio.gather(*(executor(Task("warm"), Prior(), 0, sample) for sample in range(concurrency)))
        began = time.perf_counter()
        found = await asyncio.gather(*(executor(Task("which?"), Prior(), 1, sample) for sample in range(rollouts)))
        assert not [rollout.error for rollout in found if rollout.error]
        return time.perf_counter() - began


def on_ray(work: Callable[..., str], url: str, rollouts: int, workers: int, concurrency: int) -> float:
    """The same on a cluster of so many workers."""
    import ray

    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
    try:
        given = AgentOnRay(FunctionAgent(work), RayWorkers(None))
        return asyncio.run(timed(given, url, rollouts, concurrency))
    finally:
        ray.shutdown()


def used(session: str) -> float:
    """Seconds of processor time that this process and those of Ray's on this machine have taken."""
    ticks = 0
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            named = (place / "cmdline").read_bytes().decode(errors="replace")
            if session in named or named.startswith("ray::"):
                ticks += sum(map(int, (place / "stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK") + time.process_time()


def overhead(url: str, rollouts: int) -> float:
    """Seconds of processor time of one empty rollout on two workers."""
    import ray
    from ray._private import worker

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    node: Any = worker._global_node
    session = Path(node.get_session_dir_path()).name
    try:
        given = AgentOnRay(FunctionAgent(partial(agent, seconds=0)), RayWorkers(None))
        asyncio.run(timed(given, url, 8, 4))
        before = used(session)
        asyncio.run(timed(given, url, rollouts, 4))
        return (used(session) - before) / rollouts
    finally:
        ray.shutdown()


@click.command()
@click.option("--rollouts", default=16)
@click.option("--seconds", default=0.5, help="Of processor time in each.")
@click.option("--waiting", is_flag=True, help="Sleep for as long instead.")
def main(rollouts: int, seconds: float, waiting: bool) -> None:
    """Measure both."""
    with serving(ScriptedModel(lambda _: "billing").app) as url:
        work = partial(agent, seconds=seconds, waiting=waiting)
        one, two = (on_ray(work, url, rollouts, workers, 2 * workers) for workers in (1, 2))
        print(f"{rollouts} rollouts of {seconds:g} s: one worker {one:.1f} s, two {two:.1f} s, {one / two:.2f} times")
        nothing = partial(agent, seconds=0)
        empty = FunctionAgent(nothing)
        for name, concurrency in (("one after the other", 1), ("side by side", 16)):
            here = 1000 * asyncio.run(timed(empty, url, 10 * rollouts, concurrency)) / (10 * rollouts)
            there = 1000 * on_ray(nothing, url, 10 * rollouts, 2, concurrency) / (10 * rollouts)
            print(f"empty rollouts {name}: here {here:.1f} ms, on Ray {there:.1f} ms each")
        each = overhead(url, 10 * rollouts)
        most = min(2.0, 2 * seconds / (seconds + each))
        told = f"processor time of an empty rollout on Ray: {1000 * each:.0f} ms"
        print(f"{told}; so two workers are {most:.2f} times one at most")


if __name__ == "__main__":
    main()
