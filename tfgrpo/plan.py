"""What is to be learned, and the run that it makes in a store."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from .agents import Agent
from .distil import templates_version
from .records import Frame, Run, Task
from .rewards import Reward
from .settings import Settings
from .store import Store


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be learned, from what, and for which requests."""

    tasks: tuple[Task, ...]
    reward: Reward
    reward_name: str
    frame: Frame
    namespace: str = "default"
    settings: Settings = field(default_factory=Settings)
    distiller: str | None = None
    """Name of the model that proposes experiences; None: the model itself."""
    prompts: Path | None = None
    """A folder with the user's own templates for the distiller."""
    agent: Agent | None = None
    """What makes the attempts; None: one chat call each."""


def run_of(plan: Plan, parent: str | None) -> Run:
    proposing = {"distiller": plan.distiller, "prompts": templates_version(plan.prompts)}
    attempting = {"agent": plan.agent.name} if plan.agent else {}
    settings = {**plan.settings.as_json(), **proposing, **attempting}
    tasks = tuple(task.id for task in plan.tasks)
    return Run("learn", plan.namespace, plan.frame, settings, tasks, plan.reward_name, parent)


def unfinished(plan: Plan, store: Store) -> Run | None:
    """The plan's run that never finished, whatever is live by now: its own prior, if it was killed at the very end."""
    for entry in reversed(store.runs(plan.namespace)):
        same = replace(run_of(plan, entry.run.parent), attempt=entry.run.attempt)
        if same.id == entry.run.id:
            return None if entry.run.status == "finished" else replace(same, attempt=0)
    return None
