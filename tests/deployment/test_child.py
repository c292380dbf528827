"""The learning that an autopilot has done by another process."""

from pathlib import Path

import pytest

from tfgrpo.deployment.child import ChildLearner, ceiling_within
from tfgrpo.errors import ModelError
from tfgrpo.store import Store


def test_it_learns_in_the_store_that_was_given_and_no_command_line_shows_a_password(tmp_path: Path) -> None:
    learner = ChildLearner("postgresql://anna:geheim@127.0.0.1:1/x", "default", ["--model", "a-model"])
    assert "geheim" not in str(learner._command)
    with (
        Store(tmp_path / "t.db") as store,
        pytest.raises(ModelError, match=r"ended with status 1: .*@127.*refused") as raised,
    ):
        learner(store, 10)
    assert "geheim" not in str(raised.value)


def test_a_ceiling_of_its_own_holds_within_what_is_left_of_the_day() -> None:
    given = {(): 90, ("--max-calls", "50"): 50, ("--max-calls=50", "--seed", "1"): 50, ("--max-calls", "500"): 90}
    assert {options: ceiling_within(90, options) for options in given} == given
    assert ceiling_within(90, ["--max-calls"]) == ceiling_within(90, ["--max-calls", "many"]) == 90
