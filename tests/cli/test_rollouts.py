"""`tfgrpo rollouts`: the worst and the best, those of a task or a step, and which tasks moved."""

import json
from collections.abc import Sequence
from pathlib import Path

from tests.cli.shell import FRAME, one_line, tfgrpo, works
from tests.report.test_page import Page
from tfgrpo.records import Group, Rollout, Run, Task
from tfgrpo.report import gather_figures, render_page
from tfgrpo.report.extremes import best_of, moved_tasks, rollouts_of, worst_of
from tfgrpo.store import Store

TASKS = (Task("ask one", "yes", {"id": "one"}), Task("ask two", "no"), Task("ask three", "yes"))
EVIL = "\x1b[2Jno\nway"


def group(task: Task, step: int, rewards: Sequence[float | None], text: str = "maybe") -> Group:
    made = (
        Rollout(task, step, n, "prior", text=text, reward=reward, error="timed out" if reward is None else None)
        for n, reward in enumerate(rewards)
    )
    return Group(task, step, tuple(made))


GROUPS = (
    group(TASKS[0], 0, (0.0, 0.0), EVIL),
    group(TASKS[1], 0, (1.0, 1.0)),
    group(TASKS[2], 0, (0.0, None)),
    group(TASKS[0], 1, (1.0, 0.0)),
    group(TASKS[1], 1, (0.0, 1.0)),
    group(TASKS[2], 1, (None, None)),
)


def test_the_worst_and_the_best_are_of_many_tasks() -> None:
    found = rollouts_of(GROUPS)
    assert [one.error for one in worst_of(found, 3)] == ["timed out"] * 3
    assert [one.task for one in best_of(found, 2)] == [TASKS[1], TASKS[0]]
    scored = [one for one in found if one.reward is not None]
    assert [one.task for one in worst_of(scored, 3)] == [TASKS[0], TASKS[2], TASKS[1]]
    assert all(one.reward is not None for one in best_of(found, 99))


def test_tasks_that_moved_are_named_the_largest_gain_first() -> None:
    moved = moved_tasks(GROUPS)
    assert [(one.task, one.first, one.last, one.steps) for one in moved] == [
        (TASKS[0], 0.0, 0.5, (1, 2)),
        (TASKS[1], 1.0, 0.5, (1, 2)),
    ]


def stored() -> str:
    with Store("tfgrpo.db") as store:
        store.add_tasks(TASKS)
        run, _ = store.begin(Run("learn", "default", FRAME, {}, tuple(task.id for task in TASKS), "exact"))
        for one in GROUPS:
            store.add_group(run.id, one)
        return run.id


def test_a_run_shows_its_rollouts_and_never_what_a_terminal_obeys(folder: Path) -> None:
    run = stored()
    text = works("rollouts", run).stdout
    assert "\x1b" not in text
    for line in ("worst:", "best:", "1 task got better:", "1 task got worse:", "  0.0% -> 50.0%  one  (step 1 to 2"):
        assert line in text
    of_one = works("rollouts", run, "--task", "one", "--step", "1").stdout
    assert of_one.count("said: \\x1b[2Jno\\nway") == 2
    assert of_one.count("answer: yes") == 2
    assert "ask two" not in of_one
    assert works("rollouts", run[:9], "--task", TASKS[1].id[:12], "--best", "1").stdout.count("reward 1.00") == 1


def test_a_run_shows_its_rollouts_as_json(folder: Path) -> None:
    run = stored()
    told = json.loads(works("rollouts", run, "--worst", "1", "--json").stdout)
    (worst,) = told["worst"]
    assert "best" not in told
    assert (worst["error"], worst["reward"], worst["input"]) == ("timed out", None, "ask three")
    assert [entry["name"] for entry in told["moved"]] == ["one", "ask two"]
    assert len(json.loads(works("rollouts", run, "--step", "2", "--json").stdout)["rollouts"]) == 6


def test_what_is_not_there_is_told_in_one_line(folder: Path) -> None:
    run = stored()
    one_line(tfgrpo("rollouts", run, "--task", "nobody"), "no rollouts with --task 'nobody'", "steps 1 to 2")
    one_line(tfgrpo("rollouts", "run_nowhere"), "run_nowhere", "runs list")
    with Store("tfgrpo.db") as store:
        other, _ = store.begin(Run("learn", "other", FRAME, {}, (), "exact"))
    one_line(tfgrpo("rollouts", other.id), "has no rollouts in the store")


def test_the_page_shows_the_same(folder: Path) -> None:
    run = stored()
    with Store("tfgrpo.db") as store:
        page = Page(render_page(gather_figures(store, run)))
    assert page.numbers["moved"] == [0.0, 0.5, 1.0, 0.5]
    assert "timed out" in page.words["page"]
    assert "answer: no" in page.words["page"]
