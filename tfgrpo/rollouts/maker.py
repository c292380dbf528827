"""The maker of a run's rollouts: the model itself by one chat call each, or an agent."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from ..model.journal import Journal
from ..model.upstream import Upstream
from ..settings import Settings
from .executor import ChatExecutor, Executors

if TYPE_CHECKING:
    from .agents import Agent


@asynccontextmanager
async def executors(
    agent: "Agent | None", upstream: Upstream, settings: Settings, journal: Journal
) -> AsyncIterator[Executors]:
    """Executors of one chat call a rollout, or of an agent's rollouts where there is one."""
    if agent is None:
        yield partial(ChatExecutor, upstream)
        return
    from .agents import agent_executors

    async with agent_executors(agent, upstream, settings, journal) as make:
        yield make
