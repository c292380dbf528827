"""The benchmark of nearest demonstrations, on a SIMULATED model that answers as most of what it is shown does, and a
SIMULATED embedding model that knows the answers."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.nearest_sets import difference, main
from benchmarks.peers import read
from benchmarks.peers_sets import SETS
from tfgrpo.records import ChatBody, message_text
from tfgrpo.testing import Answer, ScriptedModel, serving

ANSWERS = {task.prompt: str(task.answer) for task in SETS["labels"].pool()}
LABELS = sorted(set(ANSWERS.values()))


def majority(body: ChatBody) -> str:
    shown = Counter(message_text(one) for one in body["messages"] if one["role"] == "assistant")
    return shown.most_common(1)[0][0] if shown else "I cannot say"


def knowing(text: str) -> Sequence[float]:
    return [float(ANSWERS.get(text) == label) for label in LABELS]


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel(majority, embed=knowing)


@pytest.fixture
def url(model: ScriptedModel) -> Iterator[str]:
    with serving(model.app) as base_url:
        yield base_url


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-fake")


def benchmark(*arguments: str) -> str:
    ran = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return ran.output


def test_what_vectors_find_is_told_beside_trigrams_and_lot_and_no_cell_is_made_twice(
    url: str, model: ScriptedModel, tmp_path: Path
) -> None:
    results = tmp_path / "nearest.jsonl"
    run = ("run", str(results), "--model", url, "--name", "fake", "--embedding", "knowing", "--sets", "labels")
    few = ("--sizes", "4", "--held-out", "12", "--repeats", "1")
    benchmark(*run, *few)
    rows = {row["method"]: row for row in read(results)}
    assert [*rows] == ["4 by lot", "4 by trigrams", "4 by knowing"]
    assert set(rows["4 by knowing"]["rewards"].values()) == {1.0}
    asked, embedded = len(model.requests), len(model.embedded)
    assert "4 by knowing: there already" in benchmark(*run, *few)
    assert (len(model.requests), len(model.embedded)) == (asked, embedded)
    table = benchmark("table", str(results))
    gain = difference([rows["4 by knowing"]], [rows["4 by lot"]])
    assert gain
    assert gain.mean > 0.2
    assert f"{100 * gain.mean:+.1f} [{100 * gain.low:+.0f}, {100 * gain.high:+.0f}]" in table


def test_an_arm_that_gets_no_vectors_is_left_out_with_the_reason(
    url: str, model: ScriptedModel, tmp_path: Path
) -> None:
    model.embed = lambda text: Answer("no such model", status=404)
    results = tmp_path / "nearest.jsonl"
    run = ("run", str(results), "--model", url, "--name", "fake", "--embedding", "knowing", "--sets", "labels")
    told = benchmark(*run, "--sizes", "4", "--held-out", "12", "--repeats", "1")
    assert "4 by knowing: left out, and tried again next time: race: nearest by knowing is left out" in told
    assert "no such model" in told
    assert [row["method"] for row in read(results)] == ["4 by lot", "4 by trigrams"]


def test_of_examples_shown_it_is_told_how_many_have_the_answer_that_is_asked_for(url: str) -> None:
    told = benchmark("alike", "--model", url, "--embedding", "knowing", "--sets", "labels", "--seeds", "0")
    (one, four, eight) = [[int(cell) for cell in line.strip("| ").split(" | ")[1:]] for line in told.splitlines()[2:]]
    assert [line[0] for line in (one, four, eight)] == [1, 4, 8]
    assert one[-1] == four[-1] == eight[-1] == 100
    assert 25 <= four[1] == eight[1] <= 40
    assert four[1] < four[2] < 100
