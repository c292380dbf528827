"""`eval` as a user meets it: what is measured, and how often."""

import json
import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tests.cli.shell import learn_gated, learn_routing, tfgrpo, works, write_messages, write_tasks
from tests.live import go_live
from tests.routing import TASKS, WORDS, served, simulated, talkative
from tests.surfaces.vectors import drawn, embedded
from tfgrpo.cli.options.target import Targets, targets_options
from tfgrpo.records import ChatBody, Prior, message_text
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel, SimulatedPolicy


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which the gate has promoted a prior, learned from a part of `tasks.jsonl`."""
    folder = tmp_path_factory.mktemp("learned")
    write_messages(folder)
    store = folder / "tfgrpo.db"
    with served(simulated().app) as url:
        result = learn_gated(url, "--allow-collapse", "--store", str(store), tasks=str(folder / "tasks.jsonl"))
    assert "is live" in result.stdout, result.output
    return store


@pytest.fixture
def promoted(task_files: Path, learned: Path) -> None:
    """The same store, and the same files, in the current folder."""
    shutil.copy(learned, task_files / "tfgrpo.db")


def evaluate(url: str, *more: str, tasks: str = "tasks.jsonl") -> Result:
    return tfgrpo("eval", tasks, "--base-url", url, *more)


def test_eval_measures_the_test_part_alone_and_counts_how_often_it_was_opened(promoted: None, url: str) -> None:
    first = evaluate(url, "--json", "--repeat", "2")
    assert first.exit_code == 0, first.output
    figures = json.loads(first.stdout)
    assert (figures["tasks"], figures["repeats"], figures["temperature"]) == (10, 2, 0.7)
    assert "38 tasks left out: used for learning or by the gate" in first.stderr
    assert "10 tasks of the test split set_" in first.stderr
    assert "opened" not in first.stderr
    second = evaluate(url, "--seed", "1", "--temperature", "0.9")
    assert "; it was opened 1 time before" in second.stderr
    assert second.stdout.startswith("10 tasks x 4 rollouts an arm\n")
    for words in ("pass@4", "frozen", "learned", "learned - frozen", "points (95% interval", "tasks better"):
        assert words in second.stdout
    with Store("tfgrpo.db") as store:
        assert [entry.tasks for entry in store.openings("default")] == [10, 10]
        assert store.runs()[-1].run.frame.temperature == 0.9


def test_eval_says_nothing_of_tasks_like_these_after_a_few(promoted: None, url: str) -> None:
    few = evaluate(url, "--no-written", tasks="four.jsonl").stdout
    assert "4 tasks x 4 rollouts an arm" in few
    assert "points (too few tasks for an interval)" in few
    assert "95%" not in few


def test_eval_saves_every_rollout(promoted: None, url: str) -> None:
    assert evaluate(url, "--save-rollouts", "rollouts.jsonl", "--no-written", "--no-few-shot").exit_code == 0
    rows = [json.loads(line) for line in Path("rollouts.jsonl").read_text().splitlines()]
    assert len(rows) == 10 * 4 * 2
    assert {row["arm"] for row in rows} == {"frozen", "learned"}
    assert {row["reward"] for row in rows} <= {0.0, 1.0}
    assert all(row["messages"][-1]["content"] == row["text"] for row in rows)


def test_eval_ends_at_a_ceiling_with_the_same_code_and_goes_on(promoted: None, url: str) -> None:
    ended = evaluate(url, "--max-calls", "20")
    assert ended.exit_code == 3
    assert ended.stderr.splitlines()[-1] == (
        "Error: the budget of 20 calls is used up (20 spent) before all rollouts were made, so nothing was compared;"
        " what was done is kept, and a larger ceiling goes on from there"
    )
    assert evaluate(url, "--max-calls", "500").exit_code == 0


def test_eval_has_a_written_arm_where_the_distiller_writes_one(task_files: Path) -> None:
    policy = SimulatedPolicy(WORDS, talkative)

    def script(body: ChatBody) -> str | Answer:
        texts = "\n".join(message_text(message) for message in body["messages"])
        return json.dumps([{"operation": "ADD", "text": ADVICE}]) if "<tasks>" in texts else policy(body)

    with served(ScriptedModel(script).app) as url:
        learn_gated(url, "--gate", "none", tasks="few.jsonl")
        figures = json.loads(evaluate(url, "--json", tasks="other.jsonl").stdout)
        without = json.loads(evaluate(url, "--json", "--no-written", tasks="other.jsonl").stdout)
    assert list(figures["means"]) == ["frozen", "written", "few-shot", "learned"]
    assert [*figures["differences"]][:3] == ["learned - frozen", "learned - written", "learned - few-shot"]
    assert list(without["means"]) == ["frozen", "few-shot", "learned"]


ADVICE = "When a message is routed, answer with the label alone."


def test_tasks_that_were_learned_from_are_left_out_of_evaluation(folder: Path, url: str) -> None:
    learn_routing(folder, url)
    both = folder / "both.jsonl"
    write_tasks(both, 100)
    both.write_text(both.read_text() + "\n" + (folder / "train.jsonl").read_text())
    result = tfgrpo("eval", str(both), "--base-url", url)
    assert f"{len(TASKS)} tasks left out: used for learning" in result.stderr
    assert result.stdout.startswith(f"{len(TASKS)} tasks x 4 rollouts")
    refused = tfgrpo("eval", str(folder / "train.jsonl"), "--base-url", url)
    assert refused.exit_code == 1
    assert "give others to eval" in refused.stderr


def test_a_candidate_is_measured_under_its_own_frame(priors: tuple[Prior, Prior], url: str) -> None:
    works("prior", "export", "-o", "p.json")
    works("prior", "import", "p.json", "--store", "other.db")
    tasks = write_tasks(Path("test.jsonl"), 100)
    result = works("eval", tasks, "--prior", priors[1].id, "--base-url", url, "--store", "other.db", "--repeat", "1")
    assert "learned - frozen" in result.stdout
    assert "was learned on" not in result.stderr
    measured = works("eval", tasks, "--model", "n", "--base-url", url, "--repeat", "1")
    assert "namespace default was learned on m, and this is n" in measured.stderr


def test_without_a_live_prior_the_last_candidate_is_measured_and_it_is_said(task_files: Path, url: str) -> None:
    none = evaluate(url, tasks="other.jsonl")
    assert none.exit_code == 1
    learn_gated(url, "--gate", "none", tasks="few.jsonl")
    with Store("tfgrpo.db") as store:
        (event,) = store.lineage("default")
        store.set_state("default", event.prior, "rolled back", frame=event.frame, by="ann", why="a try")
    found = evaluate(url, "--json", "--repeat", "1", tasks="other.jsonl")
    assert f"no prior is live in namespace default: measuring {event.prior}, learned last (rolled back)" in found.stderr
    assert json.loads(found.stdout)["prior"] == event.prior


def test_eval_on_several_models_is_a_table_of_where_the_prior_helps(promoted: None, url: str) -> None:
    named = ("--model", "fake", "--model", "another", "--no-written", "--no-few-shot", "--repeat", "1")
    shown = evaluate(url, *named)
    assert shown.exit_code == 0, shown.output
    head, own, other = shown.stdout.splitlines()
    assert "learned - frozen" in head
    assert "95% interval" in head
    assert "fake (learned on it)" in own
    assert other.split()[0] == "another"
    assert any(told in other for told in ("helps", "hurts", "not shown to help"))
    told = json.loads(evaluate(url, *named, "--json").stdout)
    assert (told["learned_on"], list(told["models"])) == ("fake", ["fake", "another"])
    refused = evaluate(url, *named, "--save-rollouts", "r.jsonl")
    assert "takes one --model at a time" in refused.stderr
    Path("tfgrpo.toml").write_text('model = "fake"\n', encoding="utf-8")  # one name, not four letters
    assert "tasks x" in evaluate(url, "--no-written", "--no-few-shot", "--repeat", "1").stdout


def test_a_model_that_cannot_be_measured_takes_nothing_from_the_others(promoted: None) -> None:
    model = simulated()

    def only_fake(body: ChatBody) -> str | Answer:
        return Answer("no such model", status=404) if body["model"] == "gone" else model.script(body)

    with served(ScriptedModel(only_fake).app) as url:
        found = evaluate(url, "--model", "gone", "--model", "fake", "--no-written", "--no-few-shot", "--repeat", "1")
    assert found.exit_code == 1
    assert "fake (learned on it)" in found.stdout
    assert "Error: not measured: gone: " in found.stderr


def test_a_ceiling_is_one_over_all_models(promoted: None) -> None:
    model = simulated()
    with served(model.app) as url:
        before = len(model.requests)
        named = "--model", "fake", "--model", "b", "--model", "c", "--no-written", "--no-few-shot", "--repeat", "1"
        whole = evaluate(url, *named[:2], *named[-4:])
        each = len(model.requests) - before
        found = evaluate(url, *named, "--max-calls", str(each + 3))
    assert (whole.exit_code, found.exit_code, len(model.requests) - before) == (0, 1, 2 * each + 3)
    assert "fake (learned on it)" in found.stdout
    for name in ("b", "c"):
        assert f"{name}: the budget of {each + 3} calls is used up" in found.stderr


def test_a_model_of_the_environment_is_one_though_its_name_has_spaces() -> None:
    @click.command()
    @targets_options
    def told(target: Targets) -> None:
        click.echo([each.model for each in target.each])

    environment = {"TFGRPO_MODEL": "my models/one of them.gguf"}
    assert CliRunner().invoke(told, env=environment).output == "['my models/one of them.gguf']\n"
    assert CliRunner().invoke(told, ["--model", "a", "--model", "b"], env=environment).output == "['a', 'b']\n"


def test_eval_of_a_prior_that_chooses_by_vectors_asks_for_each_task_once(task_files: Path) -> None:
    shown = tuple(embedded(f"case {number}", "billing", drawn(number)) for number in range(5))
    model = ScriptedModel(SimulatedPolicy(WORDS, talkative), embed=lambda text: drawn(3))
    go_live(task_files / "tfgrpo.db", Prior(demonstrations=shown, nearest=1, embedding="near"))
    with served(model.app) as url:
        result = evaluate(url, "--no-written", "--no-few-shot", tasks="four.jsonl")
    assert result.exit_code == 0, result.output
    assert len(model.embedded) == 4
    chosen = [body["messages"][0]["content"] for body in model.requests if len(body["messages"]) == 3]
    assert {*chosen} == {"case 3"}
    assert len(chosen) == 4 * 4
