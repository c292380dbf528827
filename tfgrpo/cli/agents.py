"""Options for attempts that an agent makes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from .groups import gathered

if TYPE_CHECKING:
    from ..rollouts.agents import Agent


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """The options as they were given."""

    agent: str | None
    command: str | None
    agent_timeout: float | None

    def load(self) -> "Agent | None":
        """What makes the attempts; None: one chat call each. Raises InputError where it cannot be loaded."""
        from ..rollouts.agents import load_agent

        return load_agent(self.agent, self.command)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings that they name."""
        return {} if self.agent_timeout is None else {"agent_timeout": self.agent_timeout}


agent_options = gathered(
    "agent",
    AgentOptions,
    click.option(
        "--agent",
        metavar="MODULE:FUNCTION",
        help="A function that makes the attempts: from an OpenAI client (AsyncOpenAI if it is async) and a task to"
        " its answer.",
    ),
    click.option(
        "--command",
        metavar="'PROG {input}'",
        help="A program that makes the attempts: it gets the task as an argument, calls the model at"
        " OPENAI_BASE_URL, and prints its answer.",
    ),
    click.option("--agent-timeout", type=float, metavar="SECONDS", help="For one attempt of an agent.  [default: 600]"),
)
"""--agent, --command and --agent-timeout; the command gets them as `agent`."""
