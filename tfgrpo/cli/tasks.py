"""Commands about tasks: what was understood of a file, and tasks from what other tools keep."""

import json
from typing import TYPE_CHECKING

import click

from ..errors import InputError
from ..text import counted
from .command import TextGroup
from .lines.tasks import checked_json, checked_lines, first_request
from .options.frame import FrameOptions, frame_options
from .options.gathered import LEARN_FROM
from .options.shared import json_option, named_store, store_option
from .options.splits import SplitOptions, split_options
from .options.tasks import TaskOptions, task_options
from .streams import check_output, read_text, tell, write_text

if TYPE_CHECKING:
    from ..tasks.formats import Entry

_MOST_BYTES = 50_000_000
MOST_FROM_TRAFFIC = 20_000
_SOURCES = ("promptfoo", "transcripts", "otel", "traffic")


@click.group(cls=TextGroup)
def tasks() -> None:
    """Tasks: see what was understood of a file, or make them of what other tools keep."""


@tasks.command("check")
@task_options(LEARN_FROM)
@frame_options
@split_options
@click.option("--model", envvar="TFGRPO_MODEL", default="MODEL", help="Its name in the request that is shown.")
@json_option
def check_tasks(
    *, tasks: TaskOptions, frame: FrameOptions, split: SplitOptions, model: str, as_json: bool, **_: object
) -> None:
    """Show what was understood of TASKS: its fields, splits and repeats, and one request as it is sent.

    Nothing is sent. Exit code 1 where `learn` would refuse the tasks.
    """
    from ..rollouts.rewards.built_in import check, doubts, refuse_comparing, reward_of
    from ..tasks.read import tasks_of

    found = tasks_of(tasks.tasks, fields=tasks.fields)
    shown = found.tasks[0]
    body = first_request(frame.read(model), shown, 0)
    refused, splits, doubted = None, None, tuple[str, ...]()
    try:
        splits = split.sides.splits(found, tasks.fields)
        reward = reward_of(tasks.scored_by, tasks.tasks)[0]
        if split.sides.gated:
            refuse_comparing(reward, "the gate has none to go by: --gate none")
        with found.explaining():
            check(reward, found.tasks)
        doubted = doubts(reward, found.tasks)
    except InputError as error:
        refused = error
    figures = {**checked_json(found, splits, body, shown), "doubts": list(doubted)}
    tell(as_json, figures, *checked_lines(found, splits, body, shown), *(f"note: {line}" for line in doubted))
    if refused:
        raise refused


@tasks.command("from")
@click.argument("kind", type=click.Choice(_SOURCES))
@click.argument("file")
@click.option("--out", "-o", metavar="FILE", help="Where the tasks go, as JSONL.  [default: stdout]")
@store_option
def tasks_from(kind: str, file: str, out: str | None, store: str | None) -> None:
    """Make tasks of FILE: promptfoo's configuration, coding agents' transcripts, or OpenTelemetry's spans (JSON).

    For `traffic` FILE is a namespace, whose calls `tfgrpo serve --record` kept; those with labels have an answer. What
    looks like a secret is replaced by a mark. What was answered in the past need not be right: look through the tasks
    before you learn from them.
    """
    check_output("--out", out)
    found = _of_traffic(file, store) if kind == "traffic" else _entries(kind, file)
    if not found:
        raise InputError(f"{file}: there is nothing in it to make tasks of")
    lines = [json.dumps(record, ensure_ascii=False) for _, record in found]
    clean = [_redacted(line) for line in lines]
    hidden = sum(one != other for one, other in zip(lines, clean, strict=True))
    write_text(out, "".join(f"{line}\n" for line in clean))
    click.echo(f"{counted(len(found), 'task')}; {_next(kind, found, hidden)}", err=True)


def _entries(kind: str, file: str) -> "list[Entry]":
    from ..tasks.formats import entries_of
    from ..tasks.promptfoo import promptfoo_entries
    from ..tasks.traced import span_entries, transcript_entries

    text = read_text(file, _MOST_BYTES)
    if kind == "promptfoo":
        return list(promptfoo_entries(file, text))
    if kind == "otel":
        return list(span_entries(_whole(file, text)))
    return list(transcript_entries(entries_of(file, text.encode(), ".jsonl")))


def _of_traffic(namespace: str, store: str | None) -> "list[Entry]":
    """All recorded calls that are different, those without an answer too."""
    from ..learning.traffic import Fading, traffic_tasks

    with named_store(store) as opened:
        found = traffic_tasks(opened, namespace, lambda _: 0.0, Fading(MOST_FROM_TRAFFIC))
    for line in found.told:
        click.echo(line, err=True)
    answers = ({} if task.answer is None else {"answer": task.answer} for task in found.tasks)
    return [("", {"input": task.input, **answer}) for task, answer in zip(found.tasks, answers, strict=True)]


def _whole(file: str, text: str) -> "list[Entry]":
    """A file that is one JSON value; else one a line."""
    from ..tasks.formats import entries_of

    try:
        return [("the file", json.loads(text))]
    except (ValueError, RecursionError):
        return list(entries_of(file, text.encode(), ".jsonl"))


def _redacted(line: str) -> str:
    """The line without secrets; its values are looked at one by one, so that it stays JSON."""
    from ..experiences.admission import without_secrets

    def clean(value: object) -> object:
        if isinstance(value, str):
            return without_secrets(value)
        if isinstance(value, dict):
            return {name: clean(held) for name, held in value.items()}
        return [clean(held) for held in value] if isinstance(value, list) else value

    return json.dumps(clean(json.loads(line)), ensure_ascii=False)


def _next(kind: str, found: "list[Entry]", hidden: int) -> str:
    from ..tasks.promptfoo import fitting_rewards

    secrets = f"what looked like a secret was replaced in {hidden:,} of them; " if hidden else ""
    if kind != "promptfoo":
        return f"{secrets}look through them before you learn from them: an answer of the past need not be right"
    rewards = fitting_rewards(found)
    if len(rewards) == 1:
        return f"{secrets}they are judged as promptfoo does by --reward {rewards[0]}"
    return f"{secrets}their assertions are of several kinds ({', '.join(rewards) or 'none'}), and one reward judges all"
