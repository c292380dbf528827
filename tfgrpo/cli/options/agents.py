"""Options for rollouts that an agent makes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .gathered import AGENTS, gathered, titled

if TYPE_CHECKING:
    from ...rollouts.agents import Agent


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """The options as they were given."""

    agent: str | None
    command: str | None
    agent_timeout: float | None

    def load(self) -> "Agent | None":
        """What makes the rollouts; None: one chat call each. Raises InputError where it cannot be loaded."""
        from ...rollouts.agents import load_agent

        return load_agent(self.agent, self.command)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings that they name."""
        return {} if self.agent_timeout is None else {"agent_timeout": self.agent_timeout}


_option = titled(AGENTS)

agent_options = gathered(
    "agent",
    AgentOptions,
    _option(
        "--agent",
        metavar="MODULE:FUNCTION",
        help="A function that makes the rollouts: (client, task) to an answer.",
    ),
    _option(
        "--command",
        metavar="'PROG {input}'",
        help="A program that does: it calls OPENAI_BASE_URL, and prints its answer.",
    ),
    _option(
        "--agent-timeout", type=float, metavar="SECONDS", rare=True, help="For one rollout of an agent.  [default: 600]"
    ),
)
"""--agent, --command and --agent-timeout; the command gets them as `agent`."""
