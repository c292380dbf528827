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
    bounded: str | None
    executor: str

    def load(self) -> "Agent | None":
        """What makes the rollouts; None: one chat call each. Raises InputError where it cannot be loaded."""
        from ...rollouts.agents import load_agent

        return load_agent(self.agent, self.command)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings that they name."""
        named = {"agent_timeout": self.agent_timeout, "bounded": self.bounded}
        return {name: value for name, value in named.items() if value is not None}


_option = titled(AGENTS)

agent_options = gathered(
    "agent",
    AgentOptions,
    _option(
        "--agent",
        metavar="MODULE:FUNCTION",
        help="A function of (client, task), or harbor:NAME.",
    ),
    _option(
        "--command",
        metavar="'PROG {input}'",
        help="Calls OPENAI_BASE_URL and prints its answer.",
    ),
    _option(
        "--agent-timeout", type=float, metavar="SECONDS", rare=True, help="For one rollout of an agent.  [default: 600]"
    ),
    _option(
        "--bounded",
        metavar="CHUNK:CARRY:CHUNKS",
        rare=True,
        help="Without an agent: write answers in chunks of so many tokens, each from the question and the last CARRY.",
    ),
    _option(
        "--executor",
        metavar="NAME",
        default="asyncio",
        rare=True,
        help="Where agents and heavy rewards run: ray, or a cluster at ray://HOST:PORT.  [default: asyncio, here]",
    ),
)
"""--agent, --command, --agent-timeout, --bounded and --executor; the command gets them as `agent`."""
