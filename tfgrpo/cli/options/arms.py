"""Options that say what `eval` measures: which prior, how often, and beside what."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from ...errors import InputError
from .gathered import MEASURE, gathered, titled

if TYPE_CHECKING:
    from ...records import Frame, Prior, Snapshot, Task
    from ...store import Store


@dataclass(frozen=True, slots=True)
class ArmOptions:
    """The options as they were given."""

    prior_id: str | None
    repeat: int
    temperature: float | None
    seed: int
    no_written: bool

    def snapshot(self, store: "Store", namespace: str) -> "Snapshot":
        """The prior to measure; raises InputError where there is none."""
        from ...priors.serving import snapshot_of

        found = snapshot_of(store, namespace, self.prior_id) if self.prior_id else store.live(namespace)
        if found is None:
            raise InputError(f"no prior is live in namespace {namespace}; tfgrpo learn makes one")
        return found

    def frame(self, learned: "Frame", model: str) -> "Frame":
        """The frame of learning, for this model and at the temperature asked for."""
        return replace(
            learned, model=model, temperature=learned.temperature if self.temperature is None else self.temperature
        )

    def sources(self, prior: "Prior", store: "Store", namespace: str) -> "tuple[Task, ...]":
        """The tasks from which the arm `written` is made; none where it is not wanted, or they are not known."""
        from ...evaluation.written_arm import source_tasks

        return () if self.no_written else source_tasks(prior, store, namespace)


_option = titled(MEASURE)

arm_options = gathered(
    "arms",
    ArmOptions,
    _option("--prior", "prior_id", metavar="ID", help="A prior of the namespace by id.  [default: the live one]"),
    _option("--repeat", default=4, show_default=True, type=click.IntRange(min=1), help="Rollouts a task and arm."),
    _option("--temperature", type=float, help="Of all arms.  [default: that of learning]"),
    _option("--seed", default=0, show_default=True, help="Of sampling and resampling."),
    _option("--no-written", is_flag=True, rare=True, help="Leave out the arm of experiences written without rollouts."),
)
"""--prior, --repeat, --temperature, --seed and --no-written; the command gets them as `arms`."""
