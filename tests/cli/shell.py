"""What tests of the command line share: commands as a shell runs them, and tasks in files."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from tests.routing import TASKS, TOPICS
from tfgrpo.cli import main
from tfgrpo.records import Frame, Task
from tfgrpo.store import Store

TASK = Task("What is 2 + 2?", "tangerine orchard")
FRAME = Frame("m", "Be brief.", {"max_tokens": 5})
TEXT = "When adding, count on your fingers."
PATIENCE = 60.0
"""Seconds until a test that waits for a process fails instead of hanging: machines stand still for seconds."""
SMALL = ("--steps", "2", "--group-size", "6", "--no-race", "--no-experiences", "--gate", "none")


def tfgrpo(*arguments: str, text: str | None = None) -> Result:
    """A command, with its output and its exit code."""
    return CliRunner().invoke(main, arguments, input=text)


def works(*arguments: str, text: str | None = None) -> Result:
    """A command that must succeed."""
    result = tfgrpo(*arguments, text=text)
    assert result.exit_code == 0, result.output
    return result


def one_line(result: Result, *words: str) -> None:
    """Exit code 1, and one line on stderr that holds the words."""
    assert result.exit_code == 1, result.output
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("Error: ")
    for word in words:
        assert word in result.stderr
    assert "Traceback" not in result.output


def write_tasks(path: Path, start: int = 0) -> str:
    """Messages to be routed, in a file."""
    lines = [{"input": f"{task.prompt} ({start + place})", "answer": task.answer} for place, task in enumerate(TASKS)]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return str(path)


def learn_routing(folder: Path, url: str, *more: str) -> Result:
    """Learn to route the messages of a file, without a gate."""
    tasks = write_tasks(folder / "train.jsonl")
    return tfgrpo("learn", tasks, "--model", "fake", "--base-url", url, *SMALL, *more)


def live() -> str | None:
    """The id of the prior that is live in the namespace `default`."""
    with Store("tfgrpo.db") as store:
        snapshot = store.live("default")
        return snapshot.prior.id if snapshot else None


def write_messages(folder: Path) -> None:
    """Files of so many messages to be routed: `tasks`, `few`, `other` and `four`."""
    for name, start, count in (("tasks", 0, 48), ("few", 0, 9), ("other", 100, 9), ("four", 200, 4)):
        topics = list(TOPICS.items()) * count
        lines = [{"input": f"message {start + n} about {topics[n][0]}", "answer": topics[n][1]} for n in range(count)]
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(line) for line in lines))


def learn_gated(url: str, *more: str, tasks: str = "tasks.jsonl", race: bool = False) -> Result:
    """Learn from a part of the tasks, and let the gate decide by another."""
    small = ("--steps", "2", "--group-size", "6", "--no-experiences", *([] if race else ["--no-race"]))
    return tfgrpo("learn", tasks, "--model", "fake", "--base-url", url, *small, *more)
