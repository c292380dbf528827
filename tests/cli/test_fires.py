"""`experience fires`, and triggers that a person writes."""

import json
from pathlib import Path

from tests.cli.shell import FRAME, TASK, one_line, tfgrpo, works
from tfgrpo.records import Group, Message, Rollout, Run
from tfgrpo.store import Store

CALLED: tuple[Message, ...] = (
    {"role": "user", "content": "go"},
    {"role": "assistant", "content": "I call it."},
    {"role": "tool", "content": "no such file"},
    {"role": "assistant", "content": "Done."},
)


def test_how_often_a_trigger_fires_is_counted_over_a_run(folder: Path) -> None:
    with Store("tfgrpo.db") as store:
        store.add_tasks([TASK])
        run, _ = store.begin(Run("learn", "default", FRAME, {}, (TASK.id,), "exact"))
        store.add_group(run.id, Group(TASK, 0, (Rollout(TASK, 0, 0, "prior_0", messages=CALLED, reward=1.0),)))
    one_line(tfgrpo("experience", "fires", run.id), "no experience", "--trigger")
    works("experience", "add", "[on tool error] Read the message before you call again.")
    assert "it fires at 1 of 2 turns (50%)" in works("experience", "fires", run.id).stdout
    (told,) = json.loads(works("experience", "fires", run.id, "--trigger", "turn 9", "--json").stdout)
    assert (told["fired"], told["turns"], told["text"]) == (0, 2, "turn 9")
    assert "never fires" in works("experience", "fires", run.id, "--trigger", "says nothing").stdout
    one_line(tfgrpo("experience", "fires", run.id, "--trigger", "often"), "[on often] is no trigger")
    one_line(tfgrpo("experience", "fires", run.id, "--trigger", "[tool error]"), "is none", "without brackets")
    one_line(tfgrpo("experience", "add", "[on tol error] Stop."), "no trigger", "[on tool error]")
