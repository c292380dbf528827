"""Agents as a user meets them, from the shell; on the embedded model one learns in the tests of the demo."""

import json
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.rollouts.agents.made import PRINTS
from tests.routing import TASKS
from tfgrpo.cli import main
from tfgrpo.records import message_text
from tfgrpo.store import Store
from tfgrpo.testing import ScriptedModel


@pytest.fixture
def folder(folder: Path) -> Path:
    """The current folder, with tasks and a program that answers them."""
    for name, number in (("train", 0), ("test", 100)):
        lines = [json.dumps({"input": f"{task.prompt} ({number})", "answer": task.answer}) for task in TASKS[:9]]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    (folder / "agent.py").write_text(PRINTS)
    return folder


COMMAND = f"{sys.executable} agent.py {{input}}"


def tfgrpo(command: str, tasks: str, url: str, *more: str) -> Result:
    ungated = ("--gate", "none") if command == "learn" else ()
    return CliRunner().invoke(main, [command, tasks, "--model", "fake", "--base-url", url, *ungated, *more])


FUNCTION = "tests.own_agents:route"


def asked(model: ScriptedModel) -> list[bool]:
    """Of each request of an agent since the last look, whether it was sent a token prior."""
    sent = [body for body in model.requests if message_text(body["messages"][-1]).startswith("message ")]
    model.requests.clear()
    return ["logit_bias" in body for body in sent]


def test_a_function_is_learned_for_and_its_prior_reaches_a_program_too(
    folder: Path, url: str, model: ScriptedModel
) -> None:
    small = ("--steps", "2", "--group-size", "8", "--no-experiences")
    learned = tfgrpo("learn", "train.jsonl", url, "--agent", FUNCTION, *small, "--json")
    assert learned.exit_code == 0, learned.output
    assert json.loads(learned.stdout)["biases"] > 0
    assert "/completions or /decisions ends the run; all others go to the upstream as they are" in learned.stderr
    assert asked(model) == [False] * 9 * 8 + [True] * 9 * 8, "from the second step on"
    (folder / "test.jsonl").write_text("\n".join((folder / "test.jsonl").read_text().splitlines()[:3]))
    measured = tfgrpo("eval", "test.jsonl", url, "--command", COMMAND, "--repeat", "1", "--json")
    assert measured.exit_code == 0, measured.output
    assert json.loads(measured.stdout)["tasks"] == 3
    assert sorted(asked(model)) == [False] * 6 + [True] * 3, "frozen, few-shot, and the learned arm"
    with Store(folder / "tfgrpo.db") as store:
        kinds = {entry.run.kind: entry.run.settings["agent"] for entry in store.runs()}
        assert kinds == {"learn": FUNCTION, "eval": COMMAND}


def test_a_program_is_learned_for(folder: Path, url: str, model: ScriptedModel) -> None:
    small = ("--steps", "1", "--group-size", "2", "--no-experiences")
    learned = tfgrpo("learn", "train.jsonl", url, "--command", COMMAND, *small, "--json")
    assert learned.exit_code == 0, learned.output
    assert len(asked(model)) == 9 * 2
    with Store(folder / "tfgrpo.db") as store:
        assert [entry.run.settings["agent"] for entry in store.runs()] == [COMMAND]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("--command", "prog"), "write {input} where the task goes"),
        (("--agent", "a:b", "--command", COMMAND), "give one of them"),
        (("--command", COMMAND, "--agent-timeout", "0"), "agent_timeout is 0.0; it must be a number above 0"),
        (("--command", COMMAND, "--system", "agent.py"), "an agent writes its own requests"),
    ],
)
def test_options_that_make_no_agent_are_refused_at_once(
    folder: Path, url: str, model: ScriptedModel, more: tuple[str, ...], why: str
) -> None:
    result = tfgrpo("learn", "train.jsonl", url, *more)
    assert (result.exit_code, model.requests) == (1, [])
    assert why in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_command_whose_every_rollout_fails_says_why(folder: Path, url: str) -> None:
    (folder / "agent.py").write_text("print('billing')")
    result = tfgrpo("learn", "train.jsonl", url, "--command", COMMAND, "--steps", "1", "--group-size", "2")
    assert result.exit_code == 1
    assert re.search("every rollout of step 1 failed; the first one: .* made no model call", result.stderr)
