"""One cell of `peers`: a model, a set, a seed and a method; its calls are in a store of its own, so that it goes on."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from tfgrpo.experiences.variants import usable_examples
from tfgrpo.model.upstream import Upstream
from tfgrpo.probe.backend import probe
from tfgrpo.records import JSON, Backend, CallKey, Demonstration, Frame, Message, Prior, Rollout, Run, Task, Usage
from tfgrpo.rollouts.executor import Executors, sampling
from tfgrpo.rollouts.group import concurrently, executors
from tfgrpo.rollouts.rewards.reward import score
from tfgrpo.settings import Settings
from tfgrpo.store import Store

from .peers_sets import Parts, PeerSet
from .peers_sets import parts as parts_of

SETTINGS = Settings(concurrency=8)
NOT_SPENT = ("probe", "measure")
"""Stages whose calls are the benchmark's, not the method's."""

_TICK = 5.0
"""Seconds between two looks at the clock."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is the same for all methods."""

    calls: int = 400
    """Model calls that a method may make before it is measured."""
    training: int = 24
    held_out: int = 32
    repeats: int = 2
    """Rollouts at each held-out task."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a method came to."""

    prior: Prior
    what: str
    """The same in a few words."""
    system: str | None = None
    """In place of the set's system prompt, where a method rewrites that."""
    spent: Usage | None = None
    """Where the method keeps its own count."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model is served, and where stores are kept."""

    base_url: str
    model: str
    stores: Path
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Cell:
    """What a method works with."""

    place: Place
    wanted: PeerSet
    parts: Parts
    seed: int
    terms: Terms
    frame: Frame
    store: Store
    upstream: Upstream
    backend: Backend
    make: Executors
    run: Run
    examples: tuple[Demonstration, ...]
    """The training tasks whose answer earns the full reward as it stands."""

    @property
    def spent(self) -> Usage:
        """What the method has spent of its calls, over all starts of the benchmark."""
        by_stage = self.store.spent_by_stage(self.run.id).items()
        return sum((usage for stage, usage in by_stage if not stage.startswith(NOT_SPENT)), Usage())

    async def rollouts(
        self, stage: str, wanted: Sequence[tuple[Task, Prior, int]], *, step: int = 0, system: str | None = None
    ) -> list[Rollout]:
        """Scored rollouts of tasks under priors, by sample; one that failed has the reward 0."""
        frame = self.frame if system is None else replace(self.frame, system=system)
        call = self.make(frame, self.backend, run=self.run.id, stage=stage, seed=self.seed)

        async def one(task: Task, prior: Prior, sample: int) -> Rollout:
            made = await score(self.wanted.reward, await call(task, prior, step, sample))
            return made if made.reward is not None else replace(made, reward=0.0)

        return await concurrently(one(*each) for each in wanted)

    async def ask(self, stage: str, messages: Sequence[Message], *, step: int = 0, **more: JSON) -> str:
        """One call of the model outside of any task; raises ModelError when it fails."""
        body = {"model": self.frame.model, "messages": list(messages), **sampling(self.frame, self.backend, self.seed)}
        return (await self.upstream({**body, **more}, CallKey(self.run.id, stage, step))).text


Method: TypeAlias = Callable[[Cell], Awaitable[Found]]
"""From what a method works with to what it came to, within the calls of the cell's terms."""


@asynccontextmanager
async def opened(place: Place, wanted: PeerSet, seed: int, method: str, terms: Terms) -> AsyncIterator[Cell]:
    """A cell, ready for its method; goes on with its store where it was interrupted."""
    parts = parts_of(wanted, seed, terms.training, terms.held_out)
    named = f"{wanted.name}-{seed}-{method}-{terms.calls}-{terms.training}-{terms.held_out}-{terms.repeats}"
    frame, tasks = wanted.frame(place.model), (*parts.train, *parts.held_out)
    planned = Run("eval", "peers", frame, {"seed": seed, "method": method}, tuple(t.id for t in tasks), wanted.name)
    with Store(place.stores / f"{place.model.replace('/', '_')}-{named}.db") as store:
        store.add_tasks(tasks)
        run, _ = store.begin(planned)
        async with (
            Upstream(place.base_url, api_key=place.key, settings=SETTINGS, journal=store) as upstream,
            executors(wanted.agent, upstream, SETTINGS, store) as make,
        ):
            backend = await probe(upstream, place.model, run=run.id)
            examples = (await usable_examples(parts.train, wanted.reward, SETTINGS)).shown
            yield Cell(place, wanted, parts, seed, terms, frame, store, upstream, backend, make, run, examples)


@asynccontextmanager
async def timed(cell: Cell, part: str) -> AsyncIterator[Callable[[], float]]:
    """The minutes that a part of a cell has taken over all its starts; written down beside the store every few seconds,
    so that a kill loses no more than these."""
    file = Path(f"{cell.store.path}.{part}-seconds")
    before, began = float(file.read_text()) if file.exists() else 0.0, time.monotonic()

    def note() -> float:
        seconds = before + time.monotonic() - began
        written = file.with_suffix(".new")
        written.write_text(str(seconds))
        written.replace(file)  # whole, whenever it is killed
        return seconds / 60

    async def ticking() -> None:
        while True:
            note()
            await asyncio.sleep(_TICK)

    ticks = asyncio.create_task(ticking())
    try:
        yield note
    finally:
        ticks.cancel()
        note()


async def figures(cell: Cell, method: Method) -> dict[str, JSON]:
    """Run a method and measure what it came to on the held-out tasks."""
    async with timed(cell, "search") as searched:
        found = await method(cell)
        minutes = searched()
    wanted = [(task, found.prior, n) for task in cell.parts.held_out for n in range(cell.terms.repeats)]
    async with timed(cell, "measure") as measured_for:
        made = await cell.rollouts("measure", wanted, system=found.system)
    measured = sum((rollout.usage for rollout in made), Usage())
    cell.store.end(cell.run.id, "finished", cell.store.spent(cell.run.id), {})
    return {
        "rewards": _by_task(made),
        "failed": sum(rollout.error is not None for rollout in made),
        "spent": asdict(found.spent or cell.spent),
        "minutes": minutes,
        "measured": asdict(measured),
        "measured_minutes": measured_for(),
        "what": found.what,
    }


def _by_task(made: Sequence[Rollout]) -> Mapping[str, float]:
    """The mean reward of each task."""
    rewards: dict[str, list[float]] = {}
    for rollout in made:
        rewards.setdefault(rollout.task.id, []).append(rollout.reward or 0.0)
    return {task: sum(each) / len(each) for task, each in rewards.items()}
