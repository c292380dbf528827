"""Every command as a user meets it: from the shell, with right and wrong input."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tests.help import commands, reference
from tests.routing import TASKS, WORDS, talkative
from tfgrpo.cli import main
from tfgrpo.records import ChatBody
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel, SimulatedPolicy, serving

SMALL = ("--steps", "2", "--group-size", "6", "--no-experiences", "--gate", "none")


def tfgrpo(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def write_tasks(path: Path, start: int = 0) -> str:
    lines = [{"input": f"{task.prompt} ({start + place})", "answer": task.answer} for place, task in enumerate(TASKS)]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return str(path)


def learn(folder: Path, url: str, *more: str) -> Result:
    tasks = write_tasks(folder / "train.jsonl")
    return tfgrpo("learn", tasks, "--model", "fake", "--base-url", url, *SMALL, *more)


def test_learn_eval_show_and_chat_work_together(folder: Path, url: str) -> None:
    learned = learn(folder, url)
    assert learned.exit_code == 0, learned.output
    assert "is live, ungated" in learned.stdout

    result = tfgrpo("eval", write_tasks(folder / "test.jsonl", 100), "--base-url", url, "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert figures["tasks"] == len(TASKS)
    assert figures["means"]["learned"] > figures["means"]["frozen"]
    assert figures["difference"]["low"] <= figures["difference"]["mean"] <= figures["difference"]["high"]
    assert round(figures["constant_mean"], 3) == 0.333

    shown = json.loads(tfgrpo("prior", "show", "--json").stdout)
    assert {entry["text"] for entry in shown["biases"]} <= set(WORDS)
    assert json.loads(tfgrpo("tokens", "show", "--json").stdout) == shown["biases"]
    (event,) = json.loads(tfgrpo("prior", "list", "--json").stdout)
    assert (event["prior"], event["state"]) == (shown["id"], "ungated")
    assert json.loads(tfgrpo("experience", "list", "--json").stdout) == []

    said = json.loads(tfgrpo("chat", "about an invoice", "--base-url", url, "--json").stdout)
    assert said["text"] in WORDS
    assert said["prior"] == shown["id"]


def test_tables_are_printed_without_json(folder: Path, url: str) -> None:
    learn(folder, url)
    assert "ungated" in tfgrpo("prior", "list").stdout
    assert "token biases" in tfgrpo("prior", "show").stdout
    assert "'The'" in tfgrpo("tokens", "show").stdout
    assert "no experience" in tfgrpo("experience", "list").stdout
    assert tfgrpo("chat", "about an invoice", "--base-url", url, "--show-prior").stderr.startswith("prior prior_")


def test_chat_sends_the_prior_unless_told_not_to(folder: Path, url: str, model: ScriptedModel) -> None:
    learn(folder, url)
    tfgrpo("chat", "about an invoice", "--base-url", url)
    assert model.requests[-1]["logit_bias"]
    tfgrpo("chat", "about an invoice", "--base-url", url, "--no-prior")
    assert "logit_bias" not in model.requests[-1]
    other = tfgrpo("chat", "about an invoice", "--base-url", url, "--model", "another")
    assert "logit_bias" not in model.requests[-1]
    assert "token prior left out" in other.stderr


def test_the_request_frame_is_sent_and_stored(folder: Path, url: str, model: ScriptedModel) -> None:
    (folder / "system.txt").write_text("Route it.\n")
    (folder / "request.json").write_text('{"max_tokens": 8, "temperature": 1.0, "user": "u1"}')
    assert learn(folder, url, "--system", "system.txt", "--request", "request.json").exit_code == 0
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


def test_tasks_that_were_learned_from_are_left_out_of_evaluation(folder: Path, url: str) -> None:
    learn(folder, url)
    both = folder / "both.jsonl"
    write_tasks(both, 100)
    both.write_text(both.read_text() + "\n" + (folder / "train.jsonl").read_text())
    result = tfgrpo("eval", str(both), "--base-url", url)
    assert f"{len(TASKS)} tasks left out: used for learning" in result.stderr
    assert result.stdout.startswith(f"{len(TASKS)} tasks x 4 rollouts")
    refused = tfgrpo("eval", str(folder / "train.jsonl"), "--base-url", url)
    assert refused.exit_code == 1
    assert "give others to eval" in refused.stderr


def one_line(result: Result, *words: str) -> None:
    """Exit code 1, and one line on stderr that holds the words."""
    assert result.exit_code == 1, result.output
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("Error: ")
    for word in words:
        assert word in result.stderr
    assert "Traceback" not in result.output


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
        result = learn(folder, url)
    one_line(result, "401", "OPENAI_API_KEY")
    assert "secret" not in result.output
    assert b"very-secret" not in b"".join(path.read_bytes() for path in folder.glob("tfgrpo.db*"))


def test_ctrl_c_keeps_what_was_done(folder: Path) -> None:
    policy, many = SimulatedPolicy(WORDS, talkative), threading.Event()
    model = ScriptedModel(policy)

    def script(body: ChatBody) -> Answer:
        if len(model.requests) > 40:
            many.set()
        return policy(body)

    model.script = script
    with serving(model.app) as url:
        command = [sys.executable, "-m", "tfgrpo", "learn", write_tasks(folder / "train.jsonl"), "--model", "fake"]
        more = ["--base-url", url, "--steps", "50", "--no-experiences", "--gate", "none"]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
        process = subprocess.Popen([*command, *more], stderr=subprocess.PIPE, text=True, env=environment)
        assert many.wait(60)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert stderr.splitlines()[-1].startswith("Interrupted.")
    with Store("tfgrpo.db") as store:
        (entry,) = store.runs()
        assert entry.run.status == "interrupted"
        assert store.spent(entry.run.id).calls >= 30


@pytest.mark.parametrize("name", [name for name, _ in commands(main, "tfgrpo")])
def test_every_command_has_help(name: str) -> None:
    result = tfgrpo(*name.split()[1:], "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


def test_every_option_is_explained() -> None:
    bare = [
        f"{name} {option.opts[0]}"
        for name, command in commands(main, "tfgrpo")
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert bare == []


def test_the_reference_names_every_command() -> None:
    text = reference()
    assert all(f"## {name}\n" in text for name, _ in commands(main, "tfgrpo"))
