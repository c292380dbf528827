"""`--amplify` from the shell: its rounds are made and told, what they come to races, and what cannot be is said."""

import json
from pathlib import Path

from benchmarks.amplification import simulated, sums
from tests.cli.shell import one_line, tfgrpo
from tests.routing import served
from tfgrpo.store import Store
from tfgrpo.testing import ScriptedModel


def test_what_was_amplified_races_and_is_part_of_the_run(folder: Path) -> None:
    tasks = [{"input": task.prompt, "answer": task.answer} for task in sums(12)]
    Path("tasks.jsonl").write_text("\n".join(map(json.dumps, tasks)))
    small = ("--steps", "1", "--group-size", "6", "--no-experiences", "--gate", "none", "--reward", "numeric")
    with served(ScriptedModel(simulated).app) as url:
        at = ("tasks.jsonl", "--base-url", url, "--model", "fake", *small)
        ran = tfgrpo("learn", *at, "--amplify", "2")
        assert ran.exit_code == 0
        with Store("tfgrpo.db") as store:
            (entry,) = store.runs()
            spent = store.spent_by_stage(entry.run.id)["rollout amplify"].calls
        assert spent == 2 * 6 * len(entry.run.tasks)
        assert entry.run.settings["amplify"] == 2
        notes = entry.run.result["notes"]
        assert [note for note in notes if note.startswith("amplification, round 2:")]
        assert "4 long verified answers" in str(entry.run.result["race"])
        assert "1 step and 2 of --amplify" in ran.stderr
        for other in (["--no-race"], ["--no-demonstrations"], ["--recipe", "paper"], ["--command", "cat {input}"]):
            one_line(tfgrpo("learn", *at, "--amplify", "2", *other), "--amplify lets answers of plain calls race")
        one_line(tfgrpo("learn", *at, "--amplify", "-1"), "amplify is -1", "at least 0")
