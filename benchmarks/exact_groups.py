"""Listed answers beside sampled ones on a real model: whether both say the same, and in how many calls.

    python -m benchmarks.exact_groups [--sets A,B] [--tasks 24] [--sampled 32] [--heat 0.7]   # on the embedded model
    python -m benchmarks.exact_groups --model URL --name NAME [--api-key KEY]                 # on one that is served

Four label sets of `peers`, their labels said as letters, so that an answer is one token. Every task is asked once for
all its answers, and sampled so many times at that temperature. The embedded model has one slot, as in a run: there what
is listed is what is sampled from, to the last bit (with several, where a prompt lies among theirs moves its logits).
Told are: tasks whose answers could be listed (98% or more of their probability), the least that was listed of these,
the mean reward by either with the sampled one's 95% interval, how many tasks' samples lie within what luck allows (95%)
around what is listed, and the calls of both. Exit code 1 where a set's difference is more than luck allows (99.9%), or
fewer than 85% of its tasks lie within.
"""

import argparse
import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from math import sqrt

from tfgrpo.model import local
from tfgrpo.model.local.server import ONE_AFTER_THE_OTHER
from tfgrpo.model.upstream import Upstream
from tfgrpo.probe.backend import probe
from tfgrpo.records import Backend, CallKey, Frame, Prior, Task
from tfgrpo.rollouts.executor import ChatExecutor
from tfgrpo.rollouts.group import concurrently
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.rollouts.rewards.reward import score
from tfgrpo.settings import Settings
from tfgrpo.token_prior.listing import Listing, unlistable

from .peers_sets import SETS, parts

WANTED = ("labels", "keep-drop", "reviews", "components")
LETTERS = "ABCDEFGH"
EXACT = load_reward("exact")


@dataclass(frozen=True, slots=True)
class Compared:
    """One task: what is listed of its answers, and what its samples came to."""

    covered: float
    """Probability of the listed answers."""
    missing: float
    expected: float
    rewards: Sequence[float]

    @property
    def mean(self) -> float:
        """Of the samples."""
        return sum(self.rewards) / len(self.rewards)

    @property
    def within(self) -> bool:
        """Whether the samples are what luck allows around what is expected: 95%, and one sample for its steps."""
        error = sqrt(self.expected * (1 - self.expected) / len(self.rewards))
        return abs(self.mean - self.expected) <= 1.96 * error + self.missing + 0.5 / len(self.rewards)


def lettered(name: str, count: int) -> tuple[str, list[Task]]:
    """The system prompt and the tasks of a set, with letters for labels."""
    chosen = SETS[name]
    tasks = parts(chosen, 0, 0, count).held_out
    labels = sorted({str(task.answer) for task in chosen.pool()})
    letters = dict(zip(labels, LETTERS, strict=False))
    legend = ", ".join(f"{letter} for {label}" for label, letter in letters.items())
    asked = f"{chosen.system or ''} Answer with one letter alone: {legend}.".strip()
    return asked, [replace(task, answer=letters[str(task.answer)]) for task in tasks if str(task.answer) in letters]


async def compared(upstream: Upstream, frame: Frame, backend: Backend, task: Task, sampled: int) -> Compared | None:
    """One task by both ways; None where its answers could not be listed."""
    listing = Listing(upstream, frame, backend, EXACT)
    found = await listing.answers(task, Prior(), frame.temperature, CallKey("", "listed", task=task.id), calls=1)
    if found is None or not found.is_known:
        return None
    call = ChatExecutor(upstream, frame, backend, run="", stage="sampled", seed=1)
    made = await concurrently(call(task, Prior(), 0, sample) for sample in range(sampled))
    scored = [await score(EXACT, rollout) for rollout in made]
    rewards = [rollout.reward for rollout in scored if rollout.reward is not None]
    return Compared(found.now.covered, found.now.missing, found.now.mean, rewards) if rewards else None


def told(name: str, asked: int, found: Sequence[Compared], sampled: int) -> tuple[str, bool]:
    """A row, and whether the set agrees."""
    if not found:
        return f"| {name} | 0 of {asked} | - | - | - | - | - |", True
    expected = sum(one.expected for one in found) / len(found)
    mean = sum(one.mean for one in found) / len(found)
    error = sqrt(sum(one.expected * (1 - one.expected) / len(one.rewards) for one in found)) / len(found)
    unlisted = sum(one.missing for one in found) / len(found)
    inside = sum(one.within for one in found)
    agrees = abs(mean - expected) <= 3.29 * error + unlisted and inside >= 0.85 * len(found)
    least = min(one.covered for one in found)
    interval = f"{100 * mean:.1f} [{100 * (mean - 1.96 * error):.1f}, {100 * (mean + 1.96 * error):.1f}]"
    figures = (f"{len(found)} of {asked}", f"{least:.1%}", f"{100 * expected:.1f}", interval)
    calls = f"{len(found)} and {len(found) * sampled:,}"
    return f"| {name} | {' | '.join(figures)} | {inside} of {len(found)} | {calls} |", agrees


async def measured(
    url: str, model: str, key: str, sets: Sequence[str], counts: Mapping[str, int], *, heat: float, at_once: int
) -> bool:
    """Print the table; whether every set agrees."""
    agreed = True
    async with Upstream(url, api_key=key, settings=Settings(concurrency=at_once)) as upstream:
        backend = await probe(upstream, model, run="")
        print("| set | tasks listed | least listed | expected reward | sampled, 95% | tasks within 95% | calls |")
        print("|---|---|---|---|---|---|---|")
        for name in sets:
            system, tasks = lettered(name, counts["tasks"])
            frame = Frame(model, system, {"max_tokens": 1}, temperature=heat)
            if why := unlistable(frame, backend, EXACT):
                raise SystemExit(f"nothing can be listed: {why}")
            found = await concurrently(compared(upstream, frame, backend, task, counts["sampled"]) for task in tasks)
            row, agrees = told(name, len(tasks), [one for one in found if one], counts["sampled"])
            agreed &= agrees
            print(row, flush=True)
    return agreed


def main() -> None:
    """The table, of the embedded model where none is named."""
    parser = argparse.ArgumentParser(description="Listed answers beside sampled ones.")
    parser.add_argument("--sets", type=lambda given: given.split(","), default=WANTED)
    parser.add_argument("--tasks", type=int, default=24)
    parser.add_argument("--sampled", type=int, default=32)
    parser.add_argument("--heat", type=float, default=0.7, help="temperature of the samples")
    parser.add_argument("--model", help="base URL of a model that is served")
    parser.add_argument("--name", default="local")
    parser.add_argument("--api-key", default=os.environ.get("OPENAI_API_KEY"))
    asked = parser.parse_args()
    counts = {"tasks": asked.tasks, "sampled": asked.sampled}
    served = nullcontext((asked.model, asked.name)) if asked.model else local.upstream("local", ONE_AFTER_THE_OTHER)
    with served as (url, model):
        at_once, key = 32 if asked.model else 1, asked.api_key or "none"
        agreed = asyncio.run(measured(url, model, key, asked.sets, counts, heat=asked.heat, at_once=at_once))
    raise SystemExit(0 if agreed else 1)


if __name__ == "__main__":
    main()
