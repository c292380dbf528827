"""Frozen, log-odds, few-shot and the policy gradient at equal calls on the embedded model: held-out exact match.

    nice -n 10 python -m benchmarks.token_prior [--sets labels,format] [--seeds 3] [--first-seed 0] [--fresh]
        [--store FILE] [--json FILE]

Every call is journalled in the store: an interrupted benchmark goes on from it, and one that is done costs no call. An
arm learns from 20 tasks in 4 steps of 8 attempts each. The first step is sampled under no prior, so both estimators
share its calls; from then on each samples under its own biases. Few-shot prompting gets the best of *all* attempts of
the policy gradient's run, those under its biases too, which is at least as good as what the frozen model would have
given for as many calls: one full-reward attempt a task, as earlier turns. Log-odds gets the tokens as they were
sampled, which is better than what it would have where log-probabilities are missing.

*This one* is the policy gradient where its cross-validation on the training tasks keeps it, else the frozen model.

Measured are 32 other tasks, two attempts each; with --fresh, tasks that no choice was made on (`fresh_parts`).
Intervals: 95%, by bootstrap over tasks, all seeds of a task together.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.token_prior_sets import SETS, Parts, SetOfTasks, fresh_parts, parts, turns
from benchmarks.token_prior_table import Result, main_table, missed, step_table
from tfgrpo.model.local import upstream as endpoint
from tfgrpo.model.tokenizer import Tokenizer
from tfgrpo.model.upstream import Upstream
from tfgrpo.probe.backend import probe
from tfgrpo.records import Backend, Group, Prior, Rollout, Run, Task, TokenBias
from tfgrpo.rollouts.executor import ChatExecutor
from tfgrpo.rollouts.group import concurrently
from tfgrpo.rollouts.rewards.reward import score
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.token_prior.estimators import TokenLearning

STEPS, REPEATS, SHOTS = 4, 2, 4


@dataclass(frozen=True, slots=True)
class Place:
    """One seed of one set: where calls go, and under which names they are journalled."""

    wanted: SetOfTasks
    parts: Parts
    run: Run
    upstream: Upstream
    backend: Backend
    settings: Settings

    def executor(self, stage: str, *, learning: bool = False) -> ChatExecutor:
        """Calls of one stage."""
        top = self.settings.top_logprobs if learning else 0
        return ChatExecutor(
            self.upstream,
            self.run.frame,
            self.backend,
            run=self.run.id,
            stage=stage,
            seed=self.settings.seed,
            top_logprobs=top,
        )

    async def groups(self, stage: str, step: int, biases: tuple[TokenBias, ...]) -> list[Group]:
        """One step's attempts at all training tasks, scored by the reward to learn from."""
        call, prior = self.executor(stage, learning=True), self.prior(biases)

        async def attempt(task: Task, sample: int) -> Rollout:
            return await score(self.wanted.reward, await call(task, prior, step, sample))

        async def group(task: Task) -> Group:
            return Group(
                task,
                step,
                tuple(await concurrently(attempt(task, sample) for sample in range(self.settings.group_size))),
            )

        return await concurrently(group(task) for task in self.parts.train)

    def prior(self, biases: tuple[TokenBias, ...]) -> Prior:
        """A token prior alone."""
        return Prior((), biases, self.backend.tokenizer if biases else None)

    async def right(
        self, stage: str, biases: tuple[TokenBias, ...] = (), shots: tuple[tuple[str, str], ...] = ()
    ) -> NDArray[np.float64]:
        """Share of right answers to each test task, shape (tasks,)."""
        call, prior = self.executor(f"test {stage}"), self.prior(biases)

        async def attempt(task: Task, sample: int) -> float:
            shown = with_shots(task, shots)
            rollout = await call(shown, prior, 0, sample)
            return float(rollout.error is None and self.wanted.is_right(replace(rollout, task=task)))

        found = await concurrently(attempt(task, sample) for task in self.parts.test for sample in range(REPEATS))
        return np.asarray(np.array(found).reshape(len(self.parts.test), REPEATS).mean(axis=1))


def with_shots(task: Task, shots: Sequence[tuple[str, str]]) -> Task:
    """The task with more worked examples before its last message."""
    return Task((*task.messages[:-1], *turns(tuple(shots)), task.messages[-1]), task.answer, task.metadata)


def best_attempts(steps: Sequence[Sequence[Group]], count: int) -> tuple[tuple[str, str], ...]:
    """(question, answer) of one full-reward attempt each of `count` tasks, in hash order; fewer where there are not."""
    found: dict[str, tuple[str, str]] = {}
    for groups in steps:
        for group in groups:
            for rollout in group.scored:
                if rollout.reward == 1 and group.task.id not in found:
                    found[group.task.id] = (str(group.task.messages[-1]["content"]), rollout.text.strip())
    return tuple(found[task] for task in sorted(found)[:count])


class SampledTokens:
    """The tokenizer that the traces of rollouts make: each text's tokens as they were sampled."""

    def __init__(self) -> None:
        self.ids: dict[str, list[int]] = {}
        self.pieces: dict[int, bytes] = {}

    def see(self, groups: Sequence[Group]) -> None:
        """Take in the texts of a step."""
        for group in groups:
            for rollout in group.rollouts:
                if rollout.trace is not None:
                    self.ids[rollout.text] = rollout.trace.ids[:, 0].tolist()
                    self.pieces |= rollout.trace.pieces

    @property
    def tokenizer(self) -> Tokenizer:
        """As log-odds wants it."""
        return Tokenizer("sampled", lambda text: self.ids.get(text, []), lambda piece: None, self.pieces.__getitem__)


async def log_odds_biases(place: Place, first: list[Group]) -> tuple[TokenBias, ...]:
    """What log-odds learns, after all steps."""
    seen = SampledTokens()
    seen.see(first)
    blind = replace(place.backend, logprobs=False)
    learning = TokenLearning((), place.run.frame, blind, place.settings, seen.tokenizer)
    learning.learn(first, place.run.frame.temperature)
    for step in range(1, STEPS):
        groups = await place.groups("log-odds", step, learning.working)
        seen.see(groups)
        learning.learn(groups, place.run.frame.temperature)
    return learning.result()


async def gradient_biases(
    place: Place, first: list[Group]
) -> tuple[list[tuple[TokenBias, ...]], list[list[Group]], TokenLearning]:
    """What the policy gradient would keep after each step, its attempts, and its state at the end."""
    learning = TokenLearning((), place.run.frame, place.backend, place.settings)
    learning.learn(first, place.run.frame.temperature)
    kept, steps = [learning.result()], [first]
    for step in range(1, STEPS):
        steps.append(await place.groups("policy gradient", step, learning.working))
        learning.learn(steps[-1], place.run.frame.temperature)
        kept.append(learning.result())
    return kept, steps, learning


async def one(place: Place) -> Result:
    """All arms of one seed of one set."""
    first = await place.groups("first step", 0, ())
    frozen = await place.right("frozen")
    kept, steps, learning = await gradient_biases(place, first)
    by_step = [await place.right(f"step {number}", kept[number]) for number in range(STEPS)]
    odds = await log_odds_biases(place, first)
    shots = best_attempts(steps, SHOTS)
    _, choice = learning.choose({})
    arms = {
        "frozen": frozen,
        "log-odds": await place.right("log-odds", odds),
        "few-shot": await place.right("few-shot", shots=shots),
        "this one": by_step[-1] if choice.scope == "whole answer" else frozen,
    }
    return Result(
        name=place.wanted.name,
        seed=place.settings.seed,
        arms={name: found.tolist() for name, found in arms.items()},
        steps=[found.tolist() for found in by_step],
        choice=choice,
        training_reward=[
            float(np.mean([group.rewards.mean() for group in groups if group.scored])) for groups in steps
        ],
        constant=best_constant(place),
        biases=[(entry.piece.decode(errors="replace"), entry.bias, round(entry.z, 2)) for entry in kept[-1]],
        shots=list(shots),
    )


def best_constant(place: Place) -> float | None:
    """What the best answer of all would score if it were given to every test task; None where no answer repeats."""
    counts = Counter(str(task.answer) for task in place.parts.test)
    (_, count), *_ = counts.most_common(1)
    return count / len(place.parts.test) if count > 1 else None


async def measure(wanted: SetOfTasks, divided: Parts, seed: int, at: tuple[str, str], store: Store) -> Result:
    """One seed of one set, from the journal where it holds the calls; `at` are base URL and model."""
    url, model = at
    settings = Settings(seed=seed, steps=STEPS, concurrency=8)
    tasks = (*divided.train, *divided.test)
    store.add_tasks(tasks)
    told = {"benchmark": "token prior", "seed": seed, "steps": STEPS, "group_size": settings.group_size}
    ids = tuple(task.id for task in tasks)
    run, _ = store.begin(Run("eval", wanted.name, wanted.frame(model), told, ids, "graded"))  # never ended: replayed
    async with Upstream(url, settings=settings, journal=store) as calls:
        backend = await probe(calls, model, run=run.id)
        return await one(Place(wanted, divided, run, calls, backend, settings))


def main() -> int:
    """Measure what is asked for, seed by seed, and print the tables after each; 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join(wanted.name for wanted in SETS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="learn and measure on the tasks kept for a check")
    parser.add_argument("--store", type=Path, default=Path("token-prior.db"))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    chosen = [wanted for wanted in SETS if wanted.name in given.sets.split(",")]
    results: list[Result] = []
    with Store(given.store) as store, endpoint("local") as at:
        for seed in range(given.first_seed, given.first_seed + given.seeds):
            for wanted in chosen:
                divided = fresh_parts(wanted, seed) if given.fresh else parts(wanted)
                results.append(asyncio.run(measure(wanted, divided, seed, at, store)))
                told = results[-1]
                print(
                    f"{told.name}, seed {seed}: {told.choice.scope}; {told.choice.why}; {told.biases}", file=sys.stderr
                )
                if given.json:
                    found = [result.as_json() for result in results]
                    given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print("\n".join([*main_table(results), "", *step_table(results), "", *missed(results)]))
    return int(bool(missed(results)))


if __name__ == "__main__":
    sys.exit(main())
