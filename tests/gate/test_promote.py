"""The gate as learning meets it: on evidence alone, pass by pass, and the same after a kill."""

import asyncio
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from shutil import copyfile
from typing import cast

import pytest

from tests.routing import SMALL, TASKS, TOPICS, WORDS, failing_after, talkative, upstream
from tfgrpo.deployment.child import learned_from
from tfgrpo.errors import InputError, ModelError, UpstreamError
from tfgrpo.learning.plan import Plan
from tfgrpo.learning.result import LearningResult
from tfgrpo.learning.run import carry_out
from tfgrpo.model.budget import Budget
from tfgrpo.observer import Silent
from tfgrpo.priors.serving import roll_back, use, went_back
from tfgrpo.records import JSON, ChatBody, Experience, Frame, Prior, Rollout, RunStatus, Task, Usage, message_text
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.rollouts.rewards.reward import Reward
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel, SimulatedPolicy
from tfgrpo.trials import GateTrial, Pass, TrialOutcome

EXACT = load_reward("exact")
VALIDATION = tuple(
    Task(f"letter {number} about {topic}", label) for number, (topic, label) in enumerate(list(TOPICS.items()) * 3)
)
PLAN = Plan(TASKS, EXACT, "exact", Frame("fake", "Route it."), settings=SMALL, validation=VALIDATION)


def settled(prompt: str) -> list[float]:
    """The policy of `talkative` on messages; on letters it says its word whatever the biases are."""
    return [0.0, 0.0, 0.0, 0.0, 500.0] if "letter" in prompt else talkative(prompt)


def contrary(prompt: str) -> list[float]:
    """On letters the policy leans towards `The`, which learning unlearns, and that is right there."""
    return [1.5, 0.0, 0.0, 0.0, 0.0] if "letter" in prompt else talkative(prompt)


def policy(logits: Callable[[str], list[float]] = talkative) -> ScriptedModel:
    return ScriptedModel(SimulatedPolicy(WORDS, logits))


async def run(
    model: ScriptedModel,
    path: Path,
    plan: Plan = PLAN,
    *,
    budget: Budget | None = None,
    fresh: bool = False,
    kind: type[Store] = Store,
) -> LearningResult:
    with kind(path) as store:
        async with upstream(model, store, plan.settings, budget) as calls:
            return await carry_out(plan, store, calls, Silent(), budget=budget, fresh=fresh)


def trial(path: Path, place: int = -1) -> GateTrial:
    with Store(path) as store:
        return store.trials("default")[place]


def outcome(path: Path) -> TrialOutcome:
    found = trial(path).outcome
    assert found is not None
    return found


def states(path: Path) -> list[str]:
    with Store(path) as store:
        return [entry.state for entry in store.lineage("default")]


@pytest.fixture(scope="module")
def uncut(tmp_path_factory: pytest.TempPathFactory) -> tuple[LearningResult, Path]:
    """A run that nothing interrupts, and its store."""
    path = tmp_path_factory.mktemp("uncut") / "t.db"
    return asyncio.run(run(policy(), path)), path


# Verdicts


def test_what_is_better_goes_live_on_evidence_that_is_written_down(uncut: tuple[LearningResult, Path]) -> None:
    learned, path = uncut
    assert learned.changed
    assert learned.promotion is not None
    assert states(path) == ["candidate", "live"]
    tried, found = trial(path), outcome(path)
    assert (tried.candidate, tried.live, tried.number, tried.level) == (learned.prior.id, None, 1, 0.025)
    assert (found.verdict, found.passes) == ("promoted", len(tried.passes))
    assert (
        found.e_value >= 40 > max(one.log_e for one in tried.passes[:-1] or tried.passes[:0])
        if found.passes > 1
        else True
    )
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.estimate <= found.high
    with Store(path) as store:
        snapshot = store.live("default")
        assert snapshot is not None
        assert (snapshot.prior, snapshot.state) == (learned.prior, "live")
        why = store.lineage("default")[-1].why
        assert store.verify() == ()
    assert why == found.reason == learned.promotion.why
    for words in (
        "the mean effect over these 9 tasks, and over tasks like them, is above zero",
        "e-value",
        "passes",
        "estimate +",
        "95% interval",
    ):
        assert words in why
    figures = learned.as_json()
    assert (figures["state"], figures["gate"]["verdict"], figures["ended"]) == ("live", "promoted", None)


@pytest.mark.parametrize("gated", [True, False])
async def test_a_plan_that_does_not_deploy_leaves_what_passed_for_a_canary(tmp_path: Path, gated: bool) -> None:
    plan = replace(PLAN if gated else replace(PLAN, validation=()), deploys=False)
    learned = await run(policy(), tmp_path / "t.db", plan)
    assert learned.promotion is not None
    assert (learned.changed, learned.promotion.state, learned.promotion.passed) == (False, "candidate", True)
    assert states(tmp_path / "t.db") == ["candidate"]
    again = await run(policy(), tmp_path / "t.db", plan)
    assert again.run.id != learned.run.id


@pytest.mark.parametrize(("logits", "fewest"), [(settled, 1), (contrary, 1)])
async def test_what_is_no_better_there_is_rejected_and_the_live_prior_stays(
    tmp_path: Path, logits: Callable[[str], list[float]], fewest: int
) -> None:
    plan = (
        PLAN if logits is settled else replace(PLAN, validation=tuple(replace(one, answer="The") for one in VALIDATION))
    )
    learned = await run(policy(logits), tmp_path / "t.db", plan)
    assert not learned.changed
    assert learned.candidate is not None
    assert learned.prior == Prior()
    assert states(tmp_path / "t.db") == ["candidate", "rejected"]
    found = outcome(tmp_path / "t.db")
    assert found.verdict == "rejected"
    assert fewest <= found.passes < 32
    assert "in 80% of runs" in found.reason, "what would have been enough"
    with Store(tmp_path / "t.db") as store:
        assert store.live("default") is None
        assert store.lineage("default")[-1].why == found.reason
        assert store.runs()[0].run.status == "finished"


RIDDLES = tuple(Task(f"riddle {number}", "The") for number in range(4))
"""Training tasks that the frozen model mostly gets right, and the candidate hardly any more."""


def with_riddles(prompt: str) -> list[float]:
    """The policy of `talkative` on messages and letters; riddles it mostly answers with `The`, as little else."""
    return [3.0, 1.0, 1.0, 1.0, 0.0] if "riddle" in prompt else talkative(prompt)


async def test_training_tasks_that_look_lost_are_tried_again_and_a_resumed_run_asks_for_none_twice(
    tmp_path: Path,
) -> None:
    plan = replace(PLAN, tasks=(*TASKS, *RIDDLES), settings=replace(SMALL, group_size=6))
    whole = policy(with_riddles)
    learned = await run(whole, tmp_path / "a.db", plan)
    told = learned.as_json()["gate"]["training"]
    assert (told["tasks"], told["shown"], len(told["tried"])) == (16, True, 1)
    assert told == outcome(tmp_path / "a.db").training
    assert told["tried"][0]["candidate"] < 0.5 < told["tried"][0]["live"]
    assert "1 of 16 training tasks looked lost in learning; tried again, 1 of them were" in learned.why
    calls = len(whole.requests)
    model, asked = SimulatedPolicy(WORDS, with_riddles), list[ChatBody]()

    def dying(body: ChatBody) -> Answer:
        asked.append(body)
        return model(body) if len(asked) <= calls - 4 else Answer("no", status=401)

    with pytest.raises(UpstreamError):
        await run(ScriptedModel(dying), tmp_path / "b.db", plan)
    rest = policy(with_riddles)
    assert (await run(rest, tmp_path / "b.db", plan)).why == learned.why
    assert len(rest.requests) == 1 + 4, "the first one to see whether the upstream is still what it was"


async def test_a_second_candidate_is_tested_against_the_live_prior_at_half_the_level(tmp_path: Path) -> None:
    first = await run(policy(), tmp_path / "t.db", replace(PLAN, settings=replace(SMALL, bias_cap=1.0)))
    second = await run(policy(), tmp_path / "t.db", replace(PLAN, settings=replace(SMALL, steps=4)))
    tried = trial(tmp_path / "t.db")
    assert (tried.live, tried.number, tried.level) == (first.prior.id, 2, 0.0125)
    assert second.candidate is not None
    assert tried.candidate == second.candidate.id


async def test_without_validation_tasks_the_prior_goes_live_ungated(tmp_path: Path) -> None:
    learned = await run(policy(), tmp_path / "t.db", replace(PLAN, validation=()))
    assert learned.promotion is not None
    assert (learned.promotion.state, learned.promotion.trial) == ("ungated", None)
    assert states(tmp_path / "t.db") == ["ungated"]


@pytest.mark.parametrize("gated", [True, False])
async def test_what_a_person_has_rolled_back_stays_so_when_it_is_learned_anew(
    tmp_path: Path, uncut: tuple[LearningResult, Path], gated: bool
) -> None:
    path, plan = tmp_path / "t.db", replace(PLAN, validation=VALIDATION if gated else ())
    if gated:
        copyfile(uncut[1], path)
    first = (uncut[0] if gated else await run(policy(), path, plan)).prior
    with Store(path) as store:
        roll_back(store, "default", by="A. Person", why="it is rude")
    for again in (await run(policy(), path, plan, fresh=True), await run(policy(), path, plan, fresh=True)):
        assert again.promotion is not None
        assert (again.candidate, again.changed, again.promotion.state) == (first, False, "rejected")
        assert "A. Person has rolled it back on" in again.promotion.why
        assert f"(it is rude), which stands; to serve it all the same: tfgrpo prior use {first.id}" in again.why
        assert learned_from(again.as_json()).said.startswith("a person has rolled")
    with Store(path) as store:
        assert len(store.trials()) == gated, "and nothing is spent on it"
        use(store, "default", first.id, by="A. Person", why="it was not")
        went_back(store, "default", by="autopilot", why="it hurts")
    assert (await run(policy(), path, plan, fresh=True)).changed, "what no person has turned down is tried again"


async def test_what_is_live_already_is_not_tested_again(tmp_path: Path) -> None:
    learned = await run(policy(), tmp_path / "a.db", replace(PLAN, validation=()))

    class WithIt(Store):
        """Somebody makes the same prior live while the run learns it."""

        def add_prior(self, prior: Prior) -> None:
            super().add_prior(prior)
            if prior.id == learned.prior.id:
                self.set_state("default", prior.id, "live", frame=PLAN.frame, by="A. Person")

    again = await run(policy(), tmp_path / "b.db", kind=WithIt)
    assert again.candidate == learned.prior
    assert again.promotion is None
    assert states(tmp_path / "b.db") == ["live"]
    with Store(tmp_path / "b.db") as store:
        assert store.trials() == ()


async def test_a_prior_that_was_tested_against_another_does_not_push_it_out(tmp_path: Path) -> None:
    other = Prior((Experience("When in doubt, ask."),))

    class Overtaken(Store):
        """Somebody makes another prior live during the gate."""

        def end_trial(self, trial: GateTrial, outcome: TrialOutcome) -> None:
            super().end_trial(trial, outcome)
            self.add_prior(other)
            self.set_state("default", other.id, "live", frame=PLAN.frame, by="A. Person")

    learned = await run(policy(), tmp_path / "t.db", kind=Overtaken)
    assert learned.promotion is not None
    assert learned.promotion.state == "candidate"
    assert learned.prior == other
    assert states(tmp_path / "t.db") == ["candidate", "live"]
    assert f"{other.id} has gone live meanwhile" in learned.promotion.why
    assert learned.promotion.trial is not None
    assert f"tfgrpo prior use {learned.promotion.trial.candidate}" in learned.promotion.why


# What the gate reads and sends


def about_letters(model: ScriptedModel) -> list[ChatBody]:
    """The requests that quote a validation task."""
    return [body for body in model.requests if re.search(r"letter \d", str(body["messages"]))]


async def test_nothing_but_the_gate_reads_the_validation_tasks(tmp_path: Path) -> None:
    model = policy()
    learned = await run(model, tmp_path / "t.db", replace(PLAN, settings=replace(SMALL, experiences=True)))
    letters = about_letters(model)
    with Store(tmp_path / "t.db") as store:
        stages = store.spent_by_stage(learned.run.id)
        assert {group.task.id for group in store.groups(learned.run.id)} == {task.id for task in TASKS}
    gated = sum(usage.calls for stage, usage in stages.items() if stage.startswith("gate"))
    assert len(letters) == gated == 2 * len(VALIDATION) * outcome(tmp_path / "t.db").passes


async def test_samples_are_fresh_in_every_pass_arm_and_trial_under_the_frame_of_learning(tmp_path: Path) -> None:
    model = policy(settled)
    frame = Frame("fake", "Route it.", {"max_tokens": 3}, temperature=0.9, top_p=0.8)
    for steps in (1, 2):
        await run(model, tmp_path / "t.db", replace(PLAN, frame=frame, settings=replace(SMALL, steps=steps)))
    letters = about_letters(model)
    assert len({body["seed"] for body in letters}) == len(letters)
    assert {(body["temperature"], body["top_p"], body["max_tokens"]) for body in letters} == {(0.9, 0.8, 3)}
    assert {message_text(body["messages"][0]) for body in letters} == {"Route it."}
    assert {"logprobs" in body for body in letters} == {False}
    assert [one.number for one in (trial(tmp_path / "t.db", 0), trial(tmp_path / "t.db"))] == [1, 2]


async def test_validation_tasks_that_were_learned_from_are_refused_before_anything_is_spent(tmp_path: Path) -> None:
    await run(policy(), tmp_path / "t.db", replace(PLAN, validation=()))
    model = policy()
    with pytest.raises(
        InputError, match=r"3 of 12 validation tasks were learned from in namespace default .*--gate none"
    ):
        await run(model, tmp_path / "t.db", replace(PLAN, tasks=VALIDATION, validation=(*TASKS[:3], *VALIDATION)))
    assert model.requests == []


async def test_what_another_namespace_has_learned_from_is_told(tmp_path: Path) -> None:
    await run(policy(), tmp_path / "t.db", replace(PLAN, tasks=VALIDATION, validation=(), namespace="other"))
    learned = await run(policy(), tmp_path / "t.db")
    told = "9 of 9 validation tasks were learned from in namespace other: a prior of its cannot be judged by them here"
    assert told in learned.notes


async def test_the_gate_speaks_of_productions_temperature_and_so_does_what_goes_live(tmp_path: Path) -> None:
    """At 0 the policy says one word to all letters; with the biases learned at 0.7 it says the right ones."""
    model = policy(lambda prompt: [1.2 * one for one in talkative(prompt)])
    plan = replace(PLAN, settings=replace(SMALL, steps=4, production_temperature=0.0))
    learned = await run(model, tmp_path / "t.db", plan)
    assert {body["temperature"] for body in about_letters(model)} == {0.0}
    assert {body["temperature"] for body in model.requests if "message" in str(body["messages"])} == {0.7}
    tried = trial(tmp_path / "t.db")
    assert (tried.most_passes, len(tried.passes)) == (1, 1)
    assert learned.promotion is not None
    assert "one look at each task" in learned.promotion.why
    with Store(tmp_path / "t.db") as store:
        assert store.lineage("default")[-1].frame.temperature == 0.0


# Interrupted


def cut_in_the_gate(whole: LearningResult, path: Path, share: float) -> int:
    """So many calls that a run is cut in the gate, after that share of it."""
    with Store(path) as store:
        stages = store.spent_by_stage(whole.run.id)
    gated = sum(usage.calls for stage, usage in stages.items() if stage.startswith("gate"))
    return whole.usage.calls - gated + int(share * gated)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
async def test_a_run_that_failed_in_the_gate_goes_on_in_the_same_pass(
    tmp_path: Path, uncut: tuple[LearningResult, Path], share: float
) -> None:
    whole, path = uncut
    calls = cut_in_the_gate(whole, path, share)
    with pytest.raises(UpstreamError, match="401"):
        await run(failing_after(calls, Answer("no", status=401)), tmp_path / "cut.db")
    model = policy()
    resumed = await run(model, tmp_path / "cut.db")
    assert {**resumed.as_json(), "resumed": False} == whole.as_json()
    assert len(model.requests) == whole.usage.calls - calls + 1, "and one to see that the upstream is the same"
    one, other = trial(path), trial(tmp_path / "cut.db")
    assert replace(one, at="") == replace(other, at="")


class Renamed(SimulatedPolicy):
    """The same policy, of a server whose answers name another model."""

    def __call__(self, body: ChatBody) -> Answer:
        cast(dict[str, JSON], body)["model"] = "fake-2"
        return super().__call__(body)


CHANGED: tuple[tuple[ScriptedModel, str], ...] = (
    (
        policy(lambda prompt: [logit + place for place, logit in enumerate(talkative(prompt))]),
        "it answers the same question with other probabilities",
    ),
    (ScriptedModel(Renamed(WORDS, talkative)), "fake-2 answers, and fake did"),
    (replace(policy(), owner="vllm"), "it is served by other software (vllm, and was other)"),
)


async def test_a_gate_that_goes_on_at_another_upstream_promotes_nothing_and_says_why(
    tmp_path: Path, uncut: tuple[LearningResult, Path]
) -> None:
    with pytest.raises(UpstreamError, match="401"):
        await run(failing_after(cut_in_the_gate(*uncut, 0.9), Answer("no", status=401)), tmp_path / "cut.db")
    made = len(trial(tmp_path / "cut.db").passes)
    assert made > 1
    for number, (now, how) in enumerate(CHANGED):
        path = tmp_path / f"{number}.db"
        copyfile(tmp_path / "cut.db", path)
        resumed = await run(now, path)
        assert resumed.promotion is not None
        assert (resumed.promotion.state, len(trial(path).passes)) == ("rejected", made)
        assert f"the upstream has changed since this run began: {how}" in resumed.promotion.why
        assert len(now.requests) <= 1, "not one of the gate"
    path = tmp_path / f"{len(CHANGED) - 1}.db"
    anew = await run(policy(), path, replace(PLAN, settings=replace(SMALL, steps=1)))
    assert (anew.resumed, trial(path).number) == (False, 2)


class Killed(BaseException):
    """As by kill -9."""


def dying(after: str) -> type[Store]:
    """A store whose process dies once that was written."""

    class Dying(Store):
        def begin_trial(self, wanted: GateTrial) -> GateTrial:
            begun = super().begin_trial(wanted)
            if after == "begin":
                raise Killed
            return begun

        def add_pass(self, trial: GateTrial, made: Pass) -> None:
            super().add_pass(trial, made)
            if after == "pass":
                raise Killed

        def end_trial(self, trial: GateTrial, outcome: TrialOutcome) -> None:
            super().end_trial(trial, outcome)
            if after == "outcome":
                raise Killed

        def end(self, run_id: str, status: RunStatus, usage: Usage, result: Mapping[str, object]) -> None:
            if after == "live" and status == "finished":
                raise Killed
            super().end(run_id, status, usage, result)

    return Dying


@pytest.mark.parametrize("after", ["begin", "pass", "outcome", "live"])
async def test_a_run_killed_between_two_writes_ends_as_if_it_had_not_been(
    tmp_path: Path, uncut: tuple[LearningResult, Path], after: str
) -> None:
    whole, path = uncut
    with pytest.raises(Killed):
        await run(policy(), tmp_path / "cut.db", kind=dying(after))
    resumed = await run(policy(), tmp_path / "cut.db")
    assert {**resumed.as_json(), "resumed": False} == whole.as_json()
    assert states(tmp_path / "cut.db") == states(path)
    with Store(tmp_path / "cut.db") as store:
        assert len(store.trials()) == 1


# Rewards


async def score_letters(path: Path, reward: Reward, settings: Settings = SMALL) -> LearningResult:
    return await run(policy(), path, replace(PLAN, reward=reward, reward_name="tests:reward", settings=settings))


async def test_a_task_that_the_reward_fails_on_is_a_zero_for_both_arms_and_told(tmp_path: Path) -> None:
    def picky(rollout: Rollout) -> float:
        if rollout.task == VALIDATION[0]:
            raise ValueError("cannot read it")
        return EXACT(rollout)  # pyrefly: ignore[bad-return]  # not async

    learned = await score_letters(tmp_path / "t.db", picky)
    found, tried = outcome(tmp_path / "t.db"), trial(tmp_path / "t.db")
    assert (found.lost, found.failed) == (0, (found.passes, found.passes))
    assert {one.rewards[VALIDATION[0].id] for one in tried.passes} == {(0.0, 0.0)}
    assert learned.promotion is not None
    failed = f"{found.passes} of the candidate's, {found.passes} of the live prior's"
    assert f"failed by themselves, a reward of 0: {failed}" in learned.promotion.why


async def test_a_reward_that_fails_on_every_task_ends_the_run_and_says_why(tmp_path: Path) -> None:
    def broken(rollout: Rollout) -> float:
        if rollout.task in VALIDATION:
            raise ValueError("cannot read it")
        return EXACT(rollout)  # pyrefly: ignore[bad-return]  # not async

    with pytest.raises(ModelError, match=r"no task could be compared in pass 1 of the gate; .*cannot read it"):
        await score_letters(tmp_path / "t.db", broken)


async def test_a_reward_out_of_range_loses_the_task_unless_it_is_clipped(tmp_path: Path) -> None:
    values = dict(zip((task.id for task in VALIDATION), (1.5, -1.0, math.nan), strict=False))

    def wild(rollout: Rollout) -> float:
        return values.get(rollout.task.id, EXACT(rollout))  # pyrefly: ignore[bad-return]  # not async

    async def seen(path: Path, settings: Settings) -> list[set[tuple[float | None, ...]]]:
        await score_letters(path, wild, settings)
        return [{one.rewards[task] for one in trial(path).passes} for task in values]

    lost, clipped = {(None, None)}, await seen(tmp_path / "c.db", replace(SMALL, clip_rewards=True))
    assert await seen(tmp_path / "t.db", SMALL) == [lost, lost, lost]
    assert clipped == [{(1.0, 1.0)}, {(0.0, 0.0)}, lost], "what is no number cannot be clipped"
