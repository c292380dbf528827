"""Whether a token prior is kept: by exact simulated policies whose gain is known."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import toy
from tests.inprocess import upstream
from tests.routing import TASKS, WORDS, talkative
from tests.tables import each
from tfgrpo.hashing import derive_seed
from tfgrpo.learning.plan import Plan
from tfgrpo.learning.result import LearningResult
from tfgrpo.learning.run import carry_out
from tfgrpo.model import local
from tfgrpo.model.local.server import ONE_AFTER_THE_OTHER
from tfgrpo.model.upstream import Upstream
from tfgrpo.observer import Silent
from tfgrpo.records import JSON, Backend, Frame, Group, Rollout, Task, TokenTrace
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.rollouts.rewards.reward import Reward
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.testing import Script, ScriptedModel, SimulatedPolicy
from tfgrpo.token_prior.choice import (
    FEWEST_FOLDS,
    FOLDS,
    Biases,
    Choice,
    WeighedRollouts,
    choose,
    choose_by_steps,
    folds,
    log_probabilities,
    mean_rewards,
    weighed_rollouts,
)
from tfgrpo.token_prior.gradient import LOOSE_TAIL, Floats

LOGITS = np.array([1.0, 0.5, -0.3, -1.0])
LISTED = np.array([[token, *(other for other in range(4) if other != token)] for token in range(4)])
"""By token, the ids listed where it was sampled."""
PIECES = {token: b"t%d" % token for token in range(4)}
BEFORE = Backend(logit_bias="honoured", logprobs=True, token_ids=True)
TEMPERATURE = 0.7


def log_softmax(logits: Floats) -> Floats:
    return np.asarray(logits - np.logaddexp.reduce(logits))


def biased(bias: Biases) -> Floats:
    return np.asarray(LOGITS + np.array([bias.get(token, 0.0) for token in range(len(LOGITS))]))


def sampled(
    task: str,
    bias: Biases,
    *,
    length: int = 1,
    count: int = 8,
    step: int = 0,
    good: int = 1,
    backend: Backend = BEFORE,
    shown: tuple[str, ...] = (),
) -> Group:
    """Answers of that many tokens, drawn under the biases; the reward is the share of tokens that are `good`."""
    rng = np.random.default_rng(derive_seed("choice", task, step, length))
    chances = np.exp(log_softmax(biased(bias) / TEMPERATURE))
    shift = biased(bias) if backend.includes_bias else LOGITS
    reported = log_softmax(shift / TEMPERATURE if backend.includes_temperature else shift)
    said = rng.choice(len(LOGITS), size=(count, length), p=chances)
    of, rewards = Task(task), (said == good).mean(axis=1).tolist()
    rollouts = (
        Rollout(of, step, number, "", shown, reward=reward, trace=TokenTrace(ids, reported[ids], PIECES))
        for number, (ids, reward) in enumerate(zip(LISTED[said], rewards, strict=True))
    )
    return Group(of, step, tuple(rollouts))


@pytest.mark.parametrize("includes_bias", [False, True])
@pytest.mark.parametrize("includes_temperature", [False, True])
def test_an_answer_has_the_probability_of_any_policy_wanted(includes_bias: bool, includes_temperature: bool) -> None:
    backend = replace(BEFORE, includes_bias=includes_bias, includes_temperature=includes_temperature)
    in_force, wanted = {1: 0.8, 2: -0.5}, {0: -1.0, 1: 2.0}
    found = weighed_rollouts([sampled("a", in_force, length=3, backend=backend)], in_force, TEMPERATURE)
    exact = log_softmax(biased(wanted) / TEMPERATURE)[found.tokens[:, 0]].reshape(8, 3).sum(axis=1)
    np.testing.assert_allclose(log_probabilities(found, wanted, backend), exact, atol=1e-9)


def chosen(steps: Sequence[tuple[Biases, int]], outcome: Biases, *, tasks: int = 12, length: int = 1) -> Choice:
    """The choice on steps of (biases in force, good token), where every fold comes to `outcome`."""
    seen = [
        weighed_rollouts(
            [sampled(str(task), bias, length=length, step=number, good=good) for task in range(tasks)],
            bias,
            TEMPERATURE,
        )
        for number, (bias, good) in enumerate(steps)
    ]
    return choose(seen, {}, lambda part: outcome, BEFORE, worth={}, seed=0)


def test_the_gain_is_that_of_the_exact_policy() -> None:
    """Within 0.03: 40 tasks, two steps of eight rollouts; one standard error is 0.015."""
    outcome = {1: 1.0}
    found = chosen([({}, 1), ({1: 1.5}, 1)], outcome, tasks=40)
    before, after = (np.exp(log_softmax(biased(bias) / TEMPERATURE))[1] for bias in ({}, outcome))
    assert found.gain == pytest.approx(after - before, abs=0.03)
    assert (found.scope, found.tasks, found.folds) == ("whole answer", 40, FOLDS)
    assert "held-out folds" in found.why


def test_a_prior_that_makes_the_held_out_folds_worse_is_not_kept() -> None:
    found = chosen([({}, 0), ({1: 1.5}, 0)], {1: 1.0})
    assert found.scope == "none"
    assert found.gain is not None
    assert found.gain < 0
    assert "no gain shown" in found.why


def test_a_prior_without_effect_is_not_kept() -> None:
    assert chosen([({}, 1)], {}).scope == "none"


@pytest.mark.parametrize(
    ("outcome", "good", "loss", "least", "most"),
    [({1: 0.6}, None, 0.0, 0.09, 0.25), ({1: 0.2}, 0, 0.05, 0.0, 0.02)],
    ids=["rewards that are luck", "a loss of five points"],
)
def test_a_useless_prior_is_kept_one_time_in_six_and_a_harmful_one_hardly_ever(
    outcome: Biases, good: int | None, loss: float, least: float, most: float
) -> None:
    """100 sets of 12 tasks, 8 rollouts each: t > 1 with 11 degrees of freedom in 17% of them, give or take 3.8."""
    chances = np.array([np.exp(log_softmax(biased(bias) / TEMPERATURE)) for bias in ({}, outcome)])
    assert good is None or chances[0, good] - chances[1, good] == pytest.approx(loss, abs=0.005)
    kept = 0
    for number in range(100):
        groups = [sampled(f"{number} {task}", {}, good=good or 0) for task in range(12)]
        seen = weighed_rollouts(groups, {}, TEMPERATURE)
        if good is None:
            luck = np.random.default_rng(number).integers(0, 2, len(seen.rewards))
            seen = replace(seen, rewards=luck.astype(np.float64))
        kept += choose([seen], {}, lambda part: outcome, BEFORE, worth={}, seed=number).scope == "whole answer"
    assert least <= kept / 100 <= most


def test_long_answers_cannot_be_weighed_and_nothing_is_kept() -> None:
    short, long = (chosen([({}, 1)], {1: 1.0}, length=length) for length in (1, 60))
    assert short.scope == "whole answer"
    assert long.scope == "none"
    assert long.effective is not None
    assert long.effective < 4
    assert "cannot be weighed" in long.why


def test_too_few_tasks_tell_nothing() -> None:
    found = chosen([({}, 1)], {1: 1.0}, tasks=3)
    assert (found.scope, found.gain) == ("none", None)
    assert "too few" in found.why


def test_what_an_experience_is_worth_does_not_count_for_the_token_prior() -> None:
    """Attempts of the second step were shown what alone makes them right."""
    plain = [sampled(str(task), {}, good=9) for task in range(12)]
    helped = [
        replace(
            group,
            rollouts=tuple(replace(each, reward=1.0, included=("exp_1",)) for each in group.rollouts),
        )
        for group in (sampled(str(task), {1: 1.5}, step=1, good=9) for task in range(12))
    ]
    steps = [weighed_rollouts(plain, {}, TEMPERATURE), weighed_rollouts(helped, {1: 1.5}, TEMPERATURE)]
    scopes = [
        choose(steps, {}, lambda part: {1: 1.5}, BEFORE, worth=worth, seed=0).scope for worth in ({}, {"exp_1": 1.0})
    ]
    assert scopes == ["whole answer", "none"]


def test_rollouts_whose_sampled_token_has_no_probability_are_left_out() -> None:
    group = sampled("a", {})
    trace = group.rollouts[0].trace
    assert trace is not None
    trace.logprobs[0, 0] = -math.inf
    bare = replace(group.rollouts[1], trace=None)
    found = weighed_rollouts([replace(group, rollouts=(group.rollouts[0], bare, *group.rollouts[2:]))], {}, 1.0)
    assert len(found.rewards) == 6


ANSWERS = st.dictionaries(st.integers(0, 100).map(str), st.sampled_from(["yes", "no", ["a", "b"], None]), min_size=1)


@given(ANSWERS, st.randoms())
def test_folds_share_the_tasks_and_each_answer_alike_whatever_their_order(
    answers: dict[str, JSON], shuffler: random.Random
) -> None:
    mixed = list(answers.items())
    shuffler.shuffle(mixed)
    found = folds(answers, 0)
    assert found == folds(dict(mixed), 0)
    assert sorted(task for part in found for task in part) == sorted(answers)
    for wanted in ("yes", "no", ["a", "b"], None):
        held = [sum(answers[task] == wanted for task in part) for part in found]
        assert max(held) - min(held) <= 1
    assert max(map(len, found)) - min(map(len, found)) <= 1


@each(
    ("counts", "parts"),
    [((13, 7), 7), ((10, 10), 10), ((40, 30), FOLDS), ((18, 2), FEWEST_FOLDS), ((7, 7, 6), 6), ((19, 1), FOLDS)],
)
def test_there_are_as_many_folds_as_the_rarest_answer_that_repeats_can_fill(counts: Sequence[int], parts: int) -> None:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    found = folds({str(number): label for number, label in enumerate(labels)}, 0)
    assert len(found) == parts
    if min(counts) >= FEWEST_FOLDS:
        assert all({labels[int(task)] for task in part} == set(labels) for part in found)


def test_tasks_without_an_answer_are_divided_as_tasks_whose_answers_all_differ() -> None:
    names = [str(number) for number in range(23)]
    assert folds(dict.fromkeys(names), 0) == folds({name: name for name in names}, 0)
    assert len(folds(dict.fromkeys(names), 0)) == FOLDS


def test_stratified_folds_lose_nothing_and_folds_by_chance_what_is_derived() -> None:
    """A bias that follows a label's share among the tasks learned from, so slightly that its effect is linear."""
    count, share = 20, 0.3
    groups = [sampled(str(number), {}, good=int(number < share * count), count=100) for number in range(count)]
    answers = {group.task.id: number < share * count for number, group in enumerate(groups)}
    known, unknown = (
        replace(weighed_rollouts(groups, {}, TEMPERATURE), answers=told) for told in (answers, dict.fromkeys(answers))
    )

    def gain(seen: WeighedRollouts, biases: Callable[[float], Biases], seed: int) -> float:
        def without(part: frozenset[str]) -> Biases:
            return biases(float(np.mean([answers[task] for task in answers if task not in part])))

        found = choose([seen], {}, without, BEFORE, worth={}, seed=seed).gain
        assert found is not None
        return found

    def follow(here: float) -> Biases:
        return {1: 0.5 * here}

    whole, by_label = gain(unknown, lambda here: follow(share), 0), gain(known, follow, 0)
    by_chance = np.mean([gain(unknown, follow, seed) for seed in range(60)])
    likely = np.exp(log_softmax(LOGITS / TEMPERATURE))
    more = (likely[1] * (1 - likely[1]) + likely[0] * likely[1]) / TEMPERATURE
    derived = 0.5 * more * share * (1 - share) / (count - 1)
    assert by_label == pytest.approx(whole, abs=derived / 10)
    assert whole - by_chance == pytest.approx(derived, rel=0.2)


def test_without_log_probabilities_steps_are_compared_and_it_is_said_that_nothing_was_held_out() -> None:
    first = {str(task): 0.2 for task in range(8)}
    later = {str(task): 0.5 + 0.1 * (task % 2) for task in range(8)}
    found = choose_by_steps([first, first, later])
    assert (found.scope, found.folds, found.effective) == ("whole answer", 0, None)
    assert "not held out" in found.why
    assert choose_by_steps([later, first]).scope == "none"
    assert choose_by_steps([first]).scope == "none"


def test_mean_rewards_are_those_of_scored_rollouts_less_the_worth_of_experiences() -> None:
    group = sampled("a", {}, count=2, good=9, shown=("exp_1",))
    rollouts = (replace(group.rollouts[0], reward=1.0), replace(group.rollouts[1], reward=None))
    assert mean_rewards([replace(group, rollouts=rollouts)], {"exp_1": 0.25}) == {group.task.id: 0.75}


# Whole runs

SETTINGS = Settings(steps=2, race=False, experiences=False, concurrency=8)


async def run(
    script: Script, path: Path, tasks: tuple[Task, ...], reward: Reward, *, local: bool = False, steps: int = 3
) -> LearningResult:
    settings = replace(SETTINGS, steps=steps)
    plan = Plan(tasks, reward, "exact", Frame("fake", "Answer."), settings=settings)
    tokenizer = toy.tokenizer(WORDS) if local else None
    with Store(path) as store:
        async with upstream(ScriptedModel(script).app, journal=store, settings=settings, tokenizer=tokenizer) as calls:
            return await carry_out(plan, store, calls, Silent())


async def test_a_run_says_what_was_chosen_and_on_which_figures(tmp_path: Path) -> None:
    learned = await run(SimulatedPolicy(WORDS, talkative), tmp_path / "t.db", TASKS, load_reward("exact"))
    assert learned.prior.biases
    told = learned.as_json()["token_prior"]
    assert told["choice"]["scope"] == "whole answer"
    assert told["choice"]["gain"] > told["choice"]["deviation"] > 0
    assert told["estimator"] == "policy gradient"
    (note,) = [line for line in learned.notes if "chosen on the training tasks" in line]
    assert "whole answer" in note
    with Store(tmp_path / "t.db") as store:
        assert "held-out folds" in store.lineage("default")[-1].why


@pytest.mark.parametrize("local", [False, True], ids=["policy gradient", "log-odds"])
async def test_rewards_that_no_token_moves_leave_no_token_prior(tmp_path: Path, local: bool) -> None:
    def luck(rollout: Rollout) -> float:
        return float(derive_seed(rollout.task.id, rollout.step, rollout.sample) % 2)

    policy = SimulatedPolicy(WORDS, talkative, logprobs=not local)
    tasks = tuple(Task(f"question {number}", "billing") for number in range(12))
    learned = await run(policy, tmp_path / "t.db", tasks, luck, local=local)
    assert learned.prior.biases == ()
    assert learned.as_json()["token_prior"]["choice"]["scope"] == "none"


CITIES = ("Oslo", "Rome", "Cairo", "Lima", "Paris", "Delhi", "Quito", "Accra", "Tunis", "Kiev", "Bonn", "Bern")


async def test_content_words_of_single_tasks_hardly_enter(tmp_path: Path) -> None:
    """Twelve tasks with twelve answers: what they share is that chatter loses, and that is what is learned.

    Simulated, 60 runs: two steps of it keep 0.4 of the cities, moved by half a nat.
    """
    words = ("The", "I", *CITIES)

    def logits(prompt: str) -> list[float]:
        return [2.0, 1.5, *(1.5 * (city in prompt) for city in CITIES)]

    tasks = tuple(Task(f"Say it: {city}", city) for city in CITIES)
    learned = await run(SimulatedPolicy(words, logits), tmp_path / "t.db", tasks, load_reward("exact"), steps=2)
    kept = {entry.piece.decode(): entry.bias for entry in learned.prior.biases}
    assert max(kept.pop(word) for word in ("The", "I")) < -0.3
    assert len(kept) <= 1
    assert all(abs(bias) < 0.7 for bias in kept.values())
    assert learned.steps[-1].mean_reward > learned.steps[0].mean_reward + 0.05


LEANING = SimulatedPolicy([f"w{number}" for number in range(60)], lambda prompt: [0.0] * 60)


@pytest.mark.parametrize("temperature", [0.7, 1.3])
async def test_where_alternatives_tell_too_little_rollouts_go_on_at_temperature_1(
    tmp_path: Path, temperature: float
) -> None:
    """Sixty words that are all alike, twenty of them listed: two thirds of the probability is known as a bound."""
    model, tasks = (
        ScriptedModel(LEANING),
        tuple(Task(f"message {number}", list(LEANING.words[:30])) for number in range(4)),
    )
    frame = Frame("fake", temperature=temperature, top_p=0.9)
    plan = Plan(tasks, load_reward("exact"), "exact", frame, settings=SETTINGS)
    with Store(tmp_path / "t.db") as store:
        async with upstream(model.app, journal=store, settings=SETTINGS) as calls:
            learned = await carry_out(plan, store, calls, Silent())
    for told in ("rollouts go on at 1", "top_p 1, not 0.9"):
        assert len([line for line in learned.notes if told in line]) == 1
    assert [body["temperature"] for body in model.requests[-8 * len(tasks) :]] == [1.0] * 8 * len(tasks)
    assert learned.as_json()["token_prior"]["tail"] > 0.1
    (first, *_) = [body["temperature"] for body in model.requests if body.get("top_logprobs") == SETTINGS.top_logprobs]
    assert first == temperature


QUOTED = ("river", "lamp", "window", "garden", "tiger", "button", "orange", "castle")


@pytest.mark.model
async def test_on_the_embedded_model_a_format_is_learned_and_none_of_the_words_in_it(tmp_path: Path) -> None:
    """Eight words, each to be put between quotes after one worked example.

    Under seeds 0, 1 and 2 the second step was 37 to 41 points better than the first, and the quote weighed 2.2 to 2.3.
    """
    example = ({"role": "user", "content": "table"}, {"role": "assistant", "content": '"table"'})
    tasks = tuple(Task((*example, {"role": "user", "content": word}), f'"{word}"') for word in QUOTED)
    settings = Settings(steps=2, group_size=4, race=False, experiences=False, concurrency=8)
    with Store(tmp_path / "t.db") as store, local.upstream("local", ONE_AFTER_THE_OTHER) as (url, model):
        frame = Frame(model, "Put the word in double quotes.", {"max_tokens": 5})
        async with Upstream(url, settings=settings, journal=store) as calls:
            plan = Plan(tasks, load_reward("exact"), "exact", frame, settings=settings)
            learned = await carry_out(plan, store, calls, Silent())
    kept = {entry.piece.decode(errors="replace"): entry.bias for entry in learned.prior.biases}
    assert kept['"'] > 0.5
    assert learned.steps[1].mean_reward > learned.steps[0].mean_reward + 0.1
    assert not [text for text in kept if text.strip() in QUOTED]
    told = learned.as_json()["token_prior"]
    assert (told["choice"]["scope"], told["tail"] < LOOSE_TAIL) == ("whole answer", True)
