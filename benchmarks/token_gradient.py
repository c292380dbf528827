"""What the token prior costs, on SIMULATED log-probabilities: accumulating a gradient, and biasing a request.

    python benchmarks/token_gradient.py [--positions 50000] [--repeat 3] [--json FILE]

The gradient is that of one step: groups of 8 rollouts over 100 mixed tasks, 20 tokens listed at each position, their
ids drawn by a power law from a vocabulary of 150,000. Time is the least of the repeats, from rollouts to gradient, KL
limit included; memory is the peak of the process, rollouts included. The request gets 100 biases and 10 experiences.
Limits: 2 s and 500 MB for 50,000 positions (1,000,000 listed tokens), 20 µs (median) for a request; exit code 1 above.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from tfgrpo.prompts import template
from tfgrpo.records import Backend, Experience, Group, Prior, Rollout, Task, TokenBias, TokenTrace
from tfgrpo.settings import Settings
from tfgrpo.surfaces.chat import with_prior
from tfgrpo.token_prior.gradient import step_gradient

TASKS, GROUP_SIZE, LISTED, VOCABULARY = 100, 8, 20, 150_000
LIMITED = 50_000
"""Positions for which the limits hold."""
SECONDS, MEGABYTES, MICROSECONDS = 2.0, 500.0, 20.0
BACKEND = Backend(logit_bias="honoured", logprobs=True, token_ids=True)


def simulated_trace(rng: np.random.Generator, length: int) -> TokenTrace:
    """That many positions, the likeliest of 20 tokens sampled; 2% of the probability is outside of the list."""
    weights = np.exp(-np.cumsum(rng.exponential(0.7, size=(length, LISTED)), axis=1))
    logprobs = np.log(0.98 * weights / weights.sum(axis=1, keepdims=True))
    rank = (VOCABULARY ** rng.random((length, LISTED))).astype(np.int64)
    return TokenTrace(rank // LISTED * LISTED + np.arange(LISTED), logprobs, {})


def simulated_groups(positions: int) -> list[Group]:
    """100 groups of 8 rollouts with mixed rewards, about that many positions in all."""
    rng, length = np.random.default_rng(0), positions // (TASKS * GROUP_SIZE)
    groups = []
    for task in (Task(f"task {number}") for number in range(TASKS)):
        traces = [simulated_trace(rng, length) for _ in range(GROUP_SIZE)]
        rollouts = [Rollout(task, 0, i, "", reward=i % 2, trace=trace) for i, trace in enumerate(traces)]
        groups.append(Group(task, 0, tuple(rollouts)))
    return groups


def seconds(work: Callable[[], object]) -> float:
    """How long it takes once."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def peak_megabytes() -> float:
    """Largest resident memory of the process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def request_microseconds() -> float:
    """Median time to add a prior of 100 biases and 10 experiences to a chat request."""
    biases = tuple(TokenBias(37 * number, b"x", number / 25 - 2.01, 3.0, 5) for number in range(100))
    experiences = tuple(Experience(f"When it is case {number}, answer with its code only.") for number in range(10))
    prior = Prior(experiences, biases, "tokenizer_1", template("prior").version)
    messages = [{"role": "system", "content": "Route the message."}, {"role": "user", "content": "Where is it?"}]
    body = {"model": "fake", "messages": messages, "temperature": 0.7}
    return 1e6 * median(seconds(lambda: with_prior(body, prior)) for _ in range(20_000))


def main() -> int:
    """Print the figures; 1 when they are above the limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--positions", type=int, default=LIMITED)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    groups = simulated_groups(given.positions)
    before = peak_megabytes()
    in_force = {37 * number: 0.5 for number in range(100)}
    tokens = len(step_gradient(groups, in_force, 0.7, BACKEND, Settings()).tokens)
    took = min(seconds(lambda: step_gradient(groups, in_force, 0.7, BACKEND, Settings())) for _ in range(given.repeat))
    figures = {
        "positions": given.positions,
        "listed": given.positions * LISTED,
        "distinct": tokens,
        "seconds": round(took, 3),
        "megabytes": round(peak_megabytes()),
        "megabytes_before": round(before),
        "request_microseconds": round(request_microseconds(), 1),
    }
    for name, value in figures.items():
        print(f"{name.replace('_', ' '):22}{value:,}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")
    slow = given.positions <= LIMITED and (took > SECONDS or peak_megabytes() > MEGABYTES)
    return int(slow or figures["request_microseconds"] > MICROSECONDS)


if __name__ == "__main__":
    sys.exit(main())
