"""What an agent is: anything that answers a task by calling a model at a given base URL."""

import os
import re
from dataclasses import dataclass
from typing import Protocol

from ...errors import AgentError
from ...hashing import canonical
from ...records import JSON, Task
from ...text import shortened

KEY = "sk-tfgrpo"
"""Stands in for the upstream's key, which no agent needs: the endpoint knows a rollout by its base URL."""
DEFAULT_MODEL = "default"
"""As the model of an agent's request: the model of the run."""
LOST_PAUSES = (0.2, 1.0, 5.0, 15.0, 30.0, 60.0)
"""Seconds before what a lost worker had is done again: a busy cluster takes a while to see that a node is gone, and to
begin elsewhere what ran there.

Lost once more than that, and the agent may be what kills its worker.
"""
_TOLD = 300
"""Characters of what an agent said about its failure."""
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
_SECRET = re.compile(r"(?<=\bBearer )\S+|\b(?:sk|pk|rk|ghp|gho|xox[abp])[-_][\w-]{8,}|(?<=://)[^\s/@]+(?=@)")
_SHORTEST_SECRET = 8


@dataclass(frozen=True, slots=True)
class ModelAddress:
    """Where one rollout calls its model."""

    base_url: str
    model: str
    """The model of the run."""


class Agent(Protocol):
    """Answers a task with calls to the place that it is given."""

    name: str
    """What the run remembers it by."""

    async def __call__(self, task: Task, place: ModelAddress) -> JSON:
        """Its answer; raises AgentError when it fails."""
        ...


class WorkerLost(AgentError):
    """The machine or process that made a rollout is gone: the rollout is made again."""


def as_answer(given: JSON) -> str:
    """An agent's answer as a text; raises AgentError for what is none."""
    if given is None:
        raise AgentError("the agent returned None, which is no answer")
    if isinstance(given, str):
        return given
    try:
        return canonical(given)
    except (TypeError, ValueError) as error:
        kind = shortened(type(given).__name__)
        raise AgentError(f"the agent returned a {kind}; an answer is a text, or JSON") from error


def out_of_time(seconds: float) -> AgentError:
    """The error of an agent that takes longer."""
    return AgentError(f"the agent gave no answer within {seconds:g} s (--agent-timeout)")


def last_words(text: str) -> str:
    """The end of what an agent said, fit for an error: one short line, without what looks like a secret."""
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, "***")
    line = shortened(_SECRET.sub("***", text[-10 * _TOLD :]), 10 * _TOLD)
    return line if len(line) <= _TOLD else f"…{line[-_TOLD:]}"
