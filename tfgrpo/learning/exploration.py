"""What a user wants explored, as it was said: read, checked, its model started, and explored."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import BudgetEnded, InputError
from ..experiences.distil import Distiller
from ..model.endpoints import Endpoints
from ..model.upstream import Upstream
from ..probe.backend import probe
from ..records import Frame, Task
from ..rollouts.acting import EnvironmentExecutor
from ..rollouts.environment import MakeEnvironment
from ..rollouts.executor import SAMPLERS_OFF, ChatExecutor
from ..settings import Settings
from .explore import Exploration, dealt_parts, explore

PREDICTED_TOKENS = 400
"""Of a prediction at most."""


@dataclass(frozen=True, slots=True)
class WantedExploration:
    """What is to be explored, and how."""

    tasks: Sequence[Task]
    make: MakeEnvironment
    frame: Frame
    """Of the actions."""
    endpoints: Endpoints
    settings: Settings
    turns: int = 12
    """Of a rollout at most."""
    states: int = 3
    """Of each rollout, at which other actions are tried."""
    alternatives: int = 3
    """Other actions at each of them, at most."""

    def __post_init__(self) -> None:
        """Raises InputError for what could not be carried out, before anything is spent."""
        dealt_parts(self.tasks, self.settings.seed)
        for name in ("turns", "states", "alternatives"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name} is {getattr(self, name)}; it must be at least 1")

    async def explored(self) -> Exploration:
        """What came of it, once the model is started; its calls are in no journal, and a repeat makes them anew.

        Raises InputError where a budget ends it.
        """
        try:
            return await self._explored()
        except BudgetEnded as ended:
            again = "of an exploration nothing is kept: give it a larger ceiling, or fewer tasks and states"
            raise InputError(f"{ended}, and {again}") from ended

    async def _explored(self) -> Exploration:
        own, settings = self.endpoints.own, self.settings
        async with Upstream(
            own.base_url, api_key=own.key, settings=settings, budget=self.endpoints.budget()
        ) as upstream:
            backend = await probe(upstream, own.name, run="")
            frame = replace(self.frame, model=own.name)
            acting = ChatExecutor(upstream, frame, backend, run="", stage="rollout", seed=settings.seed)
            saying = Frame(own.name, None, {"max_tokens": PREDICTED_TOKENS})
            predicting = ChatExecutor(upstream, saying, backend, run="", stage="predict", seed=settings.seed)
            samplers = SAMPLERS_OFF.get(backend.kind, {})
            system = backend.system_role != "rejected"
            return await explore(
                EnvironmentExecutor(acting, self.make, self.turns),
                predicting,
                Distiller(upstream, own.name, "", settings, request=samplers, system_role=system),
                self.tasks,
                settings,
                states=self.states,
                alternatives=self.alternatives,
            )
