"""A ceiling ends a run and is no success: what was done is kept, said, and gone on from with a larger one."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.gate.test_promote import PLAN, policy, run, states, trial
from tests.routing import ADVICE, HARM, NOISE, SMALL, TASKS, TOPICS, WORDS, distilling, talkative
from tfgrpo.errors import BudgetEnded
from tfgrpo.experiences.variants import example
from tfgrpo.learning.cost import cost, lines
from tfgrpo.learning.plan import Plan
from tfgrpo.learning.result import LearningResult
from tfgrpo.model.budget import Budget, Ceiling
from tfgrpo.model.prices import FixedPrice
from tfgrpo.records import ChatBody, Frame, Task, message_text
from tfgrpo.rollouts.agents import load_agent
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.surfaces.chat import token_estimate
from tfgrpo.surfaces.surface import demonstration_tokens
from tfgrpo.testing import Answer, Script, ScriptedModel, SimulatedPolicy, _Receive, _Scope, _Send

STEP = SMALL.group_size * len(TASKS)
"""Calls of one step."""
PROBE = 3


def calls(most: int) -> Budget:
    return Budget(Ceiling(calls=most))


async def test_what_completed_steps_taught_is_kept_and_gated_with_what_was_held_back(tmp_path: Path) -> None:
    """200 calls: 140 may be learned with, which is one step and a half; 60 and no more are left for three passes."""
    plan = replace(PLAN, settings=replace(SMALL, steps=4, group_size=6))
    assert cost(plan).held_back == 0.3
    budget = calls(200)
    learned = await run(policy(), tmp_path / "t.db", plan, budget=budget)
    assert len(learned.steps) == 1
    assert learned.ended is not None
    assert learned.ended.startswith(
        "the budget of 200 calls is used up but for 60 held back for the gate (140 spent): 1 of 4 steps were done"
    )
    assert budget.spent.calls <= 200
    assert learned.candidate is not None
    assert len(trial(tmp_path / "t.db").passes) >= 1
    with Store(tmp_path / "t.db") as store:
        entry = store.runs()[0]
        assert (entry.run.status, entry.run.result["ended"]) == ("out of budget", learned.ended)
        assert store.spent(entry.run.id).calls == budget.spent.calls


async def test_without_a_gate_learning_may_use_all_of_it(tmp_path: Path) -> None:
    plan = replace(PLAN, settings=replace(SMALL, steps=4, group_size=6), validation=())
    learned = await run(policy(), tmp_path / "t.db", plan, budget=calls(200))
    assert len(learned.steps) == 2
    assert states(tmp_path / "t.db") == ["ungated"]
    assert learned.ended == (
        "the budget of 200 calls is used up (200 spent): 2 of 4 steps were done, and what they taught is kept"
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> LearningResult:
    """What a run comes to that has no ceiling."""
    return asyncio.run(run(policy(), tmp_path_factory.mktemp("whole") / "t.db"))


@pytest.mark.parametrize("most", [1, PROBE + 5, 100, 140])
async def test_a_larger_ceiling_goes_on_and_ends_as_if_there_had_been_none(
    tmp_path: Path, whole: LearningResult, most: int
) -> None:
    """Up to the gate's number of the trial, which counts the earlier candidate if that was tested."""
    try:
        first = await run(policy(), tmp_path / "cut.db", budget=calls(most))
        assert first.ended is not None
    except BudgetEnded:
        assert most < PROBE
    with Store(tmp_path / "cut.db") as store:
        assert store.runs()[0].run.status == "out of budget"
        committed = store.spent(store.runs()[0].run.id).calls
        tested = len(store.trials())
        assert whole.candidate is not None
        goes_on = [one for one in store.trials() if one.candidate == whole.candidate.id and one.outcome is None]
    assert committed <= most
    model, budget = policy(), calls(10_000)
    resumed = await run(model, tmp_path / "cut.db", budget=budget)
    assert resumed.resumed
    assert resumed.ended is None
    assert resumed.candidate == whole.candidate
    assert resumed.steps == whole.steps
    seen = len(goes_on)  # one call, where the gate goes on, to see that the upstream is the same
    assert budget.spent.calls == resumed.usage.calls + seen, "what it spent before it was cut counts"
    with Store(tmp_path / "cut.db") as store:
        assert store.runs()[0].run.status == "finished"
        found = store.trials()
    if not tested or found[0].candidate == whole.prior.id:
        assert {**resumed.as_json(), "resumed": False} == whole.as_json()
        assert len(model.requests) == whole.usage.calls - committed + seen


async def test_the_same_ceiling_again_spends_nothing_more(tmp_path: Path) -> None:
    first = await run(policy(), tmp_path / "t.db", budget=calls(60))
    model = policy()
    again = await run(model, tmp_path / "t.db", budget=calls(60))
    assert model.requests == []
    assert (again.steps, again.candidate, again.usage) == (first.steps, first.candidate, first.usage)


async def test_a_ceiling_may_be_one_on_what_is_made_now(tmp_path: Path) -> None:
    """So an autopilot goes on with a run within what is left of the day."""
    await run(policy(), tmp_path / "t.db", budget=calls(60))
    model, budget = policy(), calls(50)
    budget.anew = True
    assert (await run(model, tmp_path / "t.db", budget=budget)).resumed
    assert 20 <= len(model.requests) <= 50  # less what is held back for the gate


async def test_a_budget_that_ends_in_the_gate_leaves_a_candidate_that_is_tested_on_later(tmp_path: Path) -> None:
    plan = replace(PLAN, settings=replace(SMALL, steps=1))
    whole = await run(policy(), tmp_path / "whole.db", plan)
    assert len(trial(tmp_path / "whole.db").passes) > 2
    learned = await run(policy(), tmp_path / "t.db", plan, budget=calls(int((PROBE + STEP) / 0.7) + 1))
    assert len(trial(tmp_path / "t.db").passes) == 1
    assert learned.promotion is not None
    assert learned.promotion.undecided
    assert states(tmp_path / "t.db") == ["candidate"]
    assert learned.ended is not None
    assert learned.ended.startswith("the gate was not finished: undecided whether the mean effect over these 9 tasks")
    assert "9 tasks x" in learned.ended, "what would have been enough"
    assert trial(tmp_path / "t.db").outcome is None
    resumed = await run(policy(), tmp_path / "t.db", plan, budget=calls(5_000))
    assert {**resumed.as_json(), "resumed": False} == whole.as_json()


async def test_a_budget_too_small_for_a_pass_spends_no_trial(tmp_path: Path) -> None:
    many = tuple(Task(f"letter {number} about invoice", "billing") for number in range(30))
    plan = replace(PLAN, settings=replace(SMALL, steps=1), validation=many)
    learned = await run(policy(), tmp_path / "t.db", plan, budget=calls(int((PROBE + STEP) / 0.7) + 1))
    with Store(tmp_path / "t.db") as store:
        assert store.trials() == ()
    assert learned.ended == "the gate was not finished: the budget allows no pass of the gate"


async def test_a_probe_that_the_budget_does_not_allow_is_an_error_and_no_failure(tmp_path: Path) -> None:
    with pytest.raises(BudgetEnded, match="1 calls is used up"):
        await run(policy(), tmp_path / "t.db", replace(PLAN, validation=()), budget=calls(1))
    with Store(tmp_path / "t.db") as store:
        assert store.runs()[0].run.status == "out of budget"


class Held(ScriptedModel):
    """Answers nobody before many have asked: so many calls are in flight at once."""

    async def app(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        await super().app(scope, receive, send)


@pytest.mark.parametrize(
    ("ceiling", "most_calls"),
    [(Ceiling(calls=150), 150), (Ceiling(tokens=1_000), None), (Ceiling(usd=0.001), None)],
)
async def test_at_most_the_calls_in_flight_overshoot_and_all_of_them_are_committed(
    tmp_path: Path, ceiling: Ceiling, most_calls: int | None
) -> None:
    settings = replace(SMALL, steps=5, concurrency=32)
    budget = Budget(ceiling, FixedPrice(1, 1))
    model = Held(SimulatedPolicy(WORDS, talkative))
    learned = await run(model, tmp_path / "t.db", replace(PLAN, settings=settings, validation=()), budget=budget)
    assert learned.ended is not None
    sent = [body for body in model.requests]
    with Store(tmp_path / "t.db") as store:
        assert store.spent(learned.run.id).calls == len(sent) == budget.spent.calls
    each = budget.spent.tokens / budget.spent.calls
    longest = 2 * each
    assert most_calls is None or budget.spent.calls == most_calls
    assert ceiling.tokens is None or budget.spent.tokens <= ceiling.tokens + 32 * longest
    assert ceiling.usd is None or budget.spent.usd <= ceiling.usd + 32 * longest / 1e6


async def test_verdicts_on_experiences_of_a_run_that_was_cut_are_for_its_prior_only(tmp_path: Path) -> None:
    """They are given anew when it goes on: in the store such an experience stays on trial."""
    settings = Settings(steps=3, group_size=6, proposals=3, token_prior=False)
    plan = replace(PLAN, settings=settings, validation=())
    script = distilling({ADVICE: 0.45, HARM: -0.35, NOISE: 0.0})
    whole = await run(ScriptedModel(script), tmp_path / "whole.db", plan)
    assert "kept" in whole.fates
    for most in (90, 190):
        path = tmp_path / f"cut after {most}.db"
        first = await run(ScriptedModel(script), path, plan, budget=calls(most))
        assert first.ended is not None
        with Store(path) as store:
            verdicts = {status.decision.verdict for status in store.experiences("default") if status.decision}
        assert "kept" not in verdicts
        resumed = await run(ScriptedModel(script), path, plan, budget=calls(5_000))
        assert (resumed.candidate, resumed.fates, resumed.steps) == (whole.candidate, whole.fates, whole.steps)
        with Store(tmp_path / "whole.db") as one, Store(path) as other:
            assert one.experiences("default") == other.experiences("default")


def test_the_estimate_counts_what_a_prior_adds_to_each_prompt() -> None:
    bare = replace(PLAN, settings=replace(SMALL, race=False, experiences=False))
    raced = replace(PLAN, settings=replace(SMALL, race=True, experiences=False))
    tight = replace(raced, settings=replace(raced.settings, prior_tokens=70))
    silent = replace(raced, settings=replace(raced.settings, demonstrations=False))
    calls_made = cost(raced).rollouts.calls + cost(raced).gating.calls
    all_shown = sum(demonstration_tokens(one, token_estimate) for task in PLAN.tasks if (one := example(task)))
    assert cost(raced).total.tokens - cost(bare).total.tokens == all_shown * calls_made
    assert cost(tight).total.tokens - cost(bare).total.tokens == 70 * calls_made
    assert cost(silent).total == cost(bare).total


def test_the_estimate_counts_the_calls_of_a_reward_that_asks_a_model() -> None:
    plain, judged = cost(PLAN), cost(replace(PLAN, reward=load_reward("0.5*exact + 0.5*judge:2")))
    rollouts = plain.rollouts.calls + plain.gating.calls
    assert judged.total.calls == plain.total.calls + 2 * rollouts
    assert judged.learning == plain.learning + 2 * plain.rollouts.calls
    assert judged.held_back == min(0.3, 3 * plain.gating.calls / judged.total.calls)
    told = next(lines(replace(PLAN, reward=load_reward("judge")), cost(replace(PLAN, reward=load_reward("judge"))), 1))
    assert told.endswith(f"; reward: at most {rollouts:,} (1 call a rollout)")
    assert judged.as_json(PLAN, 1)["calls"]["judging"] == 2 * rollouts
    assert "judging" not in plain.as_json(PLAN, 1)["calls"]


def stubborn(body: ChatBody) -> str | Answer:
    """A SIMULATED policy that is right half of the time, and whose every proposal can be read at the last try alone."""
    said = "\n".join(message_text(message) for message in body["messages"])
    if "response_format" in body:
        return Answer("no response_format here", status=400, param="response_format")
    if "<tasks>" in said:
        return "[]" if "JSON list" in said else "Name in one word what the message is about."
    if "<attempts>" in said or "<proposals>" in said:
        return "[]" if "what? no" in said else "what? no" if "hm? no" in said else "hm? no"
    right = next((label for topic, label in TOPICS.items() if topic in said), "billing")
    return right if body["seed"] % 2 else "The message " + "is long " * 40


def useless(body: ChatBody) -> str | Answer:
    """The same, and nothing of what it proposes is ever of use."""
    told = stubborn(body)
    return "no" if told == "[]" else told


def talking(body: ChatBody) -> str | Answer:
    """A SIMULATED policy with log-probabilities, whose distiller proposes nothing, and that takes no biases."""
    if "logit_bias" in body:
        return Answer("no logit_bias here", status=400, param="logit_bias")
    return SimulatedPolicy(WORDS, talkative)(body)


DISTILLED = Settings(steps=2, group_size=4, token_prior=False)
ASKED: Mapping[str, tuple[Script, Plan]] = {
    "the distiller is of use at last": (stubborn, replace(PLAN, settings=DISTILLED, validation=())),
    "the distiller is of use at last, and a gate": (stubborn, replace(PLAN, settings=DISTILLED)),
    "the distiller is of no use": (useless, replace(PLAN, settings=DISTILLED)),
    "long rollouts are summarised": (
        stubborn,
        replace(PLAN, settings=replace(DISTILLED, summary_chars=100), validation=()),
    ),
    "paper": (stubborn, replace(PLAN, settings=Settings.for_recipe("paper", steps=2, group_size=4))),
    "no distilling": (stubborn, replace(PLAN, settings=replace(DISTILLED, experiences=False))),
    "no race, no gate": (stubborn, replace(PLAN, settings=replace(DISTILLED, race=False), validation=())),
    "a token prior that is refused": (talking, replace(PLAN, settings=replace(SMALL, race=True))),
    "answers are listed": (talking, replace(PLAN, frame=Frame("fake", "Route it.", {"max_tokens": 1}))),
    "amplified": (stubborn, replace(PLAN, settings=replace(DISTILLED, amplify=2), validation=())),
}


@pytest.mark.parametrize("name", ASKED)
async def test_no_run_makes_more_calls_than_it_said_at_most(tmp_path: Path, name: str) -> None:
    script, plan = ASKED[name]
    answered = [0]

    def counting(body: ChatBody) -> str | Answer:
        said = script(body)
        answered[0] += not (isinstance(said, Answer) and said.status != 200)
        return said

    await run(ScriptedModel(counting), tmp_path / "t.db", plan)
    most = cost(plan).most
    assert most is not None
    assert answered[0] <= most
    assert answered[0] > cost(plan).total.calls or name != "the distiller is of use at last"
    assert f"(at most {most:,}, " in list(lines(plan, cost(plan), 1))[1]


def test_how_many_calls_agents_make_nobody_can_tell() -> None:
    told = cost(replace(PLAN, agent=load_agent("tests.own_agents:route", None)))
    assert told.most is None
    assert "most" not in told.as_json(PLAN, 1)["calls"]
