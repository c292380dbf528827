"""Agents: the user's programs and functions that make rollouts, as they are; their model calls are biased and recorded.

A rollout has a base URL of its own on a local endpoint. Each chat completion that the agent asks for there gets what
the rollout is shown of the prior and the run's sampling settings, goes to the upstream, and is journalled; all of them
together are the rollout's trajectory.
"""

from .agent import Agent, ModelAddress
from .command import CommandAgent
from .endpoint import WHICH_CALLS, RecordingEndpoint, recording
from .executor import AgentElsewhere, AgentExecutor, agent_executors
from .function import FunctionAgent
from .load import check_inputs, load_agent

__all__ = [
    "WHICH_CALLS",
    "Agent",
    "AgentElsewhere",
    "AgentExecutor",
    "CommandAgent",
    "FunctionAgent",
    "ModelAddress",
    "RecordingEndpoint",
    "agent_executors",
    "check_inputs",
    "load_agent",
    "recording",
]
