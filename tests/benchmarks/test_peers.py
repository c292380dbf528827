"""The benchmark of peers, on a fake upstream that a known number of examples helps by a known amount."""

import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from benchmarks.peers import main, read
from benchmarks.peers_cell import Cell, Place, Terms, opened
from benchmarks.peers_gepa import library
from benchmarks.peers_methods import METHODS, fitting
from benchmarks.peers_sets import SETS, parts
from benchmarks.peers_table import student, tables
from tfgrpo.errors import InputError
from tfgrpo.hashing import derive_seed
from tfgrpo.records import ChatBody, message_text
from tfgrpo.testing import Answer, ScriptedModel, serving

TINY = ("--calls", "60", "--training", "10", "--held-out", "8", "--repeats", "2")
TERMS = Terms(60, 10, 8, 2)
RIGHT = {task.prompt: str(task.answer) for name in ("id", "keep-drop") for task in SETS[name].pool()}


def helped(body: ChatBody) -> str:
    """Right in 5% of answers, and in 20 points more for each of the first four examples."""
    turns = [message for message in body["messages"] if message["role"] != "system"]
    asked = message_text(turns[-1])
    if asked not in RIGHT:
        return json.dumps([]) if "attempts" in asked else "Follow the examples."
    chance = 0.05 + 0.2 * min(4, len(turns) // 2)
    return RIGHT[asked] if derive_seed(body["seed"], asked) % 1000 < 1000 * chance else "I cannot say"


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel(helped)


@pytest.fixture
def url(model: ScriptedModel) -> Iterator[str]:
    with serving(model.app) as base_url:
        yield base_url


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-fake")


def benchmark(url: str, results: Path, sets: str, methods: str, *more: str) -> str:
    command = [
        "run",
        str(results),
        "--sets",
        sets,
        "--methods",
        methods,
        "--model",
        url,
        "--name",
        "fake",
        *TINY,
        *more,
    ]
    ran = CliRunner().invoke(main, command, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return ran.output


def means(results: Path) -> dict[tuple[str, str], float]:
    return {(row["set"], row["method"]): sum(row["rewards"].values()) / len(row["rewards"]) for row in read(results)}


def test_examples_that_help_are_seen_to_and_finished_cells_are_not_made_again(
    url: str, model: ScriptedModel, tmp_path: Path
) -> None:
    results = tmp_path / "peers.jsonl"
    benchmark(url, results, "id", "frozen")
    asked = len(model.requests)
    told = benchmark(url, results, "id,keep-drop", "frozen,few-shot-8,few-shot-chosen")
    assert "id, seed 0, frozen: there already" in told
    assert len(read(results)) == 6
    found = means(results)
    for name in ("id", "keep-drop"):
        assert found[name, "frozen"] < 0.4
        assert min(found[name, "few-shot-8"], found[name, "few-shot-chosen"]) > 0.55
    searched = [row for row in read(results) if row["method"] == "frozen"]
    assert all(row["minutes"] < row["measured_minutes"] for row in searched), "what measuring takes is no search"
    spent = {row["method"]: row["spent"]["calls"] for row in read(results)}
    assert spent["frozen"] == spent["few-shot-8"] == 0
    assert 40 <= spent["few-shot-chosen"] <= TERMS.calls
    whole = len(model.requests)
    benchmark(url, results, "id,keep-drop", "frozen,few-shot-8,few-shot-chosen")
    assert len(model.requests) == whole > asked


def test_the_learner_keeps_to_its_calls_and_finds_that_examples_help(url: str, tmp_path: Path) -> None:
    results = tmp_path / "peers.jsonl"
    benchmark(url, results, "keep-drop", "frozen,learner,written")
    rows = {row["method"]: row for row in read(results)}
    assert rows["learner"]["spent"]["calls"] <= TERMS.calls
    assert means(results)["keep-drop", "learner"] > means(results)["keep-drop", "frozen"]
    assert rows["written"]["what"] == "Follow the examples."
    assert rows["written"]["spent"]["calls"] == 1


def test_a_cell_that_was_interrupted_goes_on_where_it_was_and_comes_to_the_same(tmp_path: Path) -> None:
    left = [1_000]

    def until_out_of_order(body: ChatBody) -> str | Answer:
        left[0] -= 1
        return helped(body) if left[0] >= 0 else Answer("no more today", status=401)

    model = ScriptedModel(until_out_of_order)
    with serving(model.app) as url:
        benchmark(url, tmp_path / "whole.jsonl", "id", "few-shot-chosen")
        whole, left[0] = len(model.requests), 30
        results = tmp_path / "peers.jsonl"
        assert "left out, and tried again next time" in benchmark(url, results, "id", "few-shot-chosen")
        assert read(results) == []
        (clock,) = results.with_suffix(".stores").glob("*.search-seconds")
        clock.write_text(str(600 + float(clock.read_text())))
        results.write_text('{"model": "fa')  # as if it had been killed while it wrote a line
        left[0], answered = 1_000, 30
        before = len(model.requests)
        benchmark(url, results, "id", "few-shot-chosen")
        assert len(model.requests) - before == whole - answered
    assert read(results)[0]["rewards"] == read(tmp_path / "whole.jsonl")[0]["rewards"]
    assert 10 < read(results)[0]["minutes"] < 11, "the minutes of all starts add up"


async def test_the_learner_is_given_steps_that_its_calls_suffice_for(url: str, tmp_path: Path) -> None:
    async def cell(name: str, terms: Terms) -> Cell:
        async with opened(Place(url, "fake", tmp_path, "sk-fake"), SETS[name], 0, "learner", terms) as ready:
            return ready

    plain = fitting(await cell("id", Terms()))
    assert (plain.steps, plain.group_size, plain.distilled_groups) == (2, 8, 0)
    assert fitting(await cell("id", Terms(calls=440))).distilled_groups, "with what screens of proposals may take"
    two_calls = fitting(await cell("agent", Terms()))
    assert (two_calls.steps, two_calls.group_size) == (2, 4)


@pytest.mark.parametrize("name", [name for name in SETS if name != "gym"])
def test_each_set_has_enough_tasks_and_none_on_both_sides(name: str) -> None:
    found = parts(SETS[name], 0, 24, 32)
    assert (len(found.train), len(found.held_out)) == (24, 32)
    assert not {task.prompt for task in found.train} & {task.prompt for task in found.held_out}
    assert found == parts(SETS[name], 0, 24, 32)
    assert found != parts(SETS[name], 1, 24, 32)


def test_both_sides_of_a_set_hold_their_share_of_each_label() -> None:
    for seed in range(3):
        found = parts(SETS["facts"], seed, 24, 32)
        assert [task.answer for task in found.train].count("yes") == 12
        assert [task.answer for task in found.held_out].count("yes") == 16


def test_no_two_sets_share_a_task() -> None:
    pools = {name: {task.prompt for task in SETS[name].pool()} for name in SETS if name != "gym"}
    assert not [pair for pair in combinations(pools, 2) if pools[pair[0]] & pools[pair[1]]]


def row(name: str, seed: int, method: str, rewards: list[float]) -> dict[str, object]:
    spent = {"calls": 400, "prompt_tokens": 10, "completion_tokens": 10}
    terms = {"model": "m", "calls": 400, "training": 24, "held_out": len(rewards), "repeats": 2}
    by_task = {f"{name} {place}": reward for place, reward in enumerate(rewards)}
    more = {"spent": spent, "measured": spent, "minutes": 1.0, "failed": 0}
    return {**terms, "set": name, "seed": seed, "method": method, "rewards": by_task, **more}


def test_the_table_flags_where_the_learner_loses_and_counts_a_set_once_however_many_seeds_it_has() -> None:
    wins = [row("one", seed, "learner", [1, 1, 1, 0.5]) for seed in (0, 1)]
    wins += [row("one", seed, "frozen", [0, 0.5, 0, 0]) for seed in (0, 1)]
    loses = [row("two", 0, "learner", [0, 0, 0, 0.5]), row("two", 0, "frozen", [1, 0.5, 1, 1])]
    told = "\n".join(tables([*wins, *loses]))
    assert "| frozen | +0.0 | 2 | 1 | 1 |" in told
    assert "two, seed 0: significantly below frozen" in told
    assert "one, seed 0" not in told
    assert "flattered" in told


def test_what_is_best_by_luck_is_not_held_against_the_learner_a_second_time() -> None:
    draw, tasks = Random(7), range(200)
    lucky = [row("one", 0, f"coin {arm}", [float(draw.random() < 0.5) for _ in tasks]) for arm in range(12)]
    better = row("two", 0, "better", [0.75 for _ in tasks])
    ours = [row(name, 0, "learner", [0.5 for _ in tasks]) for name in ("one", "two")]
    told = "\n".join(tables([*lucky, better, *ours]))
    assert "-7.0 [-14, -0] (coin 3)" in told, "the best of twelve coins, and all are worth what the learner is"
    assert "| one | -1.4 |" in told
    assert "| two | -25.0 |" in told


def test_the_interval_is_that_of_student() -> None:
    found = student([0.0, 0.2, 0.4, 0.6, 0.8])
    assert found.high - found.mean == pytest.approx(2.776 * 0.31623 / 5**0.5, rel=0.01)


def test_without_gepa_its_cell_says_how_to_install_it(url: str, tmp_path: Path) -> None:
    try:
        library()
    except InputError as error:
        assert "pip install gepa" in str(error)
        told = benchmark(url, tmp_path / "peers.jsonl", "id", "gepa")
        assert "left out" in told
        assert "pip install gepa" in told


def test_every_method_and_set_of_the_issue_is_there() -> None:
    assert {"frozen", "few-shot-4", "few-shot-8", "few-shot-16", "few-shot-chosen", "written"} <= set(METHODS)
    assert {"gepa", "paper", "learner"} <= set(METHODS)
    assert {"labels", "format", "extraction", "reviews", "facts", "gym", "agent"} <= set(SETS)
