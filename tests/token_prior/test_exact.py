"""Sums over listed answers: they are what sampled groups are on average, and bound what is not listed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo.records import AnswerTree, Backend, Frame, ListedPrompt, Task
from tfgrpo.rollouts.executor import is_short
from tfgrpo.settings import Settings
from tfgrpo.token_prior.choice import WeighedRollouts, weighed_rollouts
from tfgrpo.token_prior.exact import answer_shares, by_prompt, draw_evenly, gain, pulls, trace_of
from tfgrpo.token_prior.path import Reuse

RNG = np.random.default_rng(5)
END, YES, NO, WELL = range(4)
PIECES = {END: b"", YES: b"yes", NO: b"no", WELL: b"well "}
FIRST, SECOND = np.log([0.05, 0.5, 0.25, 0.2]), np.log([0.1, 0.3, 0.5, 0.1])
"""After nothing; after "well ", where everything ends."""
TASK = Task("Is it?", "yes")


def tree(listed: int = 4) -> AnswerTree:
    """Answers: nothing, "yes", "no" and those after "well "; of the second row so many tokens are listed."""
    rewards = np.array([[0.0, 1.0, 0.0, np.nan], [0.25, 1.0, 0.0, 0.5]])
    tokens = np.tile(np.arange(4), (2, 1))
    reported = np.stack([FIRST, SECOND])
    order = np.argsort(-SECOND)[listed:]
    tokens[1, order], reported[1, order], rewards[1, order] = -1, -np.inf, np.nan
    after = np.full((2, 4), -1)
    after[0, WELL] = 1
    texts = {(int(row), int(column)): f"{row} {column}" for row, column in np.argwhere(np.isfinite(rewards))}
    return AnswerTree(tokens, reported, rewards, after, texts, PIECES)


def listed(size: int = 8, found: AnswerTree | None = None) -> ListedPrompt:
    return ListedPrompt(TASK, "request", found or tree(), size, 0.5, 0.0)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_the_gradient_of_a_listed_group_is_that_of_its_expected_reward(temperature: float) -> None:
    biases = {YES: 0.3, WELL: -0.8}
    (found,) = pulls([listed(size=1)], biases, temperature)
    for token in (END, YES, NO, WELL):
        ends = [
            answer_shares(tree(), {**biases, token: biases.get(token, 0.0) + step}, temperature).mean
            for step in (1e-5, -1e-5)
        ]
        slope = found.slope[found.tokens == token].sum()
        assert slope == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-6)


@given(bias=st.floats(-3, 3), on=st.sampled_from([YES, NO, WELL]), heat=st.floats(0.3, 2.0), count=st.integers(1, 3))
def test_what_is_not_listed_is_bounded_whatever_the_biases_and_the_temperature(
    bias: float, on: int, heat: float, count: int
) -> None:
    whole, part = answer_shares(tree(), {on: bias}, heat), answer_shares(tree(count), {on: bias}, heat)
    assert part.low - 1e-9 <= whole.mean <= part.high + 1e-9
    assert whole.missing == pytest.approx(0.0, abs=1e-9)
    assert part.missing > 0
    assert (part.chances <= np.where(tree(count).tokens < 0, 1.0, whole.chances) + 1e-9).all()


def sampled(rollouts: int) -> WeighedRollouts:
    """So many rollouts of the same answers, as a server gives them."""
    ids, reported, lengths, rewards = [], [], [], []
    for _ in range(rollouts):
        token, chances, count = WELL, FIRST, 0
        while token == WELL and count < 2:
            token = int(RNG.choice(4, p=np.exp(chances)))
            others = [one for one in range(4) if one != token]
            ids.append([token, *others])
            reported.append([chances[token], *chances[others]])
            chances, count = SECOND, count + 1
        lengths.append(count)
        rewards.append(float(np.nan_to_num(tree().rewards[count - 1, token])))
    arrays = np.array(ids), np.array(reported), np.array(lengths), np.array(rewards)
    return WeighedRollouts(*arrays, (TASK.id,) * rollouts, {TASK.id: "yes"}, ((),) * rollouts, {}, 1.0)


def test_sampled_rollouts_say_on_average_what_is_listed() -> None:
    settings, count = Settings(), 4_000
    by_samples, by_list = Reuse(Backend(), settings), Reuse(Backend(), settings)
    by_samples.add(sampled(count), {END}, 0.0)
    by_list.add(weighed_rollouts([], {}, 1.0), {END}, 0.0, [listed(count)])
    for biases in ({}, {YES: 0.5, NO: -0.5}):
        one, other = by_samples.gradient(biases), by_list.gradient(biases)
        assert one.tokens.tolist() == other.tokens.tolist() == [YES, NO, WELL]
        fewer = one.curvature.sum() / other.curvature.sum()  # under other biases not all rollouts count in full
        assert 0.8 < fewer < 1.02
        assert one.slope == pytest.approx(fewer * other.slope, abs=4 * count**0.5)
        assert one.curvature == pytest.approx(fewer * other.curvature, rel=0.12)


def test_what_is_drawn_has_as_many_right_answers_as_expected_to_within_one() -> None:
    found, now = tree(), answer_shares(tree(), {}, 1.0)
    for start in np.linspace(0, 0.999, 7):
        places = draw_evenly(found, now, 8, float(start))
        right = sum(found.rewards[place] == 1 for place in places)
        chance = sum(now.reached[place[0]] * now.chances[place] for place in found.texts if found.rewards[place] == 1)
        assert len(places) == 8
        assert abs(right - 8 * chance) < 1


def test_the_same_prompt_in_two_steps_is_one_with_the_rollouts_of_both() -> None:
    (found,) = by_prompt([listed(8), listed(4)])
    assert found.size == 12
    assert gain([found], {}, {YES: 1.0}, 1.0) > 0.1
    assert gain([found], {}, {NO: 1.0}, 1.0) < 0


def test_an_answer_is_short_where_the_request_says_so() -> None:
    limits = [{}, {"max_tokens": 1}, {"max_completion_tokens": 16}, {"max_tokens": 17}, {"max_tokens": 0}]
    assert [is_short(Frame("m", None, limit)) for limit in limits] == [False, True, True, False, False]


def test_an_answer_of_the_tree_has_the_trace_that_an_upstream_would_give() -> None:
    trace = trace_of(tree(), "1 2", {NO: 1.0})
    assert trace is not None
    assert trace.ids[:, 0].tolist() == [WELL, NO]
    assert np.exp(trace.logprobs).sum(axis=1) == pytest.approx(1.0)
    assert trace.logprobs[1, 0] - trace.logprobs[1, 1] == pytest.approx(SECOND[NO] + 1.0 - SECOND[END])
    assert [sorted(row) for row in trace.ids[:, 1:].tolist()] == [[END, YES, NO], [END, YES, WELL]]
    assert trace_of(tree(), "something else") is None
