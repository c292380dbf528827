"""One run as the dashboard tells of it, while it goes on and after; every number stands in the store, or is a count."""

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ...observer import laps_in, last_looks
from ...records import JSON, Run, Usage
from ...store import Store, StorePath
from ...store.browse import ArmRow, SoFar, StepRow
from ...trials import GateTrial

_KNOWN_RUNS = 100
_QUIET_SECONDS = 600
"""After so long without a rollout a run that should be going on may have been killed."""


@dataclass(frozen=True, slots=True)
class ArmLook:
    """A way to prompt in a race, as it stands or stood."""

    source: str
    reward: float | None
    best: float | None
    """P(it is the best), once the run has ended."""
    rollouts: int
    tokens: int
    left: bool


@dataclass(frozen=True, slots=True)
class RunLook:
    """A run as it goes, or as it ended."""

    run: Run
    """What it has cost is `usage`."""
    started: str
    ended: str | None
    steps: tuple[StepRow, ...]
    arms: tuple[ArmLook, ...]
    """The best first; empty where nothing raced."""
    compared: tuple[tuple[str, float | None, int], ...]
    """Of an evaluation: its arms or priors, the mean reward of each, and how many rollouts have one."""
    stages: Mapping[str, Usage]
    trials: tuple[GateTrial, ...]
    planned: int
    """Groups that all its steps come to at most; 0 where that is not known."""
    seconds_left: float | None
    """Until its steps are done, at the speed of the latest groups."""
    seen: str
    """When its latest group was complete."""
    quiet: bool
    """It should be going on, and nothing was heard of it for some time."""
    counted: bool = True
    """Else its rollouts and calls are being counted, and only what stands in the run is told."""

    @property
    def groups(self) -> int:
        """That are complete."""
        return sum(step.groups for step in self.steps)

    @property
    def rollouts(self) -> int:
        """That were made."""
        return sum(step.rollouts for step in self.steps)

    @property
    def usage(self) -> Usage:
        """What it has cost so far."""
        return sum(self.stages.values(), Usage())

    @property
    def going(self) -> bool:
        """Whether it says that it goes on."""
        return self.run.status == "running"


def look_at_run(path: StorePath, known: MutableMapping[str, SoFar], given: str) -> RunLook:
    """As `run_look`, of a store that is opened for it."""
    with Store(path, create=False) as store:
        return run_look(store, given, known)


def uncounted_look(store: Store, given: str) -> RunLook:
    """One run before anything of it is counted; StoreError where there is none."""
    entry = store.run_entry(given, spent=False)
    return RunLook(entry.run, entry.started, entry.ended, (), (), (), {}, (), 0, None, "", quiet=False, counted=False)


def run_look(store: Store, given: str, known: MutableMapping[str, SoFar]) -> RunLook:
    """One run; StoreError where there is none. `known`: how far runs were counted, which is kept there."""
    entry = store.run_entry(given, spent=False)  # which `stages` tells
    run = entry.run
    learning = run.kind == "learn"
    found = _counted(store, run.id, known) if learning else None
    steps = found.steps if found else ()
    planned = int(run.settings.get("steps") or 0) * len(run.tasks) if learning else 0
    times = store.latest_group_times(run.id)
    going = run.status == "running"
    left = planned - sum(step.groups for step in steps)
    return RunLook(
        run=run,
        started=entry.started,
        ended=entry.ended,
        steps=steps,
        arms=_arms(run, found.arms) if found else (),
        compared=() if learning else _compared(run, store.priors_so_far(run.id)),
        stages=store.spent_by_stage(run.id),
        trials=store.trials(run=run.id),
        planned=planned,
        seconds_left=_seconds_left(times, left) if going and left > 0 else None,
        seen=times[-1] if times else "",
        quiet=going and _age(times[-1] if times else entry.started) > _QUIET_SECONDS,
    )


def _counted(store: Store, run: str, known: MutableMapping[str, SoFar]) -> SoFar:
    found = store.so_far(run, known.get(run))
    if len(known) >= _KNOWN_RUNS:
        known.clear()
    known[run] = found
    return found


def _arms(run: Run, rows: Sequence[ArmRow]) -> tuple[ArmLook, ...]:
    """As the race told them at its end, else as their rollouts stand."""
    if race := laps_in(run.result):
        looks = last_looks(race)
        return tuple(
            ArmLook(row["source"], row["reward"], row["best"], row["rollouts"], row["tokens"], bool(row["left"]))
            for _, row in looks
        )
    if len(rows) < 2:
        return ()
    last = max(row.last for row in rows)
    found = [ArmLook(one.source, one.mean, None, one.scored, one.tokens, one.last < last) for one in rows]
    return tuple(sorted(found, key=lambda arm: (arm.left, -(arm.reward if arm.reward is not None else -1.0))))


def _compared(run: Run, rows: Sequence[ArmRow]) -> tuple[tuple[str, float | None, int], ...]:
    means: Mapping[str, JSON] = run.result.get("means") or {}
    if means:
        return tuple((str(arm), float(mean), 0) for arm, mean in means.items())
    return tuple((row.id, row.mean, row.scored) for row in rows)


def _seconds_left(times: Sequence[str], left: int) -> float | None:
    if len(times) < 2:
        return None
    return left * (_moment(times[-1]) - _moment(times[0])) / (len(times) - 1)


def _age(at: str) -> float:
    return datetime.now(UTC).timestamp() - _moment(at)


def _moment(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()
