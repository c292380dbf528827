"""`forecast RUN`."""

import json
from pathlib import Path
from typing import Literal

from tests.cli.shell import FRAME, one_line, tfgrpo, works
from tests.stories import TASKS, group_of
from tfgrpo.records import Prior, Run
from tfgrpo.store import Store

RISING = (0.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), (1.0, 1.0, 0.0, 0.0), (1.0, 1.0, 1.0, 0.0)


def begun(kind: Literal["learn", "eval", "explore"], *steps: tuple[float | None, ...], last: int | None = None) -> str:
    """A run whose groups got the same rewards in a step; `last`: so many tasks of the last step are there."""
    with Store("tfgrpo.db") as store:
        store.add_tasks(TASKS)
        run, _ = store.begin(Run(kind, "default", FRAME, {}, tuple(task.id for task in TASKS), "exact"), fresh=True)
        for step, rewards in enumerate(steps):
            for task in TASKS[:last] if step + 1 == len(steps) else TASKS:
                store.add_group(run.id, group_of(task, step, rewards))
        return run.id


def test_a_run_is_forecast_for_people_and_programs(folder: Path) -> None:
    run = begun("learn", *RISING)
    said = works("forecast", run).stdout
    assert (
        "mean reward over all tasks by step, of those that rest as last seen: 0.0% -> 25.0% -> 50.0% -> 75.0%" in said
    )
    assert "at 192 rollouts" in said
    told = json.loads(works("forecast", run[:9], "--json").stdout)
    assert told["run"] == run
    assert told["doubled"]["median"] > 0.75
    assert not told["flat"]
    assert "falls" in works("forecast", begun("learn", *reversed(RISING))).stdout


def test_a_step_that_was_cut_short_is_left_out(folder: Path) -> None:
    run = begun("learn", *RISING, last=1)
    said = works("forecast", run).stdout
    assert "as last seen: 0.0% -> 25.0% -> 50.0%\n" in said
    assert "step 4 has not ended, and is left out" in said
    short = begun("learn", *RISING[:3], last=1)
    one_line(tfgrpo("forecast", short), "2 steps and one that has not ended", "needs 3")


def test_what_cannot_be_forecast_says_why(folder: Path, priors: tuple[Prior, Prior]) -> None:
    one_line(tfgrpo("forecast", begun("learn", *RISING[:2])), "2 steps", "needs 3", "--steps")
    one_line(tfgrpo("forecast", begun("eval")), "evaluation", "learns nothing")
    one_line(tfgrpo("forecast", begun("explore")), "exploration", "has no steps")
    one_line(tfgrpo("forecast", begun("learn")), "no reward yet")
    one_line(tfgrpo("forecast", begun("learn", (None,) * 4, (None,) * 4, (None,) * 4)), "no reward yet")
    one_line(tfgrpo("forecast", "run_nope"), "no run run_nope")
