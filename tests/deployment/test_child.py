"""The learning that an autopilot has done by another process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.shell import PATIENCE
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


def test_a_learning_that_cannot_be_started_has_failed() -> None:
    """Else it would be begun again at each look."""
    learner = ChildLearner(None, "default", [])
    learner._command[0] = "/nowhere/python"
    with pytest.raises(ModelError, match="could not be started: No such file"):
        learner(None, 10)  # pyrefly: ignore[bad-argument-type]  # it opens the store itself


def test_it_ends_with_the_autopilot_however_that_ends(tmp_path: Path) -> None:
    """The autopilot's end is stood for by the end of the pipe that it holds: kill -9 closes it, too."""
    waits = "import time\nfrom tfgrpo.cli.streams import end_when_alone\nend_when_alone()\ntime.sleep(3600)"
    read, held = os.pipe()
    child = subprocess.Popen([sys.executable, "-c", waits], stdin=read)
    os.close(read)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.3)
    os.close(held)
    assert child.wait(PATIENCE) < 0
    ends_itself = waits.replace("time.sleep(3600)", "raise SystemExit(3)")
    ended = subprocess.Popen([sys.executable, "-c", ends_itself], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert ended.wait(PATIENCE) == 3
    ended.communicate()
    assert "--until-alone" in ChildLearner(None, "default", [])._command


def test_a_ceiling_of_its_own_holds_within_what_is_left_of_the_day() -> None:
    given = {(): 90, ("--max-calls", "50"): 50, ("--max-calls=50", "--seed", "1"): 50, ("--max-calls", "500"): 90}
    assert {options: ceiling_within(90, options) for options in given} == given
    assert ceiling_within(90, ["--max-calls"]) == ceiling_within(90, ["--max-calls", "many"]) == 90
