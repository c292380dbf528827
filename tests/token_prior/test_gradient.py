"""The gradient against finite differences of an exact simulated policy, and what may and may not move a token prior."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tables import each
from tfgrpo.hashing import derive_seed
from tfgrpo.model.tokenizer import is_special
from tfgrpo.records import Backend, Group, Rollout, Task, TokenBias, TokenTrace
from tfgrpo.settings import Settings
from tfgrpo.token_prior.gradient import Floats, Gradient, pieces, policy, step_gradient
from tfgrpo.token_prior.path import bias_path, surviving_biases

LOGITS = np.array([1.0, 0.5, 0.2, -0.3, -1.0, -2.0])
"""Of the first token of the simulated policy's two-token answers."""
NEXT = np.array([[0.3 * ((first + 2 * second) % 5) - 0.5 for second in range(6)] for first in range(6)])
"""Logits of the second token, given the first: rows are first tokens."""
REWARD = np.array(
    [[(first == 1) * 0.5 + (second == 2) * 0.3 + (first == second) * 0.2 for second in range(6)] for first in range(6)]
)
"""Partial rewards in [0, 1] of (first, second)."""
BEFORE = Backend(logit_bias="honoured", logprobs=True, token_ids=True)
AFTER = Backend(logit_bias="honoured", logprobs=True, token_ids=True, includes_bias=True)
PLAIN = Settings(divide_by_std=False, kl_limit=1e9)


def softmax(logits: Floats) -> Floats:
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def sample(count: int, temperature: float, bias: Floats, *, after_bias: bool) -> list[Group]:
    """Groups of 8 two-token rollouts of the simulated policy, with every token's log-probability reported."""
    rng = np.random.default_rng(derive_seed("toy", temperature))
    shown = bias if after_bias else 0.0 * bias
    firsts = rng.choice(6, size=count, p=softmax((LOGITS + bias) / temperature))
    upto = softmax((NEXT + bias) / temperature).cumsum(axis=1)
    task = Task("?")

    @cache
    def trace(first: int, second: int) -> TokenTrace:
        rows = [(first, np.log(softmax(LOGITS + shown))), (second, np.log(softmax(NEXT[first] + shown)))]
        orders = [[token, *(other for other in range(6) if other != token)] for token, _ in rows]
        reported = [logprobs[order] for (_, logprobs), order in zip(rows, orders, strict=True)]
        return TokenTrace(np.array(orders), np.array(reported), {token: b"t%d" % token for token in range(6)})

    rollouts = []
    for place, (first, draw) in enumerate(zip(firsts.tolist(), rng.random(count), strict=True)):
        second = int(np.searchsorted(upto[first], draw))
        reward = float(REWARD[first, second])
        rollouts.append(Rollout(task, 0, place, "", reward=reward, trace=trace(first, second)))
    return [Group(Task(f"? {at}"), 0, tuple(rollouts[at : at + 8])) for at in range(0, count, 8)]


def expected_reward(bias: Floats, temperature: float) -> float:
    first, second = softmax((LOGITS + bias) / temperature), softmax((NEXT + bias) / temperature)
    return float((first[:, None] * second * REWARD).sum())


def finite_differences(bias: Floats, temperature: float) -> Floats:
    moves = np.eye(6) * 1e-5
    return (
        np.array(
            [expected_reward(bias + move, temperature) - expected_reward(bias - move, temperature) for move in moves]
        )
        / 2e-5
    )


BIAS = np.array([0.0, 0.8, 0.0, -0.5, 0.0, 1.0])
IN_FORCE = dict(enumerate(BIAS.tolist()))


def estimated(groups: list[Group], in_force: dict[int, float], temperature: float, backend: Backend) -> Floats:
    """The mean gradient a rollout; the mean of a group of 8 holds the rollout itself, which keeps 7/8 of it."""
    slope = step_gradient(groups, in_force, temperature, backend, PLAIN).slope.sum(axis=0)
    return np.asarray(slope / (8 * len(groups)) * 8 / 7)


@pytest.mark.parametrize(("temperature", "after_bias"), [(0.7, False), (0.7, True), (1.0, True), (1.3, False)])
def test_the_gradient_is_that_of_the_expected_reward(temperature: float, after_bias: bool) -> None:
    """Within 0.005 of finite differences (twice to 5 times the error seen), with every token listed: no tail.

    A bias that is not divided by the temperature is 0.0065 off at .7.
    """
    groups = sample(8_000, temperature, BIAS, after_bias=after_bias)
    found = estimated(groups, IN_FORCE, temperature, AFTER if after_bias else BEFORE)
    np.testing.assert_allclose(found, finite_differences(BIAS, temperature), atol=0.005)


def test_forgetting_that_logprobs_are_before_the_bias_gives_a_wrong_gradient() -> None:
    groups = sample(4_000, 0.5, BIAS, after_bias=False)
    wrong = estimated(groups, {}, 0.5, BEFORE)
    assert np.abs(wrong - finite_differences(BIAS, 0.5)).max() > 0.03


@each("temperature", [0.5, 0.7, 1.0, 1.3])
@each("logits", [LOGITS, np.concatenate([LOGITS[:3], np.full(3_000, -4.0)])])
def test_unlisted_tokens_are_bounded_by_the_stated_tail(temperature: float, logits: Floats) -> None:
    """Three tokens listed: within the stated error, at T < 1 never too large, at T > 1 never too small."""
    exact = softmax(logits / temperature)[:3]
    (listed,), (error,) = policy(np.log(softmax(logits))[None, :3], np.zeros((1, 3)), temperature, BEFORE)
    off = (listed - exact) / exact * (-1 if temperature < 1 else 1)
    assert np.all(off >= -1e-12)
    assert np.all(off <= error + 1e-12)
    assert (error < 1e-12) == (temperature == 1)


@each("sampled", range(6))
def test_a_sampled_token_that_is_less_likely_than_unlisted_ones_does_not_loosen_the_bound(sampled: int) -> None:
    """Two of six tokens and the sampled one are listed, at T = 0.5."""
    logprobs = np.log(softmax(LOGITS))
    exact = softmax(LOGITS / 0.5)
    listed = [sampled, *(token for token in (0, 1) if token != sampled)]
    found, error = policy(logprobs[None, listed], np.zeros((1, len(listed))), 0.5, BEFORE)
    assert np.all(found[0] <= exact[listed] + 1e-12)
    assert np.all(exact[listed] - found[0] <= exact[listed] * error[0] + 1e-12)


def trace(sampled: int, others: Sequence[int], logprobs: Sequence[float]) -> TokenTrace:
    ids = np.array([[sampled, *others]], dtype=np.int64)
    return TokenTrace(ids, np.array([logprobs]), {token: f"t{token}".encode() for token in (sampled, *others)})


def labelled(task: str, outcomes: Sequence[tuple[int, float]]) -> Group:
    """One-token answers among tokens 1, 2 and 3 with fixed reported log-probabilities, and their rewards."""
    reported = {1: math.log(0.5), 2: math.log(0.3), 3: math.log(0.2)}
    rollouts = []
    for place, (token, reward) in enumerate(outcomes):
        order = [token, *(other for other in reported if other != token)]
        found = trace(token, order[1:], [reported[each] for each in order])
        rollouts.append(Rollout(Task(task), 0, place, "", reward=reward, trace=found))
    return Group(Task(task), 0, tuple(rollouts))


OUTCOMES = st.lists(st.tuples(st.sampled_from([1, 2, 3]), st.sampled_from([0.0, 0.25, 1.0])), min_size=2, max_size=8)


@given(OUTCOMES, st.randoms())
def test_the_order_of_rollouts_does_not_matter(outcomes: list[tuple[int, float]], shuffler: Random) -> None:
    mixed = list(outcomes)
    shuffler.shuffle(mixed)
    one = step_gradient([labelled("a", outcomes)], {}, 1.0, BEFORE, Settings())
    other = step_gradient([labelled("a", mixed)], {}, 1.0, BEFORE, Settings())
    np.testing.assert_allclose(one.slope, other.slope, atol=1e-9)
    np.testing.assert_allclose(one.curvature, other.curvature, atol=1e-9)


@given(OUTCOMES)
def test_shifted_rewards_teach_the_same(outcomes: list[tuple[int, float]]) -> None:
    shifted = [(token, reward / 2 + 0.25) for token, reward in outcomes]
    one = step_gradient([labelled("a", outcomes)], {}, 1.0, BEFORE, Settings())
    other = step_gradient([labelled("a", shifted)], {}, 1.0, BEFORE, Settings())
    np.testing.assert_allclose(one.slope, other.slope, atol=1e-9)


@given(OUTCOMES, OUTCOMES)
def test_a_task_that_is_nearly_sure_pulls_no_harder_than_its_rewards_do(
    one: list[tuple[int, float]], other: list[tuple[int, float]]
) -> None:
    """All tasks' advantages are divided by one number: what comes of it is the gradient of the mean reward."""
    groups = [labelled("a", one), labelled("b", other)]
    plain, found = (step_gradient(groups, {}, 1.0, BEFORE, Settings(divide_by_std=on)) for on in (False, True))
    spreads = [group.rewards.std() for group in groups if group.rewards.std() > 1e-9]
    by = math.sqrt(np.mean(np.square(spreads))) if spreads else 1.0
    np.testing.assert_allclose(found.slope * by, plain.slope, atol=1e-9)


@given(OUTCOMES, st.permutations([1, 2, 3]))
def test_renamed_tokens_are_moved_alike(outcomes: list[tuple[int, float]], others: list[int]) -> None:
    """Names: where a token's id is another one everywhere, its slope and curvature are the same under the new id."""
    names = dict(zip([1, 2, 3], [10 * other for other in others], strict=True))
    group = labelled("a", outcomes)
    renamed = [
        replace(rollout, trace=replace(rollout.trace, ids=np.vectorize(names.__getitem__)(rollout.trace.ids)))
        for rollout in group.rollouts
        if rollout.trace is not None
    ]
    one = step_gradient([group], {1: 0.5}, 0.7, BEFORE, Settings())
    other = step_gradient([replace(group, rollouts=tuple(renamed))], {names[1]: 0.5}, 0.7, BEFORE, Settings())
    assert one.scale == pytest.approx(other.scale)
    order = np.argsort([names[token] for token in one.tokens.tolist()])
    assert [names[one.tokens[place]] for place in order] == other.tokens.tolist()
    np.testing.assert_allclose(one.slope[:, order], other.slope, atol=1e-9)
    np.testing.assert_allclose(one.curvature[:, order], other.curvature, atol=1e-9)


@given(OUTCOMES)
def test_biases_of_listed_tokens_sum_to_no_change(outcomes: list[tuple[int, float]]) -> None:
    """Adding the same bias to every token changes no probability, so the gradient sums to zero over a full list."""
    found = step_gradient([labelled("a", outcomes)], {}, 1.0, BEFORE, Settings())
    assert abs(found.slope.sum()) < 1e-9


def test_flat_groups_teach_nothing() -> None:
    found = step_gradient([labelled("a", [(1, 1.0), (2, 1.0)])], {}, 0.7, BEFORE, Settings())
    assert found.tasks == ()
    assert surviving_biases((), [found], {}, Settings()) == ()


def test_rollouts_without_logprobs_or_reward_are_left_out() -> None:
    group = labelled("a", [(1, 1.0), (2, 0.0)])
    bare = Rollout(group.task, 0, 2, "", reward=0.5)
    failed = Rollout(group.task, 0, 3, "", error="upstream answered 500")
    found = step_gradient([Group(group.task, 0, (*group.rollouts, bare, failed))], {}, 1.0, BEFORE, Settings())
    assert np.isfinite(found.slope).all()
    assert found.slope.any()


def run(tasks: int, winner: int, steps: int = 3) -> tuple[list[Gradient], dict[int, bytes]]:
    """Every task prefers token `winner` over token 1."""
    groups = [labelled(str(task), [(winner, 1.0), (1, 0.0)] * 4) for task in range(tasks)]
    settings, bias, found = Settings(), dict[int, float](), []
    for _ in range(steps):
        found.append(step_gradient(groups, bias, 1.0, BEFORE, settings))
        bias = bias_path({}, found, settings)[-1]
    return found, pieces(groups)


def test_what_many_tasks_want_is_kept_with_its_evidence() -> None:
    steps, known = run(tasks=12, winner=2)
    strongest, *_ = surviving_biases((), steps, known, Settings())
    by_token = {entry.token: entry for entry in surviving_biases((), steps, known, Settings())}
    assert by_token[2].bias > 0.3
    assert by_token[1].bias < -0.3
    assert by_token[2].evidence == 12
    assert by_token[2].piece == b"t2"
    assert abs(strongest.bias) == max(abs(entry.bias) for entry in by_token.values())


@pytest.mark.parametrize("tasks", [1, 2, 3])
def test_what_one_or_a_few_tasks_want_never_enters(tasks: int) -> None:
    steps, known = run(tasks=tasks, winner=2)
    assert surviving_biases((), steps, known, Settings()) == ()


def test_a_token_that_helps_half_of_the_tasks_and_hurts_the_other_half_is_dropped() -> None:
    groups = [labelled(str(task), [(2, float(task % 2)), (1, float(1 - task % 2))] * 4) for task in range(12)]
    found = step_gradient(groups, {}, 1.0, BEFORE, Settings())
    assert surviving_biases((), [found], pieces(groups), Settings()) == ()


def test_a_step_stays_within_the_kl_limit() -> None:
    groups = [labelled(str(task), [(2, 1.0), (1, 0.0)] * 4) for task in range(40)]
    free = step_gradient(groups, {}, 1.0, BEFORE, Settings(kl_limit=1e9, learning_rate=5.0))
    bound = step_gradient(groups, {}, 1.0, BEFORE, Settings(kl_limit=0.01, learning_rate=5.0))
    assert free.scale == 1.0
    assert bound.scale < 0.5


def test_biases_are_capped() -> None:
    steps, known = run(tasks=12, winner=2, steps=30)
    entries = surviving_biases((), steps, known, Settings(bias_cap=0.2, kl_limit=1e9))
    assert max(abs(entry.bias) for entry in entries) <= 0.2


def test_an_inherited_bias_without_new_evidence_is_kept() -> None:
    inherited = TokenBias(99, b"old", 1.5, 4.0, 7)
    steps, known = run(tasks=12, winner=2)
    (kept,) = [entry for entry in surviving_biases((inherited,), steps, known, Settings()) if entry.token == 99]
    assert (kept.bias, round(kept.z, 6), kept.piece) == (1.5, 4.0, b"old")


@each(
    ("piece", "special"),
    [(b"", True), (b"<|im_end|>", True), (b"</s>", True), (b"<", False), (b"yes", False), (b"\xf0\x9f", False)],
)
def test_special_tokens_are_recognised(piece: bytes, special: bool) -> None:
    assert is_special(piece) is special


def test_special_tokens_never_enter() -> None:
    groups = []
    for task in range(12):
        group = labelled(str(task), [(2, 1.0), (1, 0.0)] * 4)
        for rollout in group.rollouts:
            assert rollout.trace is not None
            rollout.trace.pieces[2] = b"<|im_end|>"  # pyrefly: ignore[unsupported-operation]  # the fixture's own dict
        groups.append(group)
    found = step_gradient(groups, {}, 1.0, BEFORE, Settings())
    assert 2 not in found.tokens.tolist()
    assert 1 in found.tokens.tolist()
