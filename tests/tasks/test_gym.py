"""Tasks of reasoning-gym: mostly on a small stand-in for the library, and on the library where it is installed."""

import asyncio
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tfgrpo.cli import main
from tfgrpo.errors import InputError
from tfgrpo.records import JSON, ChatBody, Rollout, Task, message_text
from tfgrpo.rollouts.rewards.built_in import check, default_reward, load_reward
from tfgrpo.rollouts.rewards.reward import score
from tfgrpo.store import Store
from tfgrpo.tasks.gym.verifier import EXECUTING, verifier
from tfgrpo.tasks.read import TaskSet, read_tasks
from tfgrpo.testing import ScriptedModel, serving

LIBRARY = """
import random
import re
from types import SimpleNamespace


def entry(family, seed, index):
    draw = random.Random(seed + index)
    one, two = draw.randrange(10**6), draw.randrange(10**6)
    metadata = {"source_dataset": family, "source_index": index, "terms": [one, two]}
    if family == "sets":
        return {"question": "+".join({str(one), str(two), "0", "x", "y"}), "answer": str(one), "metadata": metadata}
    if family == "tuples":
        metadata["terms"] = (one, two)
    if family == "coin":
        return {"question": "Heads or tails?", "answer": "heads", "metadata": {"source_index": index}}
    answer = None if family == "open" else str(one + two)
    return {"question": f"{one} + {two} = ?", "answer": answer, "metadata": metadata}


def score(family):
    def verify(answer, entry):
        if family == "tuples":
            return float(isinstance(entry["metadata"]["terms"], tuple))
        if family == "open":
            return 0.5
        if family == "sum" and answer != entry["answer"]:
            return 0.25 if abs(int(answer) - sum(entry["metadata"]["terms"])) < 10 else 0.0
        return float(answer == entry["answer"])
    return verify


class Dataset:
    def __init__(self, family, seed):
        self.family, self.seed = family, seed

    def __getitem__(self, index):
        print("chatter")
        return entry(self.family, self.seed, index)


def create_dataset(family, size, seed):
    if family == "broken":
        raise ValueError("no such luck")
    if family == "dead":
        raise SystemExit("killed")
    return Dataset(family, seed)


def extract_answer(text):
    found = re.findall("<answer>(.*?)</answer>", text)
    return found[-1] if found else None


families = ("broken", "coin", "countdown", "dead", "open", "sets", "sum", "tuples")
factory = SimpleNamespace(DATASETS=dict.fromkeys(families), get_score_answer_fn=score)
utils = SimpleNamespace(extract_answer=extract_answer)
"""


@pytest.fixture(name="library")
def _library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The stand-in, here and in the child that makes the tasks."""
    (tmp_path / "reasoning_gym.py").write_text(LIBRARY)
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "reasoning_gym", None)  # so that what is there comes back afterwards
        patched.delitem(sys.modules, "reasoning_gym")
        patched.syspath_prepend(tmp_path)
        patched.setenv("PYTHONPATH", str(tmp_path))
        verifier.cache_clear()
        yield
    verifier.cache_clear()


def reward(task: Task, text: str) -> float | None:
    rollout = Rollout(task, 0, 0, "", text=text)
    return asyncio.run(score(load_reward("gym"), rollout)).reward


def first(found: TaskSet) -> Task:
    return found.tasks[0]


@pytest.mark.usefixtures("library")
def test_a_source_is_the_same_for_one_seed_and_another_for_the_next() -> None:
    once = read_tasks("gym:sum?size=5&seed=1")
    assert len(once.tasks) == 5
    assert once.source == "gym:sum?size=5&seed=1"
    assert read_tasks("gym:sum?seed=1&size=5").tasks == once.tasks
    assert read_tasks("gym:sum?size=3&seed=1").tasks == once.tasks[:3], "a smaller source is the beginning of a larger"
    other = read_tasks("gym:sum?size=5&seed=2")
    assert not {task.id for task in once.tasks} & {task.id for task in other.tasks}, "seeds share no task"


@pytest.mark.usefixtures("library")
def test_what_hangs_on_the_hash_seed_is_fixed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for seed in ("1", "2", "3"):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        found.append(read_tasks("gym:sets?size=3").tasks)
    assert found[0] == found[1] == found[2]


@pytest.mark.usefixtures("library")
def test_size_and_seed_need_not_be_given() -> None:
    assert len(read_tasks("gym:sum").tasks) == 50
    assert read_tasks("gym:sum?size=2&seed=0").tasks == read_tasks("gym:sum?size=2").tasks


@pytest.mark.usefixtures("library")
def test_equal_tasks_of_a_source_are_one() -> None:
    found = read_tasks("gym:coin?size=4")
    assert [(task.count, task.metadata["id"]) for task in found.tasks] == [(4, "coin-0-1")]


@pytest.mark.usefixtures("library")
def test_the_familys_own_verifier_scores() -> None:
    task = first(read_tasks("gym:sum?size=1"))
    right = int(str(task.answer))
    assert reward(task, f"{right}") == 1.0
    assert reward(task, f"First 7, then <answer>1</answer>, no: <answer>{right}</answer>.") == 1.0
    assert reward(task, f"{right + 1}") == 0.25
    assert reward(task, "100000000") == 0.0


@pytest.mark.usefixtures("library")
def test_an_answer_that_the_verifier_cannot_read_is_wrong_and_not_lost() -> None:
    task = first(read_tasks("gym:sum?size=1"))
    assert [reward(task, text) for text in ("a hundred", "", "\x00")] == [0.0, 0.0, 0.0]


@pytest.mark.usefixtures("library")
def test_a_task_without_an_answer_is_scored_all_the_same() -> None:
    task = first(read_tasks("gym:open?size=1"))
    assert (task.answer, reward(task, "anything")) == (None, 0.5)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("gym:", "gym:FAMILY?size=50&seed=1"),
        ("gym:?size=5", "gym:FAMILY?size=50&seed=1"),
        ("gym:sum?", None),
        ("gym:sum?size", "gym:FAMILY?size=50&seed=1"),
        ("gym:sum?size=5&size=6", "gym:FAMILY?size=50&seed=1"),
        ("gym:sum?colour=red", "gym:FAMILY?size=50&seed=1"),
        ("gym:sum?size=", "size must be a whole number from 1 to 10000"),
        ("gym:sum?size=0", "size must be a whole number"),
        ("gym:sum?size=10001", "size must be a whole number"),
        ("gym:sum?size=1.5", "size must be a whole number"),
        ("gym:sum?size=٣", "size must be a whole number"),
        ("gym:sum?seed=-1", "seed must be a whole number"),
        ("gym:sun", "no family 'sun'; did you mean sum?"),
        ("gym:SUM", "did you mean sum?"),
        ("gym:zzzz", "there are broken, coin"),
        ("gym:broken", "made no tasks (ValueError: no such luck)"),
        ("gym:dead", "made no tasks (killed)"),
        ("gym:tuples", "lose what their verifier needs"),
        ("gym:countdown", "runs answers as Python"),
    ],
)
def test_a_source_that_cannot_be_used_says_why(source: str, words: str | None) -> None:
    if words is None:
        assert read_tasks(source).tasks
        return
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        read_tasks(source)
    assert "\n" not in str(caught.value)


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(InputError, match=r"extra `gym`: .*pip install .*\[gym\]'"):
        read_tasks("gym:leg_counting")


def test_a_source_comes_with_its_reward() -> None:
    assert [default_reward(source) for source in ("gym:sum?size=3", "tasks.jsonl", "-")] == ["gym", "exact", "exact"]


@pytest.mark.usefixtures("library")
def test_a_task_that_is_none_of_the_gyms_is_refused_before_anything_is_spent() -> None:
    with pytest.raises(InputError, match="none of reasoning-gym's"):
        check(load_reward("gym"), [Task("2 + 2", "4")])
    unsafe = Task("2 + 2", "4", {"gym": "countdown", "entry": {}})
    with pytest.raises(InputError, match="runs answers as Python"):
        check(load_reward("gym"), [unsafe])
    check(load_reward("gym"), read_tasks("gym:sum?size=2").tasks)


@pytest.mark.usefixtures("library")
def test_learn_takes_a_source_and_scores_it_by_its_verifier(tmp_path: Path) -> None:
    def adds(body: ChatBody) -> str:
        terms = re.findall(r"[0-9]+", message_text(body["messages"][-1]))
        return f"<answer>{sum(map(int, terms)) + 100 * (body['seed'] % 2)}</answer>"

    def tfgrpo(*arguments: str) -> JSON:
        return json.loads(CliRunner().invoke(main, [*arguments, "--store", str(tmp_path / "t.db"), "--json"]).stdout)

    with serving(ScriptedModel(adds).app) as url:
        upstream = ("--model", "fake", "--base-url", url)
        learned = tfgrpo(
            "learn", "gym:sum?size=4&seed=1", *upstream, "--steps", "1", "--no-experiences", "--gate", "none"
        )
    assert 0 < learned["steps"][0]["mean_reward"] < 1
    with Store(tmp_path / "t.db") as store:
        assert store.run(learned["run"]).reward == "gym"


def test_no_verifier_of_the_library_that_runs_answers_is_overlooked() -> None:
    library = importlib.util.find_spec("reasoning_gym")
    if library is None or library.origin is None:
        pytest.skip("reasoning-gym is not installed")
    families = set()
    for file in Path(library.origin).parent.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        name = re.search(r'^DATASET_NAME = "(\w+)"', text, re.MULTILINE)
        if name and re.search(r"\b(eval|exec|parse_expr|sympify)\((?:user_)?answer\b", text):
            families.add(name[1])
    assert families == EXECUTING


@pytest.mark.filterwarnings("ignore")  # of the libraries that reasoning-gym loads
def test_the_library_itself_makes_tasks_that_its_verifiers_accept() -> None:
    pytest.importorskip("reasoning_gym", exc_type=ImportError)
    verifier.cache_clear()
    task = first(read_tasks("gym:word_ladder?size=2&seed=1"))
    assert reward(task, f"<answer>{task.answer}</answer>") == 1.0
    assert reward(task, "no idea") == 0.0
