"""The weaker estimator: figures worked by hand, and what may and may not move it."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo.records import Group, Rollout, Task, TokenBias
from tfgrpo.settings import Settings
from tfgrpo.token_prior.log_odds import Counts, log_odds, log_odds_path, pseudo_counts, step_counts, surviving_log_odds

SETTINGS = Settings(shrinkage=1.0, kl_limit=50.0, bias_z=1.0)
"""Steps are not cut."""
PIECES = {token: chr(97 + token).encode() for token in range(26)}


def encode(text: str) -> list[int]:
    """Each letter is a token."""
    return [ord(letter) - 97 for letter in text]


def group(name: str, answers: Sequence[tuple[str, float | None]]) -> Group:
    task = Task(name)
    rollouts = (
        Rollout(task, 0, sample, "", text=text, reward=reward, error=None if reward is not None else "failed")
        for sample, (text, reward) in enumerate(answers)
    )
    return Group(task, 0, tuple(rollouts))


def counts(*groups: Group, temperature: float = 1.0, settings: Settings = SETTINGS) -> Counts:
    return step_counts(groups, encode, temperature, settings)


def test_answers_are_counted_with_their_advantage() -> None:
    """Rewards 1, 0, 0, 0 have mean 1/4 and standard deviation sqrt(3)/4: advantages sqrt(3) and -1/sqrt(3)."""
    found = counts(group("t", [("ab", 1.0), ("a", 0.0), ("cc", 0.0), ("", 0.0)]))
    assert found.tokens.tolist() == [0, 1, 2]
    assert found.won[0] == pytest.approx([3**0.5, 3**0.5, 0])
    assert found.lost[0] == pytest.approx([3**-0.5, 0, 2 * 3**-0.5])


def test_only_mixed_groups_count_and_all_answers_tell_how_common_a_token_is() -> None:
    mixed, flat = group("m", [("a", 1.0), ("b", 0.0)]), group("f", [("c", 1.0), ("cc", 1.0)])
    found = counts(flat, mixed)
    assert found.tasks == (mixed.task.id,)
    assert found.won.tolist() == [[1, 0, 0]]
    assert found.prior[2] == pytest.approx(3 * found.prior[0])


def test_failed_rollouts_count_nowhere() -> None:
    assert counts(group("t", [("a", 1.0), ("b", 0.0), ("zzz", None)])).tokens.tolist() == [0, 1]
    assert counts(group("t", [("a", None), ("b", None)])).tokens.tolist() == []
    assert surviving_log_odds((), [counts(group("t", [("a", None)]))], PIECES, SETTINGS) == ()


def test_a_token_of_typical_frequency_has_as_many_pseudo_counts_as_the_shrinkage() -> None:
    assert pseudo_counts(np.array([7.0, 7.0, 7.0]), 5.0) == pytest.approx([5.0, 5.0, 5.0])
    common, rare = pseudo_counts(np.array([90.0, 10.0]), 5.0)
    assert common == pytest.approx(9 * rare)
    assert pseudo_counts(np.zeros(0), 5.0).tolist() == []


def test_the_log_odds_are_those_of_the_paper() -> None:
    """Equation 16 of Monroe, Colaresi and Quinn, and its variance (equation 20), by hand."""
    delta, variance = log_odds(np.array([8.0, 1.0]), np.array([2.0, 3.0]), np.array([1.0, 1.0]))
    assert delta[0] == pytest.approx(math.log(9 / 2) - math.log(3 / 4))
    assert variance[0] == pytest.approx(1 / 9 + 1 / 3)
    assert delta[1] == pytest.approx(-delta[0])


def test_a_token_that_is_all_that_was_said_tells_nothing() -> None:
    delta, variance = log_odds(np.array([3.0]), np.array([3.0]), np.array([1.0]))
    assert delta.tolist() == [0.0]
    assert np.isfinite(variance).all()


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0.1, 5)), min_size=2, max_size=6))
def test_winners_and_losers_who_speak_alike_teach_nothing_and_swapping_them_turns_the_sign(
    pairs: list[tuple[float, float]],
) -> None:
    said, prior = (np.array(column) for column in zip(*pairs, strict=True))
    assert log_odds(said, said, prior)[0] == pytest.approx(np.zeros(len(said)))
    other = said[::-1].copy()
    assert log_odds(said, other, prior)[0] == pytest.approx(-log_odds(other, said, prior)[0])


def test_the_order_of_rollouts_and_a_shift_of_rewards_change_nothing() -> None:
    answers = [("ab", 0.75), ("a", 0.25), ("cc", 0.25), ("b", 0.5)]
    one = counts(group("t", answers))
    for other in (
        counts(group("t", answers[::-1])),
        counts(group("t", [(text, r + 0.25) for text, r in answers if r])),
    ):
        assert other.won == pytest.approx(one.won)
        assert other.lost == pytest.approx(one.lost)


def wanted(tasks: int, right: str = "a", wrong: str = "b") -> list[Group]:
    return [group(f"task {number}", [(right, 1.0)] * 3 + [(wrong, 0.0)] * 3) for number in range(tasks)]


def test_what_winners_say_is_favoured_where_many_tasks_agree() -> None:
    kept = {entry.piece: entry for entry in surviving_log_odds((), [counts(*wanted(8))], PIECES, SETTINGS)}
    assert set(kept) == {b"a", b"b"}
    assert kept[b"a"].bias > 1
    assert kept[b"b"].bias == pytest.approx(-kept[b"a"].bias)
    assert kept[b"a"].evidence == 8
    assert kept[b"a"].z > 2


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_z_is_that_of_the_paper_whatever_the_temperature_and_the_cuts(temperature: float) -> None:
    found = counts(*wanted(8), temperature=temperature)
    delta, variance = log_odds(found.won.sum(axis=0), found.lost.sum(axis=0), found.prior)
    for settings in (SETTINGS, replace(SETTINGS, kl_limit=0.02)):
        kept = {entry.token: entry.z for entry in surviving_log_odds((), [found], PIECES, settings)}
        assert kept[0] == pytest.approx(delta[0] / variance[0] ** 0.5)


def test_words_of_single_tasks_never_enter() -> None:
    own = [group(f"t{place}", [(chr(101 + place) * 9, 1.0), ("b", 0.0)]) for place in range(8)]
    assert {entry.piece for entry in surviving_log_odds((), [counts(*own)], PIECES, SETTINGS)} == {b"b"}


def test_a_token_that_some_tasks_want_and_others_do_not_is_shrunk_away() -> None:
    both = [*wanted(6), *(group(f"other {place}", [("b", 1.0)] * 3 + [("a", 0.0)] * 3) for place in range(6))]
    assert surviving_log_odds((), [counts(*both)], PIECES, SETTINGS) == ()


def test_a_step_is_cut_at_what_the_kl_limit_allows_and_the_sum_at_the_cap() -> None:
    settings = replace(SETTINGS, kl_limit=0.02, bias_cap=0.5)
    paths = log_odds_path({}, [counts(*wanted(8))] * 4, settings)
    assert [path[0] for path in paths] == pytest.approx([0.2, 0.4, 0.5, 0.5])


def test_a_bias_is_scaled_to_the_temperature_that_it_acts_at() -> None:
    warm, cold = (log_odds_path({}, [counts(*wanted(1), temperature=t)], SETTINGS)[0][0] for t in (1.0, 0.5))
    assert 0 < warm < SETTINGS.bias_cap
    assert warm == pytest.approx(2 * cold)


def test_late_steps_weigh_more_in_what_is_kept() -> None:
    first, silence = counts(*wanted(8)), counts(group("t", [("a", 1.0), ("a", 0.0)]))
    (once,) = (entry for entry in surviving_log_odds((), [first, silence], PIECES, SETTINGS) if entry.token == 0)
    (late,) = (entry for entry in surviving_log_odds((), [silence, first], PIECES, SETTINGS) if entry.token == 0)
    assert late.bias == pytest.approx(once.bias * 2 / 3, rel=1e-3)


def test_what_was_inherited_stays_where_nothing_new_was_said() -> None:
    before = (TokenBias(25, b"z", 1.5, 4.0, 9),)
    assert surviving_log_odds(before, [], PIECES, SETTINGS) == before
    kept = {
        entry.token: entry for entry in surviving_log_odds(before, [counts(*wanted(8))], {0: b"a", 1: b"b"}, SETTINGS)
    }
    assert kept[25] == before[0]
    assert set(kept) == {0, 1, 25}


def test_no_more_entries_are_kept_than_the_settings_allow() -> None:
    assert len(surviving_log_odds((), [counts(*wanted(8))], PIECES, replace(SETTINGS, bias_entries=1))) == 1
