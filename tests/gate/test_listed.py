"""The gate by expected rewards: what is not listed is the worst for the candidate, and no luck promotes it."""

import numpy as np

from tfgrpo.gate.e_process import Gate
from tfgrpo.gate.listed import Expected, exact_pass, expected_of
from tfgrpo.gate.passes import after
from tfgrpo.gate.verdict import GateVerdict, judge
from tfgrpo.records import Task
from tfgrpo.trials import Claim

TASKS = tuple(Task(f"letter {number}", ("yes", "no")[number % 2]) for number in range(16))


def verdict(
    effects: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", claim: Claim, missing: float = 0.0
) -> GateVerdict:
    """Of a candidate with these effects on the tasks, so much of its answers and of the live prior's not listed."""
    gate = Gate(len(TASKS), 1, 0.05, 1, claim, "exact")
    pairs = [
        (Expected(0.4 + effect, 0.4 + effect + missing, 0.4 + effect, "a"), Expected(0.4, 0.4 + missing, 0.4, "b"))
        for effect in effects.tolist()
    ]
    return judge(gate, after(gate.start, exact_pass(gate.start.bet, TASKS, pairs), TASKS)).verdict


def test_one_look_promotes_what_gains_on_tasks_like_these() -> None:
    alike = np.full(16, 0.05)
    mixed = np.where(np.arange(16) % 2, 0.3, -0.25)
    assert verdict(alike, "tasks-like-these") == "promote"
    assert verdict(alike, "these-tasks") == "promote"
    assert verdict(mixed, "tasks-like-these") == "reject"
    assert verdict(mixed, "these-tasks") == "reject"  # they gain 2.5 points, as half of all that are no better do
    assert verdict(np.zeros(16), "these-tasks") == "reject"


def test_what_is_not_listed_counts_against_the_candidate() -> None:
    alike = np.full(16, 0.05)
    assert verdict(alike, "these-tasks", missing=0.04) == "promote"
    assert verdict(alike, "these-tasks", missing=0.06) == "reject"
    assert verdict(alike, "tasks-like-these", missing=0.06) == "reject"
    nothing = expected_of(None)
    assert (nothing.low, nothing.high) == (0.0, 1.0)


def test_what_is_no_better_over_tasks_like_these_is_promoted_no_more_often_than_its_level() -> None:
    rng = np.random.default_rng(0)
    runs = 150
    promoted = sum(
        verdict(rng.normal(0, 0.2, 16).clip(-0.4, 0.4), "tasks-like-these") == "promote" for _ in range(runs)
    )
    assert promoted / runs <= 0.025 + 2 * (0.025 * 0.975 / runs) ** 0.5
