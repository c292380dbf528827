"""`learn` as a user meets it: which tasks teach and which decide, what it will cost, and what a ceiling does."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.cli.test_cli import one_line
from tests.routing import TOPICS, WORDS, talkative
from tfgrpo.cli import main
from tfgrpo.records import ChatBody, message_text
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel, SimulatedPolicy, serving

ADVICE = "When a message is routed, answer with the label alone."
SMALL = ("--steps", "2", "--group-size", "6", "--no-experiences")


@pytest.fixture
def folder(folder: Path) -> Path:
    for name, start, count in (("tasks", 0, 48), ("few", 0, 9), ("other", 100, 9), ("four", 200, 4)):
        topics = list(TOPICS.items()) * count
        lines = [{"input": f"message {start + n} about {topics[n][0]}", "answer": topics[n][1]} for n in range(count)]
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    return folder


def learn(url: str, *more: str, tasks: str = "tasks.jsonl") -> Result:
    return CliRunner().invoke(main, ("learn", tasks, "--model", "fake", "--base-url", url, *SMALL, *more))


def test_one_file_teaches_decides_and_is_left_for_the_test(folder: Path, url: str) -> None:
    learned = learn(url)
    assert learned.exit_code == 0, learned.output
    assert "is live (" in learned.stdout
    assert "promoted: the mean effect over these 16 tasks is above zero" in learned.stdout
    assert "27 tasks x 6 attempts x 2 steps: 324 calls; gate: at most 1,024 (16 tasks x 32 passes x 2 priors)" in (
        learned.stderr
    )
    assert "at most about 1,348 calls" in learned.stderr
    assert "price unknown" in learned.stderr
    assert "gate: attempt 1 on these 16 validation tasks, level 0.025, at most 32 passes: too few tasks to promote" in (
        learned.stderr
    )
    with Store("tfgrpo.db") as store:
        (tried,) = store.trials()
        (run,) = (entry.run for entry in store.runs())
        (test,) = store.held_out("default", "test").values()
        assert [len(side) for side in (run.tasks, tried.tasks, test)] == [27, 16, 5]
        assert len({*run.tasks, *tried.tasks, *test}) == 48
        assert store.openings("default") == ()


def test_the_sides_can_be_files(folder: Path, url: str) -> None:
    learned = learn(url, "--validation", "other.jsonl", "--json", "--seed", "2", tasks="few.jsonl")
    assert learned.exit_code == 0, learned.output
    figures = json.loads(learned.stdout)
    assert (figures["state"], figures["gate"]["tasks"], figures["gate"]["attempt"]) == ("live", 9, 1)
    with Store("tfgrpo.db") as store:
        assert len(store.runs()[0].run.tasks) == 9
        assert store.held_out("default", "test") == {}


def test_a_smaller_alpha_and_fewer_passes_are_the_gates(folder: Path, url: str) -> None:
    learned = learn(url, "--alpha", "0.01", "--passes", "2", "--validation-share", "0.5", "--json")
    assert learned.exit_code == 0, learned.output
    with Store("tfgrpo.db") as store:
        (tried,) = store.trials()
        assert (tried.alpha, tried.most_passes, len(tried.tasks)) == (0.01, 2, 26)


def test_gate_none_is_as_published_and_teaches_with_all_tasks(folder: Path, url: str) -> None:
    learned = learn(url, "--gate", "none")
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
def test_sides_and_ceilings_that_cannot_be_are_one_line_and_spend_nothing(
    folder: Path, url: str, model: ScriptedModel, tasks: str, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    one_line(learn(url, *options, tasks=tasks), *words)
    assert model.requests == []


def test_an_empty_validation_file_is_one_line(folder: Path, url: str) -> None:
    (folder / "none.jsonl").write_text("")
    one_line(learn(url, "--validation", "none.jsonl", tasks="few.jsonl"), "none.jsonl")


def test_a_namespace_that_learned_from_all_of_a_file_cannot_be_judged_by_a_part_of_it(folder: Path, url: str) -> None:
    learn(url, "--gate", "none")
    one_line(learn(url), "16 of 16 validation tasks were learned from in namespace default", "--gate none")


def test_a_dry_run_tells_the_cost_and_touches_nothing(folder: Path, url: str, model: ScriptedModel) -> None:
    told = learn(url, "--dry-run", "--price", "1/10")
    assert told.exit_code == 0, told.output
    first, second, third = told.stdout.splitlines()
    assert first.startswith("27 tasks x 6 attempts x 2 steps: 324 calls; gate: at most 1,024")
    assert second.startswith("at most about 1,348 calls, ")
    assert second.endswith(" USD")
    assert "too few tasks to promote anything below " in third
    assert model.requests == []
    assert not Path("tfgrpo.db").exists()
    figures = json.loads(learn(url, "--dry-run", "--max-calls", "400", "--json").stdout)
    assert figures["calls"] == {"attempts": 324, "distilling": 0, "gate": 1024}
    assert figures["tasks"] == {"train": 27, "validation": 16, "test": 5}
    assert (figures["attempt"], figures["passes"], figures["usd"]) == (1, 3, None)
    assert figures["smallest_effect"] > json.loads(learn(url, "--dry-run", "--json").stdout)["smallest_effect"]


def test_a_dry_run_knows_how_many_attempts_there_were(folder: Path, url: str) -> None:
    learn(url)
    assert "gate: attempt 2 on these 16 validation tasks, level 0.0125" in learn(url, "--dry-run").stdout
    assert "gate" not in learn(url, "--dry-run", "--gate", "none").stdout


def test_a_ceiling_ends_a_run_with_a_code_of_its_own_and_a_larger_one_goes_on(
    folder: Path, url: str, model: ScriptedModel
) -> None:
    ended = learn(url, "--max-calls", "300")
    assert ended.exit_code == 3, ended.output
    assert "the budget ended this run: the budget of 300 calls is used up but for 90 held back" in ended.stdout
    assert "1 of 2 steps were done" in ended.stdout
    assert "the same command with a larger ceiling goes on" in ended.stdout
    assert ended.stdout.count("the gate was not finished") == ended.stdout.count("undecided whether") <= 1
    assert len(model.requests) <= 300
    listed = json.loads(CliRunner().invoke(main, ("runs", "list", "--json")).stdout)
    assert [run["status"] for run in listed] == ["out of budget"]
    shown = CliRunner().invoke(main, ("runs", "show", listed[0]["id"]))
    assert shown.exit_code == 0, shown.output
    figures = json.loads(learn(url, "--max-calls", "5000", "--json").stdout)
    assert (figures["resumed"], figures["ended"], len(figures["steps"])) == (True, None, 2)


def test_a_reward_out_of_range_names_task_and_value_unless_it_is_clipped(folder: Path, url: str) -> None:
    (folder / "wild.py").write_text("def reward(rollout):\n    return 2 * (rollout.text == rollout.task.answer)\n")
    wild = learn(url, "--reward", "wild:reward", "--gate", "none")
    assert wild.exit_code == 1
    last = wild.stderr.splitlines()[-1]
    assert last.startswith("Error: the reward of task task_")
    assert last.endswith("is 2; it must be a number from 0 to 1, or be clipped to it (--clip-rewards)")
    clipped = learn(url, "--reward", "wild:reward", "--gate", "none", "--clip-rewards", "--json")
    assert clipped.exit_code == 0, clipped.output
    assert 0 < json.loads(clipped.stdout)["steps"][0]["mean_reward"] <= 1


def test_a_run_of_tasks_that_ask_the_same_goes_on_like_any_other(folder: Path, url: str) -> None:
    lines = Path("tasks.jsonl").read_text().splitlines()
    twins = [json.dumps({**json.loads(line), "answer": "none of these"}) for line in lines]
    (folder / "twins.jsonl").write_text("\n".join(lines + twins))
    assert learn(url, "--max-calls", "300", tasks="twins.jsonl").exit_code == 3
    again = learn(url, "--max-calls", "5000", tasks="twins.jsonl")
    assert again.exit_code == 0, again.output


# eval


def evaluate(url: str, *more: str, tasks: str = "tasks.jsonl") -> Result:
    return CliRunner().invoke(main, ("eval", tasks, "--base-url", url, *more))


def test_eval_measures_the_test_part_alone_and_counts_how_often_it_was_opened(folder: Path, url: str) -> None:
    learn(url)
    first = evaluate(url, "--json", "--repeat", "2")
    assert first.exit_code == 0, first.output
    figures = json.loads(first.stdout)
    assert (figures["tasks"], figures["repeats"], figures["temperature"]) == (5, 2, 0.7)
    assert "43 tasks left out: used for learning or by the gate" in first.stderr
    assert "5 tasks of the test split set_" in first.stderr
    assert "opened" not in first.stderr
    second = evaluate(url, "--seed", "1", "--temperature", "0.9")
    assert "; it was opened 1 time before" in second.stderr
    assert second.stdout.startswith("5 tasks x 4 rollouts an arm\n")
    for words in ("pass@4", "frozen", "learned", "learned - frozen", "points (95% interval", "tasks better"):
        assert words in second.stdout
    with Store("tfgrpo.db") as store:
        assert [entry.tasks for entry in store.openings("default")] == [5, 5]
        assert store.runs()[-1].run.frame.temperature == 0.9


def test_eval_says_nothing_of_tasks_like_these_after_a_few(folder: Path, url: str) -> None:
    learn(url, "--gate", "none")
    few = evaluate(url, "--no-written", tasks="four.jsonl").stdout
    assert "4 tasks x 4 rollouts an arm" in few
    assert "points (too few tasks for an interval)" in few
    assert "95%" not in few


def test_eval_saves_every_rollout(folder: Path, url: str) -> None:
    learn(url)
    assert evaluate(url, "--save-rollouts", "rollouts.jsonl", "--no-written").exit_code == 0
    rows = [json.loads(line) for line in Path("rollouts.jsonl").read_text().splitlines()]
    assert len(rows) == 5 * 4 * 2
    assert {row["arm"] for row in rows} == {"frozen", "learned"}
    assert {row["reward"] for row in rows} <= {0.0, 1.0}
    assert all(row["messages"][-1]["content"] == row["text"] for row in rows)


def test_eval_ends_at_a_ceiling_with_the_same_code_and_goes_on(folder: Path, url: str) -> None:
    learn(url)
    ended = evaluate(url, "--max-calls", "20")
    assert ended.exit_code == 3
    assert ended.stderr.splitlines()[-1] == (
        "Error: the budget of 20 calls is used up (20 spent) before all attempts were made, so nothing was compared;"
        " what was done is kept, and a larger ceiling goes on from there"
    )
    assert evaluate(url, "--max-calls", "500").exit_code == 0


def test_eval_has_a_written_arm_where_the_distiller_writes_one(folder: Path) -> None:
    policy = SimulatedPolicy(WORDS, talkative)

    def script(body: ChatBody) -> str | Answer:
        texts = "\n".join(message_text(message) for message in body["messages"])
        return json.dumps([{"operation": "ADD", "text": ADVICE}]) if "<tasks>" in texts else policy(body)

    with serving(ScriptedModel(script).app) as url:
        learn(url, "--gate", "none", tasks="few.jsonl")
        figures = json.loads(evaluate(url, "--json", tasks="other.jsonl").stdout)
        without = json.loads(evaluate(url, "--json", "--no-written", tasks="other.jsonl").stdout)
    assert list(figures["means"]) == ["frozen", "written", "learned"]
    assert list(figures["differences"]) == ["learned - frozen", "learned - written", "written - frozen"]
    assert list(without["means"]) == ["frozen", "learned"]
