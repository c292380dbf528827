"""Wrong input from the shell: one line that says what to do, before anything is spent."""

import sqlite3
from pathlib import Path

import pytest

from tests.cli.shell import TEXT, learn_routing, one_line, tfgrpo, write_tasks
from tfgrpo.records import Experience, Prior
from tfgrpo.testing import Answer, ScriptedModel, serving

BAD_FILES = {
    "not JSON": ('{"input": "a"}\n{"input": oops}\n', ("t.jsonl", "line 2", "oops")),
    "no input": ('{"answer": "a"}\n', ("t.jsonl", "line 1", "input")),
    "one id for two tasks": (
        '{"id": "7", "input": "a", "answer": "x"}\n{"id": "7", "input": "b", "answer": "x"}\n',
        ("t.jsonl", "line 1", "line 2", "7"),
    ),
    "an empty file": ("", ("t.jsonl",)),
}


@pytest.mark.parametrize(("text", "words"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_task_file_is_one_line_and_spends_nothing(
    folder: Path, url: str, model: ScriptedModel, text: str, words: tuple[str, ...]
) -> None:
    (folder / "t.jsonl").write_text(text)
    one_line(tfgrpo("learn", "t.jsonl", "--model", "fake", "--base-url", url), *words)
    assert model.requests == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("learn", "train.jsonl", "--model", "fake", "--reward", "exakt"), ("exakt", "exact")),
        (("learn", "missing.jsonl", "--model", "fake"), ("missing.jsonl",)),
        (("learn", "train.jsonl"), ("--model",)),
        (("learn", "train.jsonl", "--model", "fake"), ("OPENAI_API_KEY",)),
        (
            ("learn", "train.jsonl", "--model", "fake", "--base-url", "http://127.0.0.1:9/v1"),
            ("127.0.0.1:9", "--base-url"),
        ),
        (("learn", "train.jsonl", "--model", "fake", "--system", "nowhere.txt"), ("nowhere.txt",)),
        (("learn", "train.jsonl", "--model", "fake", "--request", "bad.json"), ("bad.json", "line 1")),
        (("learn", "train.jsonl", "--model", "fake", "--request", "reserved.json"), ("messages", "cannot be set")),
        (("learn", "train.jsonl", "--model", "fake", "--steps", "0"), ("steps", "at least 1")),
        (("learn", "train.jsonl", "--model", "fake", "--temperature", "nan"), ("temperature", "nan")),
        (("learn", "train.jsonl", "--model", "fake", "--top-p", "0"), ("top_p",)),
        (("learn", "train.jsonl", "--model", "fake", "--request", "hot.json"), ("hot.json", "temperature", "hot")),
        (("learn", "train.jsonl", "--model", "fake", "--request", "biased.json"), ("logit_bias",)),
        (("demo", "--json", "no/such/folder.json"), ("no/such/folder.json",)),
        (("learn", "train.jsonl", "--model", "fake", "--store", "."), ("folder",)),
        (("learn", "train.jsonl", "--model", "fake", "--store", "train.jsonl"), ("train.jsonl",)),
        (("learn", "train.jsonl", "--model", "fake", "--store", "other.db"), ("other.db",)),
        (("eval", "train.jsonl"), ("tfgrpo.db",)),
        (("eval", "train.jsonl", "--save-rollouts", "no/such/r.jsonl"), ("no/such/r.jsonl", "folder")),
        (("prior", "show"), ("tfgrpo.db",)),
        (("prior", "list", "--store", "no/such/t.db"), ("no/such/t.db",)),
        (("chat", "hello"), ("tfgrpo.db",)),
        (("serve", "--upstream", "http://127.0.0.1:9/v1", "--upstream-key-env", "NO_SUCH"), ("NO_SUCH",)),
    ],
)
def test_bad_input_is_one_line(folder: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    many = [Path(write_tasks(folder / "train.jsonl", start)).read_text() for start in (0, 100, 200, 300)]
    (folder / "train.jsonl").write_text("\n".join(many))
    (folder / "bad.json").write_text("{")
    (folder / "hot.json").write_text('{"temperature": "hot"}')
    (folder / "biased.json").write_text('{"logit_bias": {"abc": 1}}')
    (folder / "reserved.json").write_text('{"messages": []}')
    with sqlite3.connect("other.db") as other:
        other.execute("CREATE TABLE theirs (x)")
    before = (folder / "other.db").read_bytes()
    one_line(tfgrpo(*arguments), *words)
    assert (folder / "other.db").read_bytes() == before


def test_a_refused_key_is_one_line_without_the_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-1234567890")
    echoing = ScriptedModel(lambda body: Answer("bad key sk-very-secret-1234567890", status=401))
    with serving(echoing.app) as url:
        result = learn_routing(folder, url)
    one_line(result, "401", "OPENAI_API_KEY")
    assert "secret" not in result.output
    assert b"very-secret" not in b"".join(path.read_bytes() for path in folder.glob("tfgrpo.db*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("experience", "show", "exp_nowhere"), ("exp_nowhere", "experience list")),
        (("experience", "show", Experience(TEXT).id, "--namespace", "math"), ("not in namespace math",)),
        (("experience", "add", "When asked, say tangerine orchard."), ("not admitted", "gives away the answer")),
        (("experience", "add", TEXT), ("kept already",)),
        (("experience", "add", "Think.", "--by", "rule"), ("--by",)),
        (("experience", "edit", Experience(TEXT).id, ""), ("empty",)),
        (("experience", "retire", "exp_nowhere"), ("exp_nowhere",)),
        (("prior", "use", "prior_nowhere"), ("prior_nowhere", "prior list")),
        (("prior", "diff", "prior_"), ("several priors",)),
        (("prior", "rollback", "--by", "rule"), ("--by",)),
        (("prior", "list", "--namespace", " "), ("--namespace", "visible characters")),
        (("experience", "add", "Think.", "--namespace", "a\x1b[2Jb"), ("--namespace 'a\\x1b[2Jb'",)),
        (("prior", "export", "--namespace", "math"), ("no prior is live in namespace math",)),
        (("prior", "export", "-o", "no/such/p.json"), ("no/such/p.json",)),
        (("prior", "export", "-o", "./tfgrpo.db"), ("is the store itself",)),
        (("prior", "export", "--rollouts", "--format", "text"), ("--rollouts",)),
        (("prior", "import", "texts.json", "--use"), ("--use", "on trial")),
        (("runs", "show", "run_nowhere"), ("run_nowhere",)),
        (("store", "verify", "--store", "texts.json"), ("texts.json",)),
        (("runs", "list", "--store", "none.db"), ("none.db",)),
    ],
)
def test_bad_input_about_a_store_is_one_line(
    priors: tuple[Prior, Prior], arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    Path("texts.json").write_text('{"G0": "Think."}')
    one_line(tfgrpo(*arguments), *words)


@pytest.mark.parametrize(
    "arguments",
    [
        ("experience", "add", "half \udcff"),
        ("experience", "add", "whole", "--by", "\udcff"),
        ("experience", "add", "whole", "--namespace", "\udcff"),
        ("experience", "show", "exp_\udcff"),
        ("prior", "rollback", "--why", "\udcff"),
        ("prior", "import", "\udcff.json"),
        ("prior", "list", "--store", "\udcff.db"),
        ("chat", "\udcff"),
        ("learn", "tasks.jsonl", "--model", "\udcff"),
    ],
)
def test_bytes_that_are_no_text_are_refused_by_name(priors: tuple[Prior, Prior], arguments: tuple[str, ...]) -> None:
    one_line(tfgrpo(*arguments), "holds bytes that are not UTF-8")


def test_half_a_surrogate_pair_in_a_request_file_is_one_line(folder: Path) -> None:
    Path("request.json").write_text('{"stop": "\\ud83d"}')
    tasks = write_tasks(Path("tasks.jsonl"))
    given = (
        "learn",
        tasks,
        "--gate",
        "none",
        "--model",
        "m",
        "--base-url",
        "http://127.0.0.1:9/v1",
        "--request",
        "request.json",
    )
    one_line(tfgrpo(*given), "request.json", "half a surrogate pair")
