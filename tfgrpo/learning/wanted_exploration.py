"""What a user wants explored, as it was said: read, checked, its model started, and explored."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

from ..errors import InputError
from ..evaluation.measure import ended_in_store
from ..experiences.distil import Distiller
from ..experiences.variants import as_prior
from ..model.endpoints import Endpoints
from ..model.upstream import Upstream
from ..observer import Observer, Silent, Watch
from ..probe.backend import probe
from ..records import JSON, Frame, Run, Task
from ..rollouts.acting import EnvironmentExecutor
from ..rollouts.environment import STEP_SECONDS, MakeEnvironment
from ..rollouts.executor import SAMPLERS_OFF, ChatExecutor
from ..settings import Settings
from ..store import Store
from ..surfaces.chat import prior_tokens, token_count
from ..text import counted
from .explore import Exploration, dealt_parts, explore

PREDICTED_TOKENS = 400
"""Of a prediction at most."""
_COUNTED = ("turns", "states", "alternatives")


@dataclass(frozen=True, slots=True)
class WantedExploration:
    """What is to be explored, and how."""

    tasks: Sequence[Task]
    environment: str
    """What makes one, as it was named."""
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
    step_timeout: float = STEP_SECONDS
    """Seconds that the environment may take for an answer."""

    def __post_init__(self) -> None:
        """Raises InputError for what could not be carried out, before anything is spent."""
        dealt_parts(self.tasks, self.settings.seed)
        for name in _COUNTED:
            if getattr(self, name) < 1:
                raise InputError(f"--{name} is {getattr(self, name)}; it must be at least 1")
        if not self.step_timeout > 0:
            raise InputError(f"--step-timeout is {self.step_timeout:g}; it must be above 0")

    async def explored(
        self,
        store: Store,
        namespace: str,
        *,
        fresh: bool = False,
        add: bool = False,
        watch: Watch = lambda spent: nullcontext(Silent()),
    ) -> Exploration:
        """What came of it, once the model is started: a run of the store, which goes on where it was interrupted.

        With `add` the transitions that are kept become a way to prompt that races in the namespace's next runs. Raises
        StoreError where an environment answers otherwise than before, BudgetEnded: a larger one goes on.
        """
        store.add_tasks(self.tasks)
        run, resumed = store.begin(self._run(namespace), fresh=fresh)
        budget, own = self.endpoints.budget(), self.endpoints.own
        budget.carry((own.name, usage) for usage in store.spent_by_stage(run.id).values())
        with ended_in_store(run, store, "before all was explored, so no text was judged"):
            async with Upstream(
                own.base_url, api_key=own.key, settings=self.settings, journal=store, budget=budget
            ) as upstream:
                with watch(lambda: upstream.usage) as observer:
                    if resumed:
                        calls = counted(store.spent(run.id).calls, "call")
                        observer.note(f"going on with {run.id}: {calls} in the store already")
                    found = await self._explored(upstream, run.id, observer)
                    for variant in found.variants if add else ():
                        tokens = prior_tokens(as_prior(variant), token_count(upstream.tokenizer))
                        store.add_variants(run.id, [(variant, tokens)])
                        observer.note(f"{variant.source} race in the next run that learns in {namespace}")
        store.end(run.id, "finished", store.spent(run.id), found.as_json())
        return found

    def _run(self, namespace: str) -> Run:
        numbers: dict[str, JSON] = {name: getattr(self, name) for name in _COUNTED}
        settings = {"environment": self.environment, "seed": self.settings.seed, **numbers}
        ids = tuple(task.id for task in self.tasks)
        return Run("explore", namespace, replace(self.frame, model=self.endpoints.own.name), settings, ids, "none")

    async def _explored(self, upstream: Upstream, run: str, observer: Observer) -> Exploration:
        settings, name = self.settings, self.endpoints.own.name
        backend = await probe(upstream, name, run=run)
        frame = replace(self.frame, model=name)
        acting = ChatExecutor(upstream, frame, backend, run=run, stage="rollout", seed=settings.seed)
        saying = Frame(name, None, {"max_tokens": PREDICTED_TOKENS})
        predicting = ChatExecutor(upstream, saying, backend, run=run, stage="predict", seed=settings.seed)
        samplers = SAMPLERS_OFF.get(backend.kind, {})
        system = backend.system_role != "rejected"
        at_once, landed = settings.concurrency, observer.landed
        return await explore(
            EnvironmentExecutor(acting, self.make, self.turns, self.step_timeout, at_once=at_once, landed=landed),
            predicting,
            Distiller(upstream, name, run, settings, request=samplers, system_role=system),
            self.tasks,
            settings,
            states=self.states,
            alternatives=self.alternatives,
            observer=observer,
        )
