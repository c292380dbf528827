"""The learning that an autopilot has done by another process."""

from pathlib import Path

import pytest

from tfgrpo.deployment.child import ChildLearner
from tfgrpo.errors import ModelError
from tfgrpo.store import Store


def test_it_learns_in_the_store_that_was_given_and_no_command_line_shows_a_password(tmp_path: Path) -> None:
    learner = ChildLearner("postgresql://anna:geheim@127.0.0.1:1/x", "default", ["--model", "a-model"])
    assert "geheim" not in str(learner._command)
    with Store(tmp_path / "t.db") as store, pytest.raises(ModelError, match=r"@127.*refused") as raised:
        learner(store, 10)
    assert "geheim" not in str(raised.value)
