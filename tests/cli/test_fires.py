"""`experience fires`, and triggers that a person writes."""

import asyncio
import json
from pathlib import Path

from tests.cli.shell import FRAME, TASK, one_line, tfgrpo, works
from tests.routing import served
from tests.surfaces.test_sureness import listed
from tfgrpo.records import CallKey, Experience, Group, Message, Prior, Rollout, Run, Usage
from tfgrpo.store import Store
from tfgrpo.testing import ScriptedModel

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
    with Store("tfgrpo.db") as store:
        other, _ = store.begin(Run("eval", "default", FRAME, {}, (TASK.id,), "exact"))
    one_line(tfgrpo("experience", "fires", other.id, "--trigger", "turn 1"), "no rollouts", "the run of a learning")
    one_line(tfgrpo("experience", "fires", run.id, "--trigger", "often"), "[on often] is no trigger")
    one_line(tfgrpo("experience", "fires", run.id, "--trigger", "[tool error]"), "is none", "without brackets")
    one_line(tfgrpo("experience", "add", "[on tol error] Stop."), "no trigger", "[on tool error]")


def test_a_threshold_is_learned_from_a_run_and_the_prior_tells_how_often_it_fires(folder: Path) -> None:
    with Store("tfgrpo.db") as store:
        store.add_tasks([TASK])
        run, _ = store.begin(Run("learn", "default", FRAME, {}, (TASK.id,), "exact"))
        made = [Rollout(TASK, 0, number, "prior_0", messages=CALLED, reward=1.0) for number in range(20)]
        store.add_group(run.id, Group(TASK, 0, tuple(made)))
        for number in range(20):
            choice = {"message": CALLED[1], "logprobs": {"content": [listed(0.98505 - number / 50, 0.005)]}}
            key, response = CallKey(run.id, "rollout", 0, TASK.id, number), json.dumps({"choices": [choice]})
            asyncio.run(store.record(key, f"request {number}", response, Usage(1, 1, 1)))
    add, margin = ("experience", "add", "Read it again before you go on."), ("--trigger", "margin", "--run", run.id)
    added = works(*add, *margin, "--quantile", "0.9")
    assert "it fires at 2 of 40 turns (5%)" in added.stdout
    (entry,) = json.loads(works("experience", "list", "--json").stdout)
    assert entry["text"] == "[on margin below 0.6400] Read it again before you go on."
    one_line(tfgrpo(*add, *margin, "--quantile", "2"), "the quantile is 2; it must be between 0 and 1")
    one_line(
        tfgrpo(*add, "--trigger", "margin", "--quantile", ".9"), "--quantile learns the threshold", "name all three"
    )
    one_line(tfgrpo(*add, *margin), "[on margin] is no trigger")
    one_line(tfgrpo(*add, "--run", run.id), "--run is for --trigger")
    one_line(tfgrpo(*add, "--trigger", "matches a("), "no pattern that can be used: a bracket is not closed")
    for wrong in ("matches [a-", "matches x[", "matches [z-a]"):
        one_line(tfgrpo(*add, "--trigger", wrong), f"[on {wrong}] has no pattern that can be used: ")
    one_line(
        tfgrpo("experience", "add", "[on matches [a-] Stop."), "[on matches [a-] has no pattern that can be used: "
    )
    for wrong in ("", "tool error] Stop. [on turn 3", "[on tool error"):
        one_line(tfgrpo(*add, "--trigger", wrong), "give one as `tool error`, without brackets")
    told = works("experience", "add", "--trigger", "like .2 no such file", "Look for it elsewhere first.").stdout
    assert "is on trial" in told
    assert "\nin " not in told
    prior = Prior((Experience(entry["text"]), Experience("[on turn 1] Stop.")))
    with Store("tfgrpo.db") as store:
        store.add_prior(prior)
        store.set_state("default", prior.id, "ungated", frame=FRAME, run=run.id, why="learned")
    shown = works("prior", "show").stdout
    assert f"{entry['text']}: it fires at 2 of 40 turns (5%)" in shown
    assert "[on turn 1] Stop.: it fires at 20 of 40 turns (50%)" in shown
    assert [row["fired"] for row in json.loads(works("prior", "show", "--json").stdout)["fires"]] == [2, 20]


def test_learning_tells_how_often_what_waits_had_its_moment(folder: Path) -> None:
    for text in ("[on turn 9] Stop and answer with what you have.", "[on says go] Name each place that you pass."):
        works("experience", "add", text)
    Path("tasks.jsonl").write_text("\n".join(json.dumps({"input": f"go {n}", "answer": "yes"}) for n in range(3)))
    small = ("--steps", "1", "--group-size", "2", "--no-race", "--no-token-prior", "--gate", "none")
    with served(ScriptedModel(lambda body: "yes").app) as url:
        told = works("learn", "tasks.jsonl", "--model", "fake", "--base-url", url, *small)
    assert "waits for its moment: [on turn 9] Stop and answer with what you have.: it never fires" in told.output
    assert "it fires at 6 of 6 turns (100%): that is no moment, but an always-on experience" in told.output
