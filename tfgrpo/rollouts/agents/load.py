"""The agent that the options name."""

from collections.abc import Callable, Iterable
from typing import Any

from ...errors import InputError
from ...plugins import is_named
from ...records import JSON, Task
from ...tasks.harbor import HARBOR
from ...text import shortened
from .agent import Agent
from .command import CommandAgent
from .function import FunctionAgent


def check_inputs(agent: Agent | None, tasks: Iterable[Task]) -> None:
    """Raise InputError for the first task that cannot be handed to an agent; to be asked before anything is spent."""
    if check := getattr(agent, "check", None):
        for task in tasks:
            check(task)


def load_agent(function: str | Callable[[Any, Task], JSON] | None, command: str | None) -> Agent | None:
    """The agent that one of the two names, if any; raises InputError for both, and as the agents do."""
    if function is not None and command is not None:
        raise InputError("--agent and --command both name what makes the rollouts; give one of them")
    if isinstance(function, str) and function.startswith(HARBOR):
        from .harbor import HarborAgent

        return HarborAgent(function)
    if isinstance(function, str) and not is_named(function):
        raise InputError(f"--agent {shortened(function)}: it must be module:function; a program goes with --command")
    if function is not None:
        return FunctionAgent(function)
    return CommandAgent(command) if command is not None else None
