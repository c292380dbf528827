"""Ids, seeds and coins are the same everywhere, and as random as they need to be."""

import json
import math
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tables import each
from tfgrpo.hashing import PartsBefore, canonical, coin, content_id, derive_seed, last_part

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_the_canonical_text_is_the_value(value: object) -> None:
    assert json.loads(canonical(value)) == value
    assert canonical(json.loads(canonical(value))) == canonical(value)


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_the_order_of_keys_does_not_matter(fields: dict[str, int]) -> None:
    assert canonical(fields) == canonical(dict(reversed(fields.items())))


@each("value", [math.nan, math.inf, [math.nan], "\ud83d", {1}])
def test_what_json_cannot_carry_has_no_id(value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        content_id("task", value)


def test_parts_are_told_apart() -> None:
    parts: list[tuple[object, ...]] = [
        ("a", "b"),
        ("ab",),
        (["a", "b"],),
        ("a", ["b"]),
        ("a,b",),
        (1,),
        ("1",),
        (1.5,),
        (None,),
        (),
    ]
    assert len({content_id("x", *part) for part in parts}) == len(parts)
    assert len({derive_seed(*part) for part in parts}) == len(parts)


def test_ids_and_seeds_are_the_same_in_every_process_and_for_ever() -> None:
    program = "from tfgrpo.hashing import *; print(content_id('task', 'é', {'b': 1, 'a': 0.5}), derive_seed(0, 'é', 1))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["task_d6a33eaca9ab1f3e", "458882409"]
    assert content_id("task", "é", {"a": 0.5, "b": 1}) == "task_d6a33eaca9ab1f3e"


def test_seeds_fit_where_servers_take_them_and_spread_evenly() -> None:
    seeds = [derive_seed("run", number) for number in range(2000)]
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert len(set(seeds)) == 2000
    below = [seed < 2**30 for seed in seeds]
    assert 900 < sum(below) < 1100
    assert 400 < sum(one and other for one, other in pairwise(below)) < 600  # neighbours too


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_a_coin_falls_as_often_as_it_should(probability: float) -> None:
    falls = sum(coin(probability, "step", number) for number in range(4000))
    assert abs(falls / 4000 - probability) < 4 * math.sqrt(probability * (1 - probability) / 4000)


@given(values)
def test_a_coin_of_one_always_falls_and_of_zero_never(part: object) -> None:
    assert coin(1.0, part)
    assert not coin(0.0, part)


@given(values, st.floats(0, 1), st.floats(0, 1))
def test_a_likelier_coin_falls_wherever_a_less_likely_one_does(part: object, one: float, other: float) -> None:
    if coin(min(one, other), part):
        assert coin(max(one, other), part)


@given(st.lists(st.text() | st.integers() | st.none(), min_size=1, max_size=3), st.text(), st.floats(0, 1))
def test_parts_that_are_written_before_the_last_one_come_to_the_same(parts: list[object], last: str, p: float) -> None:
    before = PartsBefore(*parts)
    assert before.derive_seed(last_part(last)) == derive_seed(*parts, last)
    assert before.coin(p)(last_part(last)) == coin(p, *parts, last)
