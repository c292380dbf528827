"""A trial against upstreams with one fault each: what only looks better does not go live, and it is said why."""

from collections.abc import Callable
from pathlib import Path

from tfgrpo.errors import ModelError
from tfgrpo.gate.promote import Promotion, promote
from tfgrpo.gate.trial import Candidacy
from tfgrpo.hashing import derive_seed
from tfgrpo.model.pace import is_asked_once
from tfgrpo.observer import Silent
from tfgrpo.records import (
    Backend,
    CallKey,
    ChatBody,
    Experience,
    Frame,
    Prior,
    Reply,
    Rollout,
    Run,
    Task,
    TokenBias,
    message_text,
)
from tfgrpo.rollouts.executor import ChatExecutor, Executor
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.rollouts.rewards.reward import Reward, asking
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel, SimulatedPolicy
from tfgrpo.trials import Claim

EXACT = load_reward("exact")
TASKS = tuple(Task(f"letter {number}", ("yes", "no")[number % 2]) for number in range(12))
RIGHT = {task.prompt: str(task.answer) for task in TASKS}
CANDIDATE = Prior((Experience("When asked, be terse."),))
FRAME, HONOURED = Frame("fake"), Backend(logit_bias="honoured", logprobs=True, token_ids=True)
Says = Callable[[str, bool, float], "str | Answer"]
"""From the prompt, whether the candidate is in it, and luck in [0, 1) to an answer."""


def model(says: Says, *, seeded: bool = True) -> ScriptedModel:
    def script(body: ChatBody) -> str | Answer:
        prompt = message_text(body["messages"][-1])
        candidate = "terse" in str(body["messages"])
        luck = derive_seed(prompt, candidate, body["seed"] if seeded else 0) / 2**31
        return says(prompt, candidate, luck)

    return ScriptedModel(script)


async def judged(
    path: Path,
    upstream: ScriptedModel,
    *,
    tasks: tuple[Task, ...] = TASKS,
    candidate: Prior = CANDIDATE,
    reward: Reward = EXACT,
    frame: Frame = FRAME,
    passes: int = 16,
    claim: Claim = "tasks-like-these",
    allow_collapse: bool = False,
    backend: Backend | None = None,
    seed: int = 0,
) -> Promotion:
    """What becomes of a candidate against the frozen model; a run of another seed is another run."""
    run = Run("learn", "default", frame, {"seed": seed} if seed else {}, (tasks[0].id,), "exact")

    def make(stage: str, seed: int, top_logprobs: int) -> Executor:
        return ChatExecutor(upstream, frame, HONOURED, run=run.id, stage=stage, seed=seed, top_logprobs=top_logprobs)

    with Store(path) as store:
        store.add_tasks(tasks)
        store.begin(run)
        wanted = Candidacy(run, candidate, tasks, reward, frame, 0.05, passes, 0, False, claim, allow_collapse, backend)
        found = await promote(wanted, store, make, Silent())
        assert store.verify() == ()
    assert found is not None
    return found


def guessing(prompt: str, candidate: bool, luck: float) -> str:
    """Right six times in ten, whatever the prior."""
    return RIGHT[prompt] if luck < 0.6 else "maybe"


async def test_a_candidate_whose_wrong_answers_fail_is_not_better_for_it(tmp_path: Path) -> None:
    """20 points worse, and every wrong answer of its is a refusal: left out, it would be right always."""

    def says(prompt: str, candidate: bool, luck: float) -> str | Answer:
        if candidate and luck >= 0.4:
            return Answer("too long", status=422)
        return RIGHT[prompt] if luck < 0.6 else "maybe"

    def failing(body: ChatBody) -> str | Answer:
        return says(message_text(body["messages"][-1]), "terse" in str(body["messages"]), body["seed"] / 2**31)

    class Refusing(ScriptedModel):
        """A Model that raises as an Upstream does."""

        async def __call__(self, body: ChatBody, key: CallKey) -> Reply:
            answer = failing(body)
            if isinstance(answer, Answer):
                raise ModelError(f"fake answered {answer.status}: {answer.text}", answer.status)
            return await super().__call__(body, key)

    found = await judged(tmp_path / "t.db", Refusing(failing))
    assert found.state == "rejected"
    assert found.trial is not None
    assert found.trial.outcome is not None
    failed = found.trial.outcome.failed
    assert failed[0] > 0 == failed[1]
    assert f"failed by themselves, a reward of 0: {failed[0]} of the candidate's, 0 of the live prior's" in found.why


async def test_an_upstream_that_answers_alike_whatever_the_seed_is_looked_at_once(tmp_path: Path) -> None:
    found = await judged(tmp_path / "t.db", model(guessing, seeded=False), claim="these-tasks")
    assert found.state == "rejected"
    assert found.trial is not None
    assert len(found.trial.passes) == 2
    assert "the upstream repeats its answers: each task counts once" in found.why


async def test_an_upstream_that_repeats_itself_now_and_then_is_told_of(tmp_path: Path) -> None:
    def says(prompt: str, candidate: bool, luck: float) -> str:
        return guessing(prompt, candidate, derive_seed(prompt) / 2**31 if luck < 0.9 else luck)

    found = await judged(tmp_path / "t.db", model(says))
    assert found.state == "rejected"
    assert "answers were those of the first pass" in found.why


async def test_at_temperature_0_each_task_is_looked_at_once(tmp_path: Path) -> None:
    upstream = model(lambda prompt, candidate, luck: RIGHT[prompt] if candidate else "maybe", seeded=False)
    found = await judged(tmp_path / "t.db", upstream, frame=Frame("fake", temperature=0.0))
    assert found.state == "live"
    assert found.trial is not None
    assert (len(found.trial.passes), found.trial.most_passes) == (1, 1)
    assert "one look at each task, chance of that by luck 0.00024, 0.025 allowed" in found.why
    assert {body["temperature"] for body in upstream.requests} == {0.0}


def collapsed(prompt: str, candidate: bool, luck: float) -> str:
    """The candidate always says yes, which is right half of the time; the live prior is right one time in five."""
    return "yes" if candidate else RIGHT[prompt] if luck < 0.2 else f"maybe {luck:.6f}"


async def test_what_only_says_one_label_goes_live_only_where_that_is_allowed(tmp_path: Path) -> None:
    """+30 points on average, and no better than the best constant answer."""
    refused = await judged(tmp_path / "a.db", model(collapsed), claim="these-tasks")
    assert refused.state == "rejected"
    assert "not promoted: it is not above the best constant answer (always 'no' would score 50" in refused.why
    assert "--allow-collapse lets it go live" in refused.why
    assert "recall in percent, live prior's in brackets: no 0 (" in refused.why
    assert refused.trial is not None
    assert refused.trial.outcome is not None
    said = refused.trial.outcome.labels["said"]
    assert said["no"]["yes"][0] == 6 * len(refused.trial.passes), "the confusion: never no"
    allowed = await judged(tmp_path / "b.db", model(collapsed), claim="these-tasks", allow_collapse=True)
    assert allowed.state == "live"


async def test_what_has_lost_a_label_goes_live_only_where_that_is_allowed(tmp_path: Path) -> None:
    """Ten of twelve tasks want yes: always right on those, which the live prior rarely is, and never on the others."""
    tasks = tuple(Task(f"letter {number}", "no" if number < 2 else "yes") for number in range(12))
    right = {task.prompt: task.answer for task in tasks}

    def says(prompt: str, candidate: bool, luck: float) -> str:
        if not candidate:
            return right[prompt] if luck < 0.3 else "maybe"
        return "yes" if right[prompt] == "yes" else "maybe"

    def generous(rollout: Rollout) -> float:
        return float(rollout.text == rollout.task.answer) if rollout.text != "maybe" else 0.0

    only_yes = [task for task in tasks if task.answer == "yes"]
    assert len(only_yes) == 10
    found = await judged(tmp_path / "t.db", model(says), tasks=tasks, reward=generous)
    assert found.state == "rejected"
    assert "no" in found.why
    assert "--allow-collapse" in found.why


async def test_what_has_lost_a_label_has_lost_it_when_it_is_tried_again(tmp_path: Path) -> None:
    """The second time the live prior, rarely right on the label, is never right on it: that it can be was seen."""
    tasks = tuple(Task(f"letter {number}", "no" if number < 4 else ("yes", "late")[number % 2]) for number in range(16))
    right = {task.prompt: task.answer for task in tasks}

    def says(chance: float) -> Says:
        def answer(prompt: str, candidate: bool, luck: float) -> str:
            lost = right[prompt] == "no"
            if candidate:
                return "maybe" if lost else right[prompt]
            return right[prompt] if luck < (chance if lost else 0.1) else f"maybe {luck:.6f}"

        return answer

    first = await judged(tmp_path / "t.db", model(says(0.1)), tasks=tasks)
    again = await judged(tmp_path / "t.db", model(says(0.0)), tasks=tasks, seed=1)
    assert [first.state, again.state] == ["rejected", "rejected"]
    assert "never right on 'no'" in first.why and "never right on 'no'" in again.why
    assert (await judged(tmp_path / "u.db", model(says(0.0)), tasks=tasks)).state == "live"


async def test_a_candidate_that_is_what_is_live_in_all_but_name_is_not_promoted(tmp_path: Path) -> None:
    assert (await judged(tmp_path / "t.db", model(guessing))).state == "rejected"


async def test_a_reward_that_is_never_0_or_1_promotes_nothing_by_itself(tmp_path: Path) -> None:
    def lukewarm(rollout: Rollout) -> float:
        return 0.5 + 0.01 * (rollout.text == "maybe")

    assert (await judged(tmp_path / "t.db", model(guessing), reward=lukewarm)).state == "rejected"


async def test_a_judge_of_the_gates_rollouts_is_asked_once(tmp_path: Path) -> None:
    """Where a call is made twice the sooner verdict counts, so the verdict of the gate would be on another judge."""
    once = list[bool]()

    def verdict(_: ChatBody) -> str:
        once.append(is_asked_once())
        return '{"why": "so so", "score": 5}'

    judge = asking(load_reward("judge:2"), ScriptedModel(verdict), "small", "run")
    assert (await judged(tmp_path / "t.db", model(guessing), reward=judge)).state == "rejected"
    assert all(once)
    assert len(once) >= 2 * len(TASKS)


async def test_answers_that_are_all_alike_promote_nothing(tmp_path: Path) -> None:
    assert (await judged(tmp_path / "t.db", model(lambda *_: "maybe"))).state == "rejected"


# Likelihood ratios

BIASED = Prior(
    biases=(TokenBias(0, b"yes", -0.3, 3.0, 9), TokenBias(1, b"no", 0.4, 3.0, 9), TokenBias(2, b"maybe", -0.8, 3.0, 9)),
    tokenizer="t",
)


def sampled(finish: str = "length", lacking: float = 0.0) -> ScriptedModel:
    """A policy that says yes too often; some answers may come without log-probabilities."""

    def logits(prompt: str) -> list[float]:
        wanted = RIGHT[prompt.splitlines()[-1]]
        return [1.0 + 1.0 * (wanted == "yes"), 0.8 + 1.0 * (wanted == "no"), 0.8]

    policy = SimulatedPolicy(("yes", "no", "maybe"), logits)

    def script(body: ChatBody) -> Answer:
        answer = policy(body)
        hidden = derive_seed("hidden", body["seed"]) / 2**31 < lacking
        return Answer(answer.text, finish, None if hidden else answer.logprobs)

    return ScriptedModel(script)


async def test_a_token_prior_is_judged_by_likelihood_ratios_with_fewer_calls(tmp_path: Path) -> None:
    frame = Frame("fake", temperature=1.0)
    by_ratio = await judged(
        tmp_path / "a.db", sampled(), candidate=BIASED, frame=frame, backend=HONOURED, passes=32, claim="these-tasks"
    )
    by_reward = await judged(
        tmp_path / "b.db", sampled(), candidate=BIASED, frame=frame, passes=32, claim="these-tasks"
    )
    assert by_ratio.trial is not None
    assert (by_ratio.state, by_ratio.trial.statistic) == ("live", "likelihood")
    assert "by likelihood ratios" in by_ratio.why
    assert by_reward.trial is not None
    assert 3 * len(by_ratio.trial.passes) <= 2 * len(by_reward.trial.passes)


async def test_answers_without_log_probabilities_hold_a_promotion_back_and_never_help_it(tmp_path: Path) -> None:
    frame = Frame("fake", temperature=1.0)
    found = await judged(
        tmp_path / "t.db", sampled(lacking=0.2), candidate=BIASED, frame=frame, backend=HONOURED, passes=6
    )
    assert found.state == "rejected"
    assert found.trial is not None
    first, *later = found.trial.passes
    assert min(first.gains.values()) == -1.0, "the worst that it can be with m = 1/2"
    assert not any(made.gains for made in later), "rewards are compared again"
