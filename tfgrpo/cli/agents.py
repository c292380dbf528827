"""Options for attempts that an agent makes."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def agent_options(command: F) -> F:
    """--agent, --command and --agent-timeout."""
    for option in (
        click.option(
            "--agent-timeout", type=float, metavar="SECONDS", help="For one attempt of an agent.  [default: 600]"
        ),
        click.option(
            "--command",
            metavar="'PROG {input}'",
            help="A program that makes the attempts: it gets the task as an argument, calls the model at"
            " OPENAI_BASE_URL, and prints its answer.",
        ),
        click.option(
            "--agent",
            metavar="MODULE:FUNCTION",
            help="A function that makes the attempts: from an OpenAI client (AsyncOpenAI if it is async) and a task to"
            " its answer.",
        ),
    ):
        command = option(command)
    return command
