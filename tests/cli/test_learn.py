"""`learn` as a user meets it: which tasks teach and which decide, what it will cost, and what a ceiling does."""

import json
from pathlib import Path

import pytest

from tests.cli.shell import SMALL, learn_gated, learn_routing, one_line, tfgrpo, write_tasks
from tests.routing import ADVICE, TASKS, TOPICS, distilling, served
from tfgrpo.records import ChatBody, message_text
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel


def test_one_file_teaches_decides_and_is_left_for_the_test(task_files: Path, url: str) -> None:
    learned = learn_gated(url, "--seed", "1", race=True)
    assert learned.exit_code == 0, learned.output
    assert "is live (" in learned.stdout
    assert "promoted: the mean effect over these 14 tasks" in learned.stdout
    gate = "gate: at most 960 (14 tasks x 32 passes x 2 priors, and 64 where training tasks look lost)"
    assert f"24 tasks x 6 rollouts x 2 steps: 288 calls; {gate}" in learned.stderr
    assert "about 1,248 calls" in learned.stderr
    assert "price unknown" in learned.stderr
    assert "gate: trial 1 on these 14 validation tasks, level 0.025, at most 32 passes: too few tasks to promote" in (
        learned.stderr
    )
    with Store("tfgrpo.db") as store:
        (tried,) = store.trials()
        (run,) = (entry.run for entry in store.runs())
        (test,) = store.held_out("default", "test").values()
        assert [len(side) for side in (run.tasks, tried.tasks, test)] == [24, 14, 10]
        assert len({*run.tasks, *tried.tasks, *test}) == 48
        assert store.openings("default") == ()


def test_validation_tasks_can_be_in_a_file_of_their_own(task_files: Path, url: str) -> None:
    learned = learn_gated(url, "--validation", "other.jsonl", "--json", "--seed", "2", tasks="few.jsonl")
    assert learned.exit_code == 0, learned.output
    figures = json.loads(learned.stdout)
    assert (figures["state"], figures["gate"]["tasks"], figures["gate"]["attempt"]) == ("live", 9, 1)
    with Store("tfgrpo.db") as store:
        assert len(store.runs()[0].run.tasks) == 9
        assert store.held_out("default", "test") == {}


def test_a_smaller_alpha_and_fewer_passes_are_the_gates(task_files: Path, url: str) -> None:
    learned = learn_gated(url, "--alpha", "0.01", "--passes", "2", "--validation-share", "0.5", "--json")
    assert learned.exit_code == 0, learned.output
    with Store("tfgrpo.db") as store:
        (tried,) = store.trials()
        assert (tried.alpha, tried.most_passes, len(tried.tasks)) == (0.01, 2, 24)


def test_gate_none_is_as_published_and_teaches_with_all_tasks(task_files: Path, url: str) -> None:
    learned = learn_gated(url, "--gate", "none", "--steps", "1")
    assert "is live, ungated" in learned.stdout
    with Store("tfgrpo.db") as store:
        assert len(store.runs()[0].run.tasks) == 48
        assert store.trials() == ()


@pytest.mark.parametrize(
    ("tasks", "options", "words"),
    [
        ("few.jsonl", (), ("of its 9 tasks", "at least 5", "--validation FILE", "--gate none")),
        ("few.jsonl", ("--validation", "four.jsonl"), ("four.jsonl holds 4 tasks", "at least 5", "--gate none")),
        ("few.jsonl", ("--validation", "tasks.jsonl"), ("few.jsonl, line 1 and tasks.jsonl, line 1", "same task")),
        ("few.jsonl", ("--gate", "none", "--test", "tasks.jsonl"), ("few.jsonl, line 1 and tasks.jsonl, line 1",)),
        ("few.jsonl", ("--gate", "none", "--validation", "other.jsonl"), ("other.jsonl is for the gate",)),
        ("tasks.jsonl", ("--validation-share", "0"), ("share of 0 for validation", "--gate none")),
        ("tasks.jsonl", ("--validation-share", "0.9", "--test-share", "0.2"), ("shares of 0.9", "below 1")),
        ("tasks.jsonl", ("--alpha", "2"), ("gate_alpha", "below 1")),
        ("tasks.jsonl", ("--passes", "0"), ("gate_passes", "at least 1")),
        ("tasks.jsonl", ("--max-calls", "0"), ("ceiling on calls is 0",)),
        ("tasks.jsonl", ("--max-usd", "1"), ("no price is listed for 'fake'", "--price IN/OUT")),
        ("tasks.jsonl", ("--price", "cheap"), ("'cheap'", "IN/OUT")),
    ],
)
def test_splits_and_ceilings_that_cannot_be_are_one_line_and_spend_nothing(
    task_files: Path, url: str, model: ScriptedModel, tasks: str, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    one_line(learn_gated(url, *options, tasks=tasks), *words)
    assert model.requests == []


def test_an_empty_validation_file_is_one_line(task_files: Path, url: str) -> None:
    (task_files / "none.jsonl").write_text("")
    one_line(learn_gated(url, "--validation", "none.jsonl", tasks="few.jsonl"), "none.jsonl")


def test_a_namespace_that_learned_from_all_of_a_file_cannot_be_judged_by_a_part_of_it(
    task_files: Path, url: str
) -> None:
    learn_gated(url, "--gate", "none", "--steps", "1", "--group-size", "2")
    one_line(learn_gated(url), "14 of 14 validation tasks were learned from in namespace default", "--gate none")


def test_where_sides_move_no_task_that_has_taught_decides(task_files: Path, url: str) -> None:
    small = ("--steps", "1", "--group-size", "2", "--passes", "1")
    assert learn_gated(url, *small, "--validation-share", "0.2").exit_code == 0
    again = learn_gated(url, *small)
    assert again.exit_code == 0, again.output
    assert "4 tasks that taught namespace default before still teach, and do not decide" in again.stderr
    with Store("tfgrpo.db") as store:
        assert not {*store.trials()[-1].tasks} & {*store.learned_from("default")}


def test_a_dry_run_tells_the_cost_and_touches_nothing(task_files: Path, url: str, model: ScriptedModel) -> None:
    told = learn_gated(url, "--dry-run", "--price", "1/10", "--stop-when-flat")
    assert "note: --stop-when-flat cannot end it early: a forecast needs 3 steps, and this run has 2" in told.stdout
    assert told.exit_code == 0, told.output
    first, second, third, *_ = told.stdout.splitlines()
    assert first.startswith("24 tasks x 6 rollouts x 2 steps: 288 calls; gate: at most 960")
    assert second.startswith("about 1,248 calls (at most 1,261, ")
    assert second.endswith(" USD")
    assert "too few tasks to promote anything below " in third
    assert "up to 3% more calls before the gate, where some stall" in told.stdout
    for seconds, words in ("0", ""), ("7", "and once more each call before the gate that takes over 7 s"):
        other = learn_gated(url, "--dry-run", "--hedge", seconds).stdout
        assert "up to 3%" not in other
        assert words in other
    assert model.requests == []
    assert not Path("tfgrpo.db").exists()
    figures = json.loads(learn_gated(url, "--dry-run", "--max-calls", "400", "--json").stdout)
    assert figures["calls"] == {"attempts": 288, "distilling": 0, "gate": 960, "most": 1_261}
    assert figures["tasks"] == {"train": 24, "validation": 14, "test": 10}
    assert (figures["attempt"], figures["passes"], figures["usd"]) == (1, 4, None)
    assert figures["smallest_effect"] > json.loads(learn_gated(url, "--dry-run", "--json").stdout)["smallest_effect"]


def test_a_dry_run_knows_how_many_trials_there_were(task_files: Path, url: str) -> None:
    learn_gated(url, "--steps", "1", "--passes", "2")
    assert "gate: trial 2 on these 14 validation tasks, level 0.0125" in learn_gated(url, "--dry-run").stdout
    assert "gate" not in learn_gated(url, "--dry-run", "--gate", "none").stdout


def test_a_ceiling_ends_a_run_with_a_code_of_its_own_and_a_larger_one_goes_on(
    task_files: Path, url: str, model: ScriptedModel
) -> None:
    small = ("--group-size", "3", "--passes", "2")
    ended = learn_gated(url, *small, "--max-calls", "150")
    assert ended.exit_code == 3, ended.output
    assert "the budget ended this run: the budget of 150 calls is used up but for " in ended.stdout
    assert "1 of 2 steps were done" in ended.stdout
    assert "the same command with a larger ceiling goes on" in ended.stdout
    assert ended.stdout.count("the gate was not finished") == ended.stdout.count("undecided whether") <= 1
    assert len(model.requests) <= 150
    listed = json.loads(tfgrpo("runs", "list", "--json").stdout)
    assert [run["status"] for run in listed] == ["out of budget"]
    shown = tfgrpo("runs", "show", listed[0]["id"])
    assert shown.exit_code == 0, shown.output
    figures = json.loads(learn_gated(url, *small, "--max-calls", "5000", "--json").stdout)
    assert (figures["resumed"], figures["ended"], len(figures["steps"])) == (True, None, 2)


def test_a_reward_out_of_range_names_task_and_value_unless_it_is_clipped(task_files: Path, url: str) -> None:
    (task_files / "wild.py").write_text("def reward(rollout):\n    return 2 * (rollout.text == rollout.task.answer)\n")
    few = ("--reward", "wild:reward", "--gate", "none", "--steps", "1")
    wild = learn_gated(url, *few, tasks="few.jsonl")
    assert wild.exit_code == 1
    last = wild.stderr.splitlines()[-1]
    assert last.startswith("Error: no rollout of the first step earned anything.")
    assert "failed, the first one: the reward failed: RewardError: that of task task_" in last
    assert "is 2; it must be a number from 0 to 1, or be clipped to it (--clip-rewards)" in last
    clipped = learn_gated(url, *few, "--clip-rewards", "--json", tasks="few.jsonl")
    assert clipped.exit_code == 0, clipped.output
    assert 0 < json.loads(clipped.stdout)["steps"][0]["mean_reward"] <= 1


def test_a_run_of_tasks_that_ask_the_same_goes_on_like_any_other(task_files: Path, url: str) -> None:
    lines = Path("tasks.jsonl").read_text().splitlines()
    twins = [json.dumps({**json.loads(line), "answer": "none of these"}) for line in lines]
    (task_files / "twins.jsonl").write_text("\n".join(lines + twins))
    small = ("--group-size", "2", "--passes", "2")
    assert learn_gated(url, *small, "--max-calls", "100", tasks="twins.jsonl").exit_code == 3
    again = learn_gated(url, *small, "--max-calls", "5000", tasks="twins.jsonl")
    assert again.exit_code == 0, again.output


def test_the_request_frame_is_sent_and_stored(folder: Path, url: str, model: ScriptedModel) -> None:
    (folder / "system.txt").write_text("Route it.\n")
    (folder / "request.json").write_text('{"max_tokens": 8, "temperature": 1.0, "user": "u1"}')
    assert learn_routing(folder, url, "--system", "system.txt", "--request", "request.json").exit_code == 0
    body = model.requests[-1]
    assert body["messages"][0] == {"role": "system", "content": "Route it."}
    assert (body["max_tokens"], body["temperature"], body["user"]) == (8, 1.0, "u1")
    with Store("tfgrpo.db") as store:
        snapshot = store.live("default")
        assert snapshot is not None
        assert (snapshot.frame.system, snapshot.frame.temperature) == ("Route it.", 1.0)
        assert snapshot.frame.request == {"max_tokens": 8, "user": "u1"}


def test_repeated_tasks_are_counted_and_said(folder: Path, url: str) -> None:
    path = write_tasks(folder / "train.jsonl")
    Path(path).write_text(Path(path).read_text() + "\n" + Path(path).read_text())
    result = tfgrpo("learn", path, "--model", "fake", "--base-url", url, *SMALL)
    assert result.exit_code == 0
    assert f"{len(TASKS)} repeated tasks counted once" in result.stderr


def test_a_first_step_that_earns_nothing_is_one_line_that_says_why(folder: Path) -> None:
    model = ScriptedModel(lambda body: f"Surely: {right_label(body)}, I think")
    with served(model.app) as url:
        stopped = learn_routing(folder, url)
        gone_on = learn_routing(folder, url, "--no-stop-hopeless")
    assert stopped.exit_code == 1
    assert stopped.stderr.splitlines()[-1].startswith("Error: no rollout of the first step earned anything. Asked ")
    assert "the answer is in the text, but reward exact wants nothing else" in stopped.stderr.splitlines()[-1]
    assert gone_on.exit_code == 0, gone_on.output
    assert "mean reward by step: 0.0% -> 0.0%" in gone_on.stdout


def right_label(body: ChatBody) -> str:
    """The label of the message that is asked about."""
    asked = message_text(body["messages"][-1])
    return next((label for topic, label in TOPICS.items() if topic in asked), "nothing")


def test_a_system_prompt_is_learned_under_where_the_model_has_no_system_role(folder: Path) -> None:
    policy = distilling({ADVICE: 0.3})

    def script(body: ChatBody) -> str | Answer:
        roles = [message["role"] for message in body["messages"]]
        return Answer("System role not supported", status=400) if "system" in roles else policy(body)

    model = ScriptedModel(script)
    (folder / "system.txt").write_text("Route it.")
    with served(model.app) as url:
        tasks = write_tasks(folder / "train.jsonl")
        asked = ("--model", "fake", "--base-url", url, "--system", "system.txt", "--steps", "1", "--gate", "none")
        learned = tfgrpo("learn", tasks, *asked, "--group-size", "4")
    assert learned.exit_code == 0, learned.output
    assert "no system role: what --system says begins the first turn of the user" in learned.stderr
    assert "failed" not in learned.stderr
    with Store("tfgrpo.db") as store:
        assert ADVICE in {entry.experience.text for entry in store.experiences("default")}
