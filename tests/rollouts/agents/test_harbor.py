"""Sandboxed tasks and agents of Harbor's, against a program with Harbor's interface: no container engine runs here.

What it is called with and what it writes was compared with harbor 0.26.
"""

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import one_line, tfgrpo
from tests.rollouts.agents.made import always, rolled
from tests.tables import each
from tfgrpo.errors import AgentError, InputError
from tfgrpo.records import Rollout, Task
from tfgrpo.rollouts.agents import check_inputs, load_agent
from tfgrpo.rollouts.agents.agent import WorkerLost
from tfgrpo.rollouts.agents.harbor import verified_trial
from tfgrpo.rollouts.rewards.built_in import load_reward, reward_of
from tfgrpo.rollouts.rewards.reward import score
from tfgrpo.settings import Settings
from tfgrpo.tasks.read import read_tasks

FAKE = """
import json, os, pathlib, sys, urllib.request
words = sys.argv[1:]
given = dict(zip(words[2:], words[3:]))
if words[0] == "download":
    given = dict(zip(words[2:], words[3:]))
    if words[1] != "org/echo@1":
        sys.exit("Error: Dataset " + words[1] + " not found in registry")
    task = pathlib.Path(given["--output-dir"]) / "echo" / "one"
    task.mkdir(parents=True)
    (task / "task.toml").write_text("")
    (task / "instruction.md").write_text("Say billing.")
    sys.exit()
assert words[:2] == ["trial", "start"], words
task = pathlib.Path(given["--path"])
if given["--agent"] == "breaks":
    sys.exit("Docker is not running. sk-live-0123456789abcdef")
model = given["--model"].partition("/")[2]
body = {"model": model, "messages": [{"role": "user", "content": (task / "instruction.md").read_text()}]}
url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
headers = {"content-type": "application/json", "authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)) as answer:
    said = json.load(answer)["choices"][0]["message"]["content"]
trial = pathlib.Path(given["--trials-dir"]) / (task.name + "__abc")
trial.mkdir()
rewards = {"reward": float(said in (task / "tests" / "right").read_text())}
if given["--agent"] == "unjudged":
    rewards = {"reward": None}
result = {"verifier_result": {"rewards": rewards}, "exception_info": None, "reward_valid": True}
(trial / "result.json").write_text(json.dumps(result))
"""


@pytest.fixture
def harbor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two tasks, and the program beside them on the path."""
    program = tmp_path / "bin" / "harbor"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{FAKE}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, right in (("good", "billing"), ("bad", "sales")):
        task = tmp_path / "tasks" / name
        (task / "tests").mkdir(parents=True)
        (task / "task.toml").write_text('[task]\nname = "w/echo"\n')
        (task / "instruction.md").write_text("Which queue? My card was charged twice.\n")
        (task / "tests" / "right").write_text(right)
    return tmp_path / "tasks"


def test_a_folder_is_read_as_tasks_that_differ_where_anything_that_belongs_to_them_does(harbor: Path) -> None:
    bad, good = read_tasks(f"harbor:{harbor}").tasks
    assert (bad.prompt, good.prompt) == ("Which queue? My card was charged twice.",) * 2
    assert bad.id != good.id
    assert good.metadata["id"] == str(harbor / "good")
    (moved,) = read_tasks(f"harbor:{(harbor / 'good').rename(harbor.parent / 'moved')}").tasks
    assert moved.id == good.id


def test_a_data_set_of_the_registry_is_fetched_once(harbor: Path) -> None:
    (task,) = read_tasks("harbor:org/echo@1").tasks
    (harbor.parent / "bin" / "harbor").write_text(f"#!{sys.executable}\nraise SystemExit('asked again')")
    assert read_tasks("harbor:org/echo@1").tasks == (task,)


def test_names_and_files_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    def made(name: bytes) -> bytes:
        folder = os.path.join(os.fsencode(tmp_path), name)
        os.makedirs(folder)
        for file, text in ((b"task.toml", ""), (b"instruction.md", "Do it.")):
            Path(os.fsdecode(os.path.join(folder, file))).write_text(text)
        return folder

    Path(os.fsdecode(os.path.join(made(b"good/one"), b"file\xff"))).write_text("")
    assert len(read_tasks(f"harbor:{tmp_path}/good").tasks) == 1
    made(b"bad/one\xff")
    for name, why in ((f"{tmp_path}/bad", "no text"), ("~nobody-of-that-name/x", "home"), ("a" * 300, "too long")):
        with pytest.raises(InputError, match=why):
            read_tasks(f"harbor:{name}")


async def test_a_trial_is_biased_and_recorded_and_its_verifier_gives_the_reward(harbor: Path) -> None:
    bad, good = read_tasks(f"harbor:{harbor}").tasks
    agent, (reward, name) = load_agent("harbor:terminus-2?env=docker", None), reward_of(None, f"harbor:{harbor}")
    assert agent is not None and (agent.name, name) == ("harbor:terminus-2?env=docker", "harbor")
    check_inputs(agent, [bad, good])
    made = [await score(reward, await rolled(agent, always(), task=task)) for task in (good, bad)]
    assert [(one.reward, one.error, one.usage.calls) for one in made] == [(1.0, None, 1), (0.0, None, 1)]
    assert "answer with its name" in str(made[0].messages[0]["content"])


async def test_a_trial_without_a_reward_is_a_failed_rollout_and_ends_no_run(harbor: Path) -> None:
    (task, _), agent = read_tasks(f"harbor:{harbor}").tasks, load_agent("harbor:unjudged", None)
    assert agent is not None
    made = await score(load_reward("harbor"), await rolled(agent, always(), task=task))
    assert (made.reward, made.error) == (None, "the verifier gave no reward: reward is null")


async def test_a_harbor_that_does_not_run_is_an_error_without_secrets(harbor: Path) -> None:
    (task, _), agent = read_tasks(f"harbor:{harbor}").tasks, load_agent("harbor:breaks", None)
    assert agent is not None
    made = await rolled(agent, always(), Settings(), task=task)
    assert made.error == "harbor ended with code 1 and no result: Docker is not running. ***"
    program = harbor.parent / "bin" / "harbor"
    wrote = "import pathlib, sys\nat = pathlib.Path(sys.argv[sys.argv.index('--trials-dir') + 1]) / 'one'\nat.mkdir()\n"
    program.write_text(f"#!{sys.executable}\n{wrote}(at / 'result.json').write_text('[]')")
    assert (
        await rolled(agent, always(), Settings(), task=task)
    ).error == "harbor ended with code 0, and its result is none"
    program.unlink()
    assert (await rolled(agent, always(), Settings(), task=task)).error == (
        "harbor cannot be started: No such file or directory"
    )


@each(
    ("result", "found"),
    [
        ({"verifier_result": {"rewards": {"reward": 1}}, "exception_info": None}, {"rewards": {"reward": 1}}),
        (
            {
                "verifier_result": {"rewards": {"reward": 0}}, "reward_valid": True,
                "exception_info": {"exception_type": "AgentTimeoutError", "exception_message": "60 s", "policy": {}},
            },
            {"rewards": {"reward": 0}, "failure": "AgentTimeoutError: 60 s"},
        ),
        (
            {
                "verifier_result": None,
                "exception_info": {
                    "exception_type": "EnvironmentStartTimeoutError", "exception_message": "no",
                    "policy": {"should_retry": True, "should_grade": False, "has_valid_reward": False},
                },
            },
            WorkerLost("the sandbox failed: EnvironmentStartTimeoutError: no"),
        ),
        (
            {
                "verifier_result": {"rewards": {"reward": 1}}, "reward_valid": False,
                "exception_info": {
                    "exception_type": "APIError", "exception_message": "500",
                    "policy": {"should_retry": True, "should_grade": True, "has_valid_reward": False},
                },
            },
            AgentError("the verifier gave no reward: APIError: 500"),
        ),
        ({"verifier_result": None, "exception_info": None}, AgentError("gave no reward: nothing says why")),
        ({"verifier_result": {"rewards": None}}, AgentError("gave no reward: nothing says why")),
        ({"verifier_result": {"rewards": {"reward": None, "style": 1}}}, AgentError("gave no reward: reward is null")),
        ({"verifier_result": {"rewards": {"tests": math.nan}}}, AgentError("gave no reward: tests is NaN")),
        ({"verifier_result": {"rewards": {"reward": "1"}}}, AgentError('gave no reward: reward is "1"')),
        ({"verifier_result": {"rewards": {"reward": 0, "style": None}}}, {"rewards": {"reward": 0, "style": None}}),
    ],
)  # fmt: skip
def test_what_a_trial_came_to_is_told_from_its_result(result: dict[str, Any], found: object) -> None:
    if isinstance(found, AgentError):
        with pytest.raises(type(found), match=str(found)):
            verified_trial(result)
    else:
        assert verified_trial(result) == found


def test_several_rewards_need_one_that_is_named_so() -> None:
    reward, task = load_reward("harbor"), Task("a", metadata={"id": "x", "harbor": "y"})

    def given(text: str) -> object:
        return reward(Rollout(task, 0, 0, "p", text=text))

    assert given(json.dumps({"rewards": {"tests": 0.5}})) == (0.5, "")
    assert given(json.dumps({"rewards": {"reward": 1, "style": 0}, "failure": "late"})) == (1.0, "late")
    for text, why in (('{"rewards": {"a": 1, "b": 0}}', "gives a, b"), ("billing", "--agent harbor:NAME")):
        with pytest.raises(InputError, match=why):
            given(text)


def test_what_cannot_be_is_one_line(harbor: Path, tmp_path: Path) -> None:
    model = "--model", "m", "--base-url", "http://127.0.0.1:9/v1", "--store", str(tmp_path / "s.db")
    (tmp_path / "none").mkdir()
    (harbor / "bad" / "instruction.md").unlink()
    (tmp_path / "plain.jsonl").write_text('{"input": "a", "answer": "b"}\n' * 3)
    one_line(tfgrpo("learn", f"harbor:{tmp_path}/none", *model), "no folder with a task.toml")
    one_line(tfgrpo("learn", f"harbor:{harbor}", *model), "bad has no instruction.md")
    one_line(tfgrpo("learn", "harbor:org/other@1", *model), "not found in registry")
    plain = "learn", str(tmp_path / "plain.jsonl"), "--gate", "none", *model
    one_line(tfgrpo(*plain, "--agent", "harbor:"), "it looks like harbor:terminus-2")
    one_line(tfgrpo(*plain, "--agent", "harbor:oracle", "--reward", "harbor"), "none of Harbor's")
