"""The group `tfgrpo`: help of every command, and what ends one."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import click

from tests.cli.shell import learn_routing, tfgrpo, write_tasks
from tests.help import commands, reference
from tests.routing import TASKS, WORDS, talkative
from tests.tables import each
from tfgrpo.cli import main
from tfgrpo.records import ChatBody
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel, SimulatedPolicy, serving


def test_learn_eval_show_and_chat_work_together(folder: Path, far_url: str) -> None:
    learned = learn_routing(folder, far_url)
    assert learned.exit_code == 0, learned.output
    assert "is live, ungated" in learned.stdout

    result = tfgrpo("eval", write_tasks(folder / "test.jsonl", 100), "--base-url", far_url, "--json")
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

    said = json.loads(tfgrpo("chat", "about an invoice", "--base-url", far_url, "--json").stdout)
    assert said["text"] in WORDS
    assert said["prior"] == shown["id"]


def test_tables_are_printed_without_json(folder: Path, url: str) -> None:
    learn_routing(folder, url)
    assert "ungated" in tfgrpo("prior", "list").stdout
    assert "token biases" in tfgrpo("prior", "show").stdout
    assert "'billing'" in tfgrpo("tokens", "show").stdout
    elsewhere = tfgrpo("tokens", "show", "--namespace", "other").stdout
    assert elsewhere == "no token prior is live in namespace other; tfgrpo prior list shows what there is\n"
    assert "no experience" in tfgrpo("experience", "list").stdout
    assert tfgrpo("chat", "about an invoice", "--base-url", url, "--show-prior").stderr.startswith("prior prior_")


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
        more = ["--base-url", url, "--steps", "50", "--no-experiences", "--gate", "none", "--concurrency", "4"]
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


@each("name", [name for name, _ in commands(main, "tfgrpo")])
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


SAYS_NOTHING = {"tfgrpo serve", "tfgrpo collect", "tfgrpo local serve", "tfgrpo prior export", "tfgrpo tasks from"}
"""Commands that run until they are stopped, or write what they were asked for and nothing else."""


def test_every_command_that_prints_a_result_prints_it_as_json_too() -> None:
    mute = {
        name
        for name, command in commands(main, "tfgrpo")
        if not isinstance(command, click.Group)
        and "--json" not in [option for param in command.params for option in param.opts]
    }
    assert mute == SAYS_NOTHING


def test_the_reference_names_every_command() -> None:
    text = reference()
    assert all(f"## {name}\n" in text for name, _ in commands(main, "tfgrpo"))
