"""The nearest of a pool are the nearest, on any machine, in any language, in whatever order the pool stands."""

import math
import unicodedata
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.surfaces.vectors import drawn
from tests.tables import each
from tfgrpo.surfaces.nearest import (
    BUCKETS,
    LONGEST,
    alike,
    compact,
    nearest,
    nearest_by_vector,
    pool_of,
    shingles,
    vector_in,
    vector_pool_of,
)

KOREAN = ("영수증을 다시 보내 주세요", "비밀번호를 잊어버렸어요", "결제가 두 번 되었어요", "앱이 자꾸 꺼져요")
ARABIC = ("أين فاتورتي لهذا الشهر؟", "نسيت كلمة المرور", "تم خصم المبلغ مرتين", "التطبيق يتوقف باستمرار")
CODE = (
    "def area(r): return 3.14 * r ** 2",
    "for (int i = 0; i < n; i++) sum += a[i];",
    "SELECT name FROM users WHERE id = ?",
    "<p>Hello</p>",
)

alphabet = st.sampled_from(["a", "b", "c", " ", "영", "수", "ف", "ب", "{", ";", "É", "ß", "\n"]) | st.characters()
texts = st.text(alphabet, max_size=40)
pools = st.lists(texts, max_size=12)


def buckets(text: str) -> set[int]:
    """As `shingles`, a trigram at a time."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} {text[-LONGEST // 2 :]}"
    plain = f" {' '.join(unicodedata.normalize('NFC', text).casefold().split())} "
    found = set()
    for place in range(len(plain) - 2):
        first, second, third = map(ord, plain[place : place + 3])
        hashed = (first * 0x9E3779B1 + second * 0x85EBCA77 + third * 0xC2B2AE3D) % 2**32
        hashed = (hashed ^ (hashed >> 15)) * 0x2C1B3C6D % 2**32
        found.add(hashed >> 21)
    return found


def likeness(pool: Sequence[str], answers: Sequence[object], text: str) -> list[float]:
    """How near each text of a pool is, by the formula."""
    sets, asked = [buckets(one) for one in pool], buckets(text)

    def squared(bucket: int) -> float:
        having = {answer for one, answer in zip(sets, answers, strict=True) if bucket in one}
        return math.log((1 + len({*answers})) / len(having)) ** 2

    lengths = [math.sqrt(sum(map(squared, one))) for one in sets]
    return [sum(map(squared, one & asked)) / (length or 1) for one, length in zip(sets, lengths, strict=True)]


def test_what_is_said_whatever_the_answer_does_not_choose() -> None:
    asked = ("I need a new {}", "Where can I bring back a {}", "Somebody broke my {}")
    held = {"garage": ("tyre", "wheel"), "kitchen": ("plate", "kettle"), "office": ("stapler", "ruler")}
    said = [(desk, thing, text) for desk, things in held.items() for thing in things for text in asked]
    shown = [(desk, text.format(thing)) for place, (desk, thing, text) in enumerate(said) if place % 2]
    texts_shown, desks = [text for _, text in shown], [desk for desk, _ in shown]

    def found(answers: list[str] | None) -> int:
        ready = pool_of(texts_shown, answers)
        return sum(desks[nearest(ready, text.format(thing), 1)[0]] == desk for desk, thing, text in said[::2])

    assert found(desks) == len(said[::2]) == 9
    assert found(None) < 9


@given(texts)
@example("\ud83d")
@example("É" * 2_000)
def test_a_text_is_its_trigrams(text: str) -> None:
    found = shingles(text)
    assert set(found.tolist()) == buckets(text)
    assert (np.diff(found.astype(np.int64)) > 0).all()
    assert (found < BUCKETS).all()


@given(pools, st.sampled_from([1, 2, 3, None]), texts, st.integers(0, 15))
@settings(deadline=None)
def test_the_nearest_are_those_of_a_slow_search(pool: list[str], labels: int | None, text: str, k: int) -> None:
    answers = [str(place % labels if labels else place) for place in range(len(pool))]
    ready = pool_of(pool, answers) if labels else pool_of(pool)
    found, near = nearest(ready, text, k), likeness(pool, answers, text)
    assert len(set(found)) == len(found) == min(k, len(pool))
    chosen = [near[place] for place in found]
    left = [near[place] for place in range(len(pool)) if place not in found]
    close = 1e-4  # a hundred roundings
    assert all(after <= before + close for before, after in pairwise(chosen))
    assert all(one <= chosen[-1] + close for one in left if chosen)


@given(pools, texts, st.integers(0, 15), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_the_pool_matters_for_nothing_but_ties(pool: list[str], text: str, k: int, draw: Random) -> None:
    other = draw.sample(pool, len(pool))
    near = dict(zip(pool, pool_of(pool).terms[shingles(text)].sum(axis=0).tolist(), strict=True))
    chosen, again = ([near[of[place]] for place in nearest(pool_of(of), text, k)] for of in (pool, other))
    assert chosen == again


@given(st.lists(texts, min_size=1, max_size=6), texts)
@settings(deadline=None)
def test_of_equals_the_earlier_one_comes_first(pool: list[str], text: str) -> None:
    found = nearest(pool_of(pool + pool), text, 2 * len(pool))
    assert all(found.index(place) < found.index(place + len(pool)) for place in range(len(pool)))


@pytest.mark.parametrize("pool", [KOREAN, ARABIC, CODE])
def test_a_text_is_nearest_to_itself_whatever_its_language_case_and_spaces(pool: tuple[str, ...]) -> None:
    ready = pool_of(pool)
    for place, text in enumerate(pool):
        assert nearest(ready, text, 1) == (place,)
        decomposed = unicodedata.normalize("NFD", text).upper().replace(" ", " \n\t")
        assert nearest(ready, decomposed, 1) == (place,)


@pytest.mark.parametrize(
    ("asked", "place"), [("비밀번호를 바꾸고 싶어요", 1), ("결제가 안 되었어요", 2), ("영수증 보내 줘", 0)]
)
def test_what_shares_words_is_nearer(asked: str, place: int) -> None:
    assert nearest(pool_of(KOREAN), asked, 1) == (place,)


@each(
    ("text", "found"),
    [
        ("", []),
        ("a", [1287]),
        ("Where?", [67, 724, 806, 1196, 1346, 1712]),
        ("영수증", [906, 1000, 1641]),
        ("أين", [922, 1562, 1988]),
    ],
)
def test_the_hash_is_the_same_on_every_machine(text: str, found: list[int]) -> None:
    assert shingles(text).tolist() == found


def test_the_end_of_a_long_text_is_looked_at_too() -> None:
    head = "x y " * 1_000
    pool = pool_of([f"{head} {one}" for one in KOREAN])
    assert [nearest(pool, f"{head} {one}", 1) for one in KOREAN] == [(0,), (1,), (2,), (3,)]


def test_nothing_is_nearest_in_an_empty_pool() -> None:
    assert nearest(pool_of([]), "Where?", 8) == ()


def test_an_empty_text_gets_the_first_of_a_pool() -> None:
    assert nearest(pool_of(KOREAN), "", 2) == (0, 1)


def test_two_texts_are_alike_by_the_cosine_of_what_both_have() -> None:
    assert alike("Where is my parcel?", "where  is my PARCEL?") == 1.0
    assert alike("", "x") == alike("", "") == alike("abc", "xyz") == 0.0
    both = len(set(shingles("where is it").tolist()) & set(shingles("where was it").tolist()))
    assert alike("where is it", "where was it") == both / math.sqrt(
        len(shingles("where is it")) * len(shingles("where was it"))
    )


# By vectors

numbers = st.floats(-1e300, 1e300, allow_nan=False)
vector_pools = st.integers(1, 40).flatmap(
    lambda size: st.tuples(
        st.lists(st.lists(numbers, min_size=size, max_size=size), min_size=1, max_size=12),
        st.lists(numbers, min_size=size, max_size=size),
    )
)


def brute_force(pool: Sequence[str], asked: str, k: int) -> list[int]:
    """The places of the greatest cosines, in whole numbers without rounding; of those equally near the earlier."""
    given = list(map(int, vector_in(asked)))

    def nearness(vector: Sequence[int]) -> Fraction:
        dot = sum(one * other for one, other in zip(vector, given, strict=True))
        return Fraction(dot * abs(dot), sum(one * one for one in vector))

    near = [nearness(list(map(int, vector_in(text)))) for text in pool]
    return sorted(range(len(pool)), key=lambda place: (-near[place], place))[:k]


@given(vector_pools, st.integers(1, 6))
def test_the_nearest_by_vectors_are_those_of_the_greatest_cosine(
    given_pool: tuple[list[list[float]], list[float]], k: int
) -> None:
    pool, asked = [text for vector in given_pool[0] if (text := compact(vector))], compact(given_pool[1])
    if pool and asked:
        assert list(nearest_by_vector(vector_pool_of(pool), asked, k)) == brute_force(pool, asked, k)


@given(st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=1, max_size=3_000))
def test_a_compact_vector_points_where_the_vector_does(vector: list[float]) -> None:
    found = vector_in(compact(vector)).astype(np.float64)
    if not any(vector):
        assert len(found) == 0
        return
    one = np.array(vector) / max(map(abs, vector))
    cosine = (one @ found) / (math.hypot(*one) * math.hypot(*found))
    assert cosine > 0.97
    assert found @ found < 2**24, "floats of 32 bits hold every sum exactly"


def test_pools_of_many_vectors_are_searched_as_a_whole() -> None:
    pool = [compact(drawn(number, 1_000)) for number in range(700)]
    for seed in (700, 701):
        asked = compact(drawn(seed, 1_000))
        assert list(nearest_by_vector(vector_pool_of(pool), asked, 16)) == brute_force(pool, asked, 16)


@each("text", ["", "no base64", "AAAA", "é", "AAA"])
def test_what_is_no_compact_vector_has_no_numbers(text: str) -> None:
    assert len(vector_in(text)) == 0


def test_a_vector_of_another_length_has_no_nearest() -> None:
    pool = vector_pool_of([compact([1.0, 2.0]), compact([2.0, 1.0])])
    assert nearest_by_vector(pool, compact([1.0, 2.0, 3.0]), 1) == ()
    assert nearest_by_vector(vector_pool_of([compact([1.0, 2.0]), ""]), compact([1.0, 2.0]), 1) == ()
    assert [compact(given) for given in ([], [0.0], [math.inf, 1.0], [math.nan])] == [""] * 4
