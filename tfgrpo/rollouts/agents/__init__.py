"""Agents: attempts made by a program of the user's, whose model calls are biased and recorded without changing it.

An attempt has a base URL of its own on a local endpoint. Each chat completion that the program asks for there gets the
experiences that the attempt is shown, the token prior and the run's sampling settings, goes to the upstream through
`llm`, and is journalled; all of them together are the trajectory.
"""

from .agent import Agent, FunctionAgent, ModelAddress, load_agent
from .command import CommandAgent
from .endpoint import RecordingEndpoint, recording
from .executor import AgentExecutor, Executors, executors

__all__ = [
    "Agent",
    "AgentExecutor",
    "CommandAgent",
    "Executors",
    "FunctionAgent",
    "ModelAddress",
    "RecordingEndpoint",
    "executors",
    "load_agent",
    "recording",
]
