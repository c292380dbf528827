"""Which prior was served, how two differ, and who descends from whom."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.tables import each
from tfgrpo.priors.versions import BiasChange, changes, model_notice, run_behind, served, tree
from tfgrpo.records import Demonstration, Experience, Frame, Prior, PriorState, Snapshot, TokenBias
from tfgrpo.store import LineageEntry, Namespace

FRAME = Frame("m")


def event(prior: str, state: PriorState) -> LineageEntry:
    return LineageEntry(prior, state, FRAME, "", "rule", "", "")


@each(
    ("events", "expected"),
    [
        ([], ""),
        ([("a", "candidate"), ("a", "rejected")], ""),
        ([("a", "ungated"), ("b", "live"), ("a", "superseded")], "ab"),
        ([("a", "ungated"), ("a", "live")], "a"),
        ([("a", "live"), ("a", "rolled back")], ""),
        ([("a", "live"), ("b", "live"), ("a", "superseded"), ("a", "live"), ("b", "superseded")], "aba"),
        ([("a", "live"), ("b", "live"), ("a", "live"), ("b", "rolled back")], "a"),
        ([("a", "live"), ("b", "live"), ("b", "rolled back"), ("a", "live")], "a"),
        ([("a", "live"), ("b", "live"), ("c", "live"), ("b", "live"), ("c", "rolled back")], "ab"),
        ([("a", "live"), ("b", "rolled back")], "a"),
    ],
)
def test_what_was_served_leaves_out_what_was_rolled_back(
    events: Sequence[tuple[str, PriorState]], expected: str
) -> None:
    assert "".join(entry.prior for entry in served(event(*one) for one in events)) == expected


def test_a_prior_that_went_live_again_has_its_last_state() -> None:
    assert [entry.state for entry in served([event("a", "ungated"), event("a", "live")])] == ["live"]


ONE, TWO, THREE = (Experience(text) for text in ("one", "two", "three"))
KEPT, WEAK, STRONG, GONE = (
    TokenBias(1, b"a", 1.0, 2.0, 4), TokenBias(2, b"b", 1.0, 2.0, 4), TokenBias(2, b"b", 2.0, 3.0, 4),
    TokenBias(3, b"c", -1.0, 2.0, 4),
)  # fmt: skip


def test_a_difference_names_what_came_what_went_and_what_changed() -> None:
    found = changes(Prior((ONE, TWO), (KEPT, WEAK, GONE), "t", "1"), Prior((TWO, THREE), (KEPT, STRONG), "u", "1"))
    assert (found.added, found.removed, found.reordered) == ((THREE,), (ONE,), False)
    assert found.biases == (BiasChange(2, b"b", 1.0, 2.0), BiasChange(3, b"c", -1.0, None))
    assert found.settings == {"tokenizer": ("t", "u")}


def test_a_prior_does_not_differ_from_itself() -> None:
    prior = Prior((ONE, TWO), (KEPT,), "t", "1")
    found = changes(prior, prior)
    assert (found.added, found.removed, found.biases, found.reordered, found.settings) == ((), (), (), False, {})


def test_another_order_is_a_difference() -> None:
    assert changes(Prior((ONE, TWO)), Prior((TWO, ONE))).reordered


FIRST, SECOND, THIRD = (Demonstration(text, text.upper()) for text in ("first", "second", "third"))


def test_a_difference_names_what_is_shown_and_what_no_longer_is() -> None:
    before = Prior(instruction="Count.", demonstrations=(FIRST, SECOND))
    found = changes(before, Prior(demonstrations=(SECOND, THIRD), nearest=1))
    assert (found.shown, found.no_longer_shown, found.reshuffled) == ((THIRD,), (FIRST,), False)
    assert found.settings == {"instruction": ("Count.", None), "nearest": (None, "1")}


def test_another_order_of_demonstrations_is_a_difference() -> None:
    found = changes(Prior(demonstrations=(FIRST, SECOND)), Prior(demonstrations=(SECOND, FIRST)))
    assert (found.shown, found.no_longer_shown, found.reshuffled, found.reordered) == ((), (), True, False)


@pytest.mark.parametrize(
    ("events", "run"),
    [
        ([], ""),
        ([("ungated", "run_a"), ("superseded", "run_b")], "run_a"),
        ([("candidate", ""), ("superseded", "run_b")], ""),
        ([("candidate", ""), ("live", "run_c"), ("rolled back", "")], "run_c"),
    ],
)
def test_the_run_behind_a_prior_is_not_the_one_that_superseded_it(
    events: Sequence[tuple[PriorState, str]], run: str
) -> None:
    assert run_behind(replace(event("a", state), run=name) for state, name in events) == run


def test_priors_stand_under_their_parents() -> None:
    root, other = Prior((ONE,)), Prior((TWO,), parent="prior_elsewhere")
    first, last = Prior((ONE, TWO), parent=root.id), Prior((ONE, THREE), parent=root.id)
    grandchild = Prior((ONE, TWO, THREE), parent=first.id)
    drawn = [(branch, prior) for branch, prior in tree([root, other, first, grandchild, last])]
    assert drawn == [("", root), ("├─ ", first), ("│  └─ ", grandchild), ("└─ ", last), ("", other)]


@each(
    ("bound", "live", "model", "told"),
    [
        (None, None, "m", None),
        ("m", None, "m", None),
        ("m", None, "n", "learned on m, and this is n"),
        ("m", "n", "n", None),
        ("m", "n", "m", "learned on n, and this is m"),
        ("gpt-4.1-mini", None, "openai/gpt-4.1-mini-2025-04-14", None),
        ("gpt-4.1-mini", None, "gpt-4.1", "learned on gpt-4.1-mini, and this is gpt-4.1"),
    ],
)
def test_another_model_is_noticed(bound: str | None, live: str | None, model: str, told: str | None) -> None:
    known = [Namespace("other", "x"), Namespace("math", bound)]
    snapshot = Snapshot("math", Prior(), "live", Frame(live)) if live else None
    notice = model_notice("math", known, snapshot, model)
    assert (notice is None) if told is None else (notice is not None and told in notice)
