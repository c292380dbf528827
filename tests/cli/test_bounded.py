"""`--bounded` from the shell: rollouts of learning and of eval are written in chunks, and what cannot be is said."""

import json
from pathlib import Path

from tests.cli.shell import one_line, tfgrpo, works
from tests.rollouts.test_bounded import counting
from tests.routing import served
from tfgrpo.store import Store
from tfgrpo.testing import ScriptedModel

BOUNDED = ("--bounded", "64:32:12")
COUNTS = "".join(f"{number} " for number in range(1, 401)).strip()


def test_learning_and_eval_write_their_answers_in_chunks(folder: Path) -> None:
    tasks = [{"input": f"Count from 1 to 400, way {way}.", "answer": COUNTS} for way in range(3)]
    Path("tasks.jsonl").write_text("\n".join(map(json.dumps, tasks)))
    small = ("--steps", "1", "--group-size", "2", "--no-experiences", "--no-race", "--gate", "none")
    with served(ScriptedModel(counting).app) as url:
        at = ("tasks.jsonl", "--base-url", url, "--model", "fake", *BOUNDED)
        told = works("learn", *at, *small)
        assert "was not seen to go on with an answer" in told.stderr + told.stdout
        with Store("tfgrpo.db") as store:
            (entry,) = store.runs()
            groups = store.groups(entry.run.id)
        rollouts = [rollout for group in groups for rollout in group.rollouts]
        assert [rollout.reward for rollout in rollouts] == [1.0] * 6
        assert {rollout.usage.calls for rollout in rollouts} == {12}
        assert entry.run.settings["bounded"] == "64:32:12"
        again = tfgrpo("learn", *at, *small, "--json")  # finished: a repeat is another run
        assert json.loads(again.stdout)["steps"][0]["mean_reward"] == 1.0
        one_line(tfgrpo("learn", *at[:-1], "32:64:8"), "bounded is '32:64:8'", "CARRY from 1 to below CHUNK")
        one_line(tfgrpo("learn", *at, "--command", "cat {input}"), "--bounded cuts answers of plain calls")
        Path("tools.json").write_text(json.dumps({"tools": [{"type": "function", "function": {"name": "f"}}]}))
        one_line(tfgrpo("learn", *at, "--request", "tools.json"), "--bounded: tools goes with no answer in chunks")
        Path("limit.json").write_text(json.dumps({"max_tokens": 100}))
        planned = json.loads(works("learn", *at, *small, "--request", "limit.json", "--dry-run", "--json").stdout)
        assert planned["calls"]["attempts"] == 3 * 2 * 3  # of 64, 32 and 4 tokens
