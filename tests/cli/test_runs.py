"""`runs list` and `runs show`."""

import json
from pathlib import Path

from tests import stories
from tests.cli.shell import works
from tfgrpo.records import Prior
from tfgrpo.store import Store


def test_runs_are_listed_and_shown(priors: tuple[Prior, Prior]) -> None:
    (told,) = json.loads(works("runs", "list", "--json").stdout)
    assert (told["status"], told["usage"]["calls"], told["tasks"]) == ("finished", 3, 1)
    assert told["id"] in works("runs", "list").stdout
    assert json.loads(works("runs", "list", "--namespace", "math", "--json").stdout) == []
    assert "no run yet" in works("runs", "list", "--namespace", "math").stdout
    text = works("runs", "show", told["id"][:9]).stdout
    assert "step 1: 1 rollout, mean reward 100.0%" in text
    assert "model m, reward exact, 1 task\n" in text
    shown = json.loads(works("runs", "show", told["id"], "--json").stdout)
    assert told.items() <= shown.items()


async def test_a_run_shows_how_it_ended_what_it_made_and_at_what_cost(folder: Path) -> None:
    with Store("tfgrpo.db") as store:
        run, prior = await stories.tell(store)
    listed = works("runs", "list").stdout
    assert "41.2% -> 58.8%" in listed
    assert "770" in listed
    text = works("runs", "show", run.id).stdout
    for line in (
        "Ungated: no test has passed it",
        "7 calls (probe 1, rollout 4, contrast 2), 700 + 70 tokens",
        "groups: 1 hopeless, 3 mixed, 1 solved, 1 unscored; 7 rollouts failed",
        "experiences: 1 kept, 2 refused, 1 retired",
        f"made {prior.id} (1 experience, 2 token biases), ungated",
        "14 rollouts failed: timed out",
        "note: step 1: 1 groups could not be distilled: no JSON",
    ):
        assert line in text
    shown = json.loads(works("runs", "show", run.id, "--json").stdout)
    assert shown["verdict"]["title"] == "Ungated: no test has passed it"
    assert shown["steps"][0]["reward"]["mean"] == shown["mean_rewards"][0] == 7 / 17


async def test_a_run_that_is_cut_short_shows_what_it_has_cost_so_far(folder: Path) -> None:
    with Store("tfgrpo.db") as store:
        run = await stories.begin(store)
    (told,) = json.loads(works("runs", "list", "--json").stdout)
    assert (told["status"], told["usage"]["calls"]) == ("running", 7)
    assert "Running, or killed" in works("runs", "show", run.id).stdout
    with Store("tfgrpo.db") as store:
        store.end(run.id, "failed", store.spent(run.id), {"error": "no such model\x1b[2J"})
    text = works("runs", "show", run.id).stdout
    assert "Failed. no such model\\x1b[2J" in text
