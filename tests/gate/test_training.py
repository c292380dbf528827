"""Training tasks that look lost are tried again before a candidate goes live, and count beside the validation tasks."""

from collections.abc import Callable
from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest

from tests.gate.test_trial import CANDIDATE, EXACT, HONOURED, model
from tfgrpo.errors import BudgetEnded, ModelError, UpstreamError
from tfgrpo.gate.bets import skewed_t, weighed
from tfgrpo.gate.e_process import Gate, GateState
from tfgrpo.gate.promote import Promotion, promote
from tfgrpo.gate.training import MOST_TRIED, Tried, claim_together, look_lost
from tfgrpo.gate.trial import Candidacy
from tfgrpo.observer import Silent
from tfgrpo.records import CallKey, ChatBody, Frame, Group, Reply, Rollout, Run, Task
from tfgrpo.rollouts.executor import ChatExecutor, Executor
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel
from tfgrpo.trials import Claim

VALIDATION = tuple(Task(f"letter {number}", f"answer {number}") for number in range(12))
TRAINING = tuple(Task(f"lesson {number}", f"answer {number}") for number in range(20))
LOST = TRAINING[:6]


def says(prompt: str, candidate: bool, luck: float) -> str:
    """The candidate is right in 70% for the live prior's 35%, and never on the lost tasks, where that is always so."""
    if prompt in {task.prompt for task in LOST}:
        return "no idea" if candidate else f"answer {prompt.rsplit(maxsplit=1)[-1]}"
    return f"answer {prompt.rsplit(maxsplit=1)[-1]}" if luck < (0.7 if candidate else 0.35) else f"maybe {luck:.6f}"


async def judged(
    path: Path,
    upstream: ScriptedModel,
    lost: Callable[[], tuple[Task, ...]] | None,
    *,
    claim: Claim = "tasks-like-these",
    allow_collapse: bool = False,
) -> Promotion:
    frame = Frame("fake")
    run = Run("learn", "default", frame, {}, tuple(task.id for task in TRAINING), "exact")

    def make(stage: str, seed: int, top_logprobs: int) -> Executor:
        return ChatExecutor(upstream, frame, HONOURED, run=run.id, stage=stage, seed=seed, top_logprobs=top_logprobs)

    with Store(path) as store:
        store.add_tasks((*VALIDATION, *TRAINING))
        store.begin(run)
        wanted = Candidacy(run, CANDIDATE, VALIDATION, EXACT, frame, 0.05, 24, 0, False, claim, allow_collapse)
        found = await promote(replace(wanted, look_lost=lost), store, make, Silent())
        assert store.verify() == ()
        assert found is not None
        assert found.trial is not None
        assert store.trials()[0].outcome == found.trial.outcome
    return found


async def test_what_has_lost_training_tasks_goes_live_only_where_that_is_allowed(tmp_path: Path) -> None:
    """+35 points on the validation tasks; of 20 training tasks 6 are lost, which leaves +0.1 of all of them."""
    alone = await judged(tmp_path / "a.db", model(says), None)
    assert alone.state == "live"
    upstream = model(says)
    refused = await judged(tmp_path / "b.db", upstream, lambda: LOST)
    assert refused.state == "rejected"
    assert "not promoted: 6 of 20 training tasks that the live prior gets right are lost ('lesson 0' 0% for 100%," in (
        refused.why
    )
    assert "--allow-collapse lets it go live" in refused.why
    assert "6 of 20 training tasks looked lost in learning; tried again, 6 of them were" in refused.why
    again = [body for body in upstream.requests if "lesson" in str(body["messages"])]
    assert len(again) == 6 * 2 * 4, "once, however many passes follow"
    told = refused.as_json()["training"]
    assert (told["tasks"], told["shown"], len(told["tried"])) == (20, False, 6)
    assert told["tried"][0] == {"task": LOST[0].id, "candidate": 0.0, "live": 1.0}
    allowed = await judged(tmp_path / "c.db", model(says), lambda: LOST, allow_collapse=True)
    assert allowed.state == "live"
    just_these = await judged(tmp_path / "d.db", model(says), lambda: LOST, claim="these-tasks")
    assert just_these.state == "live"


async def test_what_only_looked_lost_goes_live_as_soon(tmp_path: Path) -> None:
    alone = await judged(tmp_path / "a.db", model(says), None)
    found = await judged(tmp_path / "b.db", model(says), lambda: TRAINING[-4:])
    assert found.state == "live"
    assert found.trial is not None
    assert alone.trial is not None
    assert found.trial.passes == alone.trial.passes
    assert "4 of 20 training tasks looked lost in learning; tried again, 0 of them were" in found.why
    nothing = await judged(tmp_path / "c.db", model(says), lambda: ())
    assert (nothing.state, "training" in nothing.as_json()) == ("live", False)


async def test_a_budget_that_ends_while_tasks_are_tried_again_leaves_it_undecided(tmp_path: Path) -> None:
    class Ending(ScriptedModel):
        """A Model under a budget that allows no training task."""

        async def __call__(self, body: ChatBody, key: CallKey) -> Reply:
            if "lesson" in str(body["messages"]):
                raise BudgetEnded("the budget is spent")
            return await super().__call__(body, key)

    found = await judged(tmp_path / "t.db", Ending(model(says).script), lambda: LOST)
    assert (found.state, found.undecided) == ("candidate", True)
    assert found.why.startswith(
        "undecided: training tasks that look lost could not be tried again; the budget is spent"
    )


async def test_an_outage_while_tasks_are_tried_again_makes_nothing_live(tmp_path: Path) -> None:
    sound = model(says)

    def down(body: ChatBody) -> Answer:
        if "lesson" in str(body["messages"]):
            raise ModelError("upstream answered 503: no")
        return sound.answer(body)

    with pytest.raises(ModelError, match="no training task that looks lost could be tried again; the first error: "):
        await judged(tmp_path / "t.db", ScriptedModel(down), lambda: LOST)
    with Store(tmp_path / "t.db") as store:
        assert (store.live("default"), store.trials()[0].outcome) == (None, None)
    assert (await judged(tmp_path / "t.db", sound, lambda: LOST)).state == "rejected"


async def test_a_trial_that_is_resumed_tells_what_was_tried_again_before(tmp_path: Path) -> None:
    """After that the candidate is never right again, so that nothing is left to promote when the trial ends."""

    def turning(calls: float) -> ScriptedModel:
        seen, sound = [0, 0], model(says)

        def script(body: ChatBody) -> str | Answer:
            lesson = "lesson" in str(body["messages"])
            seen[0], seen[1] = seen[0] + 1, seen[1] + lesson
            if seen[0] > calls:
                raise UpstreamError("no call can succeed")
            return "no idea" if seen[1] and not lesson and "terse" in str(body["messages"]) else sound.answer(body)

        return ScriptedModel(script)

    upstream = turning(inf)
    whole = await judged(tmp_path / "a.db", upstream, lambda: LOST)
    tried = [number for number, body in enumerate(upstream.requests) if "lesson" in str(body["messages"])]
    assert whole.state == "rejected"
    assert "the passes left could hardly show" in whole.why
    assert "6 of 20 training tasks looked lost in learning; tried again, 6 of them were" in whole.why
    with pytest.raises(UpstreamError):
        await judged(tmp_path / "b.db", turning(tried[-1] + 1 + 2 * 24 + 5), lambda: LOST)
    wrong = model(lambda prompt, candidate, luck: says(prompt, candidate, 1.0 if candidate else luck))
    resumed = await judged(tmp_path / "b.db", wrong, lambda: LOST)
    assert (resumed.why, resumed.as_json()["training"]) == (whole.why, whole.as_json()["training"])


def rollout(task: Task, variant: str, reward: float | None, step: int = 0) -> Rollout:
    return Rollout(task, step, 0, "", variant=variant, reward=reward)


def test_tasks_look_lost_by_the_first_rollouts_of_the_live_and_the_last_of_the_candidate() -> None:
    one, other, third, fourth = TRAINING[:4]
    groups = [
        Group(one, 0, (rollout(one, "live", 1.0), rollout(one, "live", 0.0), rollout(one, "new", 1.0))),
        Group(other, 0, (rollout(other, "live", 1.0), rollout(other, "new", 0.0))),
        Group(third, 0, (rollout(third, "live", 1.0), rollout(third, "new", None))),
        Group(fourth, 0, (rollout(fourth, "new", 0.0),)),
        Group(one, 1, (rollout(one, "new", 0.0, 1), rollout(one, "live", 1.0, 1))),
        Group(other, 1, (rollout(other, "new", 1.0, 1), rollout(other, "new", 0.0, 1), rollout(other, "new", 1.0, 1))),
    ]
    assert look_lost(groups, "new", {"live"}) == (one,)
    assert look_lost(groups[:4], "new", {"live"}) == (other,)
    many = [Group(task, 0, (rollout(task, "live", 1.0), rollout(task, "new", 0.0))) for task in TRAINING]
    assert len(look_lost(many, "new", {"live"})) == MOST_TRIED


def test_tasks_tried_again_stand_for_themselves_and_validation_tasks_for_the_rest() -> None:
    gate, gains = Gate(5, 24), (0.2, 0.3, 0.25, 0.2, 0.3)
    state = GateState(tuple(4 * gain for gain in gains), (4,) * 5, 5.0, 4)
    found = claim_together(gate, state, [Tried(TRAINING[0], 0.0, 1.0)], 16)
    assert found.estimate == pytest.approx((20 * 0.25 - 1) / 21)
    assert found.objection is not None
    assert claim_together(gate, state, [Tried(TRAINING[0], 0.5, 0.25)], 16).objection is None


def test_what_weighs_alike_has_the_error_and_the_skewness_of_a_plain_mean() -> None:
    values = np.array([0.1, 0.2, -0.5, 0.3])
    mean, error, skewness = weighed(values, np.full(4, 3.0))
    assert mean == pytest.approx(values.mean())
    assert error == pytest.approx(values.std(ddof=1) / 2)
    assert skewness == pytest.approx(((values - mean) ** 3).mean() / values.std() ** 3 / 2)
    assert skewed_t(values, np.full(4, 3.0)) == pytest.approx(skewed_t(values))
