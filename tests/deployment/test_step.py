"""What the autopilot does next, as a table; and what it never does."""

from dataclasses import replace
from typing import Any

import pytest

from tests.tables import each
from tfgrpo.deployment.comparison import Comparison, Wager, canary_level
from tfgrpo.deployment.effects import EffectInUse
from tfgrpo.deployment.step import QUIET_SECONDS, AutopilotTerms, CanaryTrial, DeployedState, Facts, step
from tfgrpo.errors import InputError

LIVE = DeployedState(live="prior_l")
OUT = replace(LIVE, canary=CanaryTrial("prior_c", 1, "prior_l", canary_level(0.05, 1)), canaries=1)
TERMS = AutopilotTerms()
ASKING = AutopilotTerms(ask=True)
READY = Facts(new_feedback=500, calls_left=200, day="2026-11-26")


def bets(benefit: float = 0.0, harm: float = 0.0, pairs: int = 50) -> Comparison:
    return Comparison(pairs, 4 * pairs, pairs, 0.1, Wager(0.0, benefit), Wager(0.0, harm))


HURTS = EffectInUse("exp_1", -0.1, -0.15, -0.05, 400)
CASES = {
    "nothing new": (LIVE, Facts(new_feedback=10, calls_left=100), TERMS, []),
    "enough feedback": (LIVE, READY, TERMS, ["learn"]),
    "no way to learn": (LIVE, replace(READY, can_learn=False), TERMS, []),
    "the budget is used up": (LIVE, replace(READY, calls_left=0), TERMS, ["tell"]),
    "nearly used up": (LIVE, replace(READY, calls_left=199), TERMS, ["tell"]),
    "a candidate": (replace(LIVE, candidate="prior_c"), READY, TERMS, ["canary"]),
    "a candidate, and a person is asked": (replace(LIVE, candidate="prior_c"), READY, ASKING, ["tell"]),
    "approved": (replace(LIVE, candidate="prior_c", approved=frozenset(["prior_c"])), READY, ASKING, ["canary"]),
    "a canary goes on, and nothing is learned": (OUT, replace(READY, comparison=bets(1.0, 1.0)), TERMS, []),
    "it helps": (OUT, replace(READY, comparison=bets(4.0)), TERMS, ["promote"]),
    "not enough for its level": (OUT, replace(READY, comparison=bets(3.4)), TERMS, []),
    "it helps, and a person is asked": (OUT, replace(READY, comparison=bets(4.0)), ASKING, ["tell"]),
    "it hurts": (OUT, replace(READY, comparison=bets(0.0, 2.0)), TERMS, ["roll back"]),
    "it hurts, whoever is asked": (OUT, replace(READY, comparison=bets(0.0, 2.0)), ASKING, ["roll back"]),
    "both, first one and then the other": (OUT, replace(READY, comparison=bets(4.0, 2.0)), TERMS, ["roll back"]),
    "nothing shows": (OUT, replace(READY, comparison=bets(pairs=2_000)), TERMS, ["roll back"]),
    "no traffic": (OUT, replace(READY, comparison=bets(pairs=0), quiet=QUIET_SECONDS), TERMS, ["tell"]),
    "a clock that jumps ahead": (OUT, replace(READY, comparison=bets(), quiet=9e9), TERMS, ["tell"]),
    "a clock that jumps back": (OUT, replace(READY, comparison=bets(), quiet=-9e9), TERMS, []),
    "somebody else's canary": (replace(OUT, canary=CanaryTrial("prior_c")), READY, TERMS, ["canary"]),
    "another prior is live": (replace(OUT, live="prior_x"), replace(READY, comparison=bets(9.0)), TERMS, ["withdraw"]),
    "drift": (LIVE, replace(READY, drifted=True), TERMS, ["go back"]),
    "drift, with a canary out": (OUT, replace(READY, drifted=True, comparison=bets(9.0)), TERMS, ["go back"]),
    "drift of nothing": (DeployedState(), replace(READY, drifted=True, new_feedback=0), TERMS, []),
    "what hurts": (LIVE, replace(READY, hurting=HURTS), TERMS, ["retire"]),
    "hurts, with a candidate": (replace(LIVE, candidate="prior_c"), replace(READY, hurting=HURTS), TERMS, ["canary"]),
}  # fmt: skip


@each("case", CASES)
def test_what_is_done_next(case: str) -> None:
    state, facts, terms, wanted = CASES[case]
    found = step(state, facts, terms)
    assert [one.kind for one in found] == wanted
    told = frozenset(one.about for one in found if one.kind == "tell")
    if told:
        assert step(replace(state, said=told), facts, terms) == ()


def test_a_canary_has_its_part_of_alpha_by_how_many_there_were() -> None:
    (found,) = step(replace(LIVE, candidate="prior_c", canaries=3), READY, TERMS)
    assert (found.figures["canary"], found.figures["level"]) == (4, canary_level(0.05, 4))


def test_promotion_is_for_a_canary_with_evidence_alone() -> None:
    """Whatever else holds: without a bet that has won at its level nothing goes live."""
    for state, facts, terms, _ in CASES.values():
        weak = replace(facts, comparison=facts.comparison and bets(3.0, 0.0))
        assert "promote" not in [one.kind for one in step(state, weak, terms)]


@each("given", [{"share": 1.0}, {"share": float("nan")}, {"daily_calls": -1}, {"min_feedback": 0}, {"alpha": 0}])
def test_terms_that_cannot_be_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="--" + next(iter(given)).replace("_", "-")):
        AutopilotTerms(**given)
