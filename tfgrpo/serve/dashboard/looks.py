"""What the dashboard tells of the store, read once for each page; every number stands there, or is a count of rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import NormalDist

from ...deployment.history import Happening
from ...observer import last_looks
from ...priors.serving import before_live
from ...records import JSON, Prior, Run, Snapshot, Usage
from ...store import SERVING, ExperienceStatus, HistoryEntry, LineageEntry, Store
from ...store.browse import ArmRow, RunRow, StepRow
from ...trials import GateTrial

LATEST_RUNS, LATEST_EVENTS, LATEST_PRIORS = 20, 50, 20
"""So many are shown of each."""
EXPERIENCES = 100
_REACH = NormalDist().inv_cdf(0.975)
"""Of a 95% interval, in standard deviations, as `experiences.credit` has it, which takes a second to load."""
_QUIET_SECONDS = 600
"""After so long without a rollout a run that should be going on may have been killed."""


@dataclass(frozen=True, slots=True)
class NamespaceLine:
    """A namespace in the list of all."""

    name: str
    model: str | None
    live: Snapshot | None
    since: str
    """When it went live."""
    canary: tuple[Snapshot, float] | None


@dataclass(frozen=True, slots=True)
class StandingExperience:
    """An experience with what is known of it, and its place on the axis that all share."""

    status: ExperienceStatus
    served: bool

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95% interval of its effect, in reward units."""
        effect = self.status.effect
        return (effect.mean - _REACH * effect.sd, effect.mean + _REACH * effect.sd) if effect else None


@dataclass(frozen=True, slots=True)
class OfferedPrior:
    """A prior that a person may serve: what it holds, and what became of it last."""

    id: str
    event: LineageEntry
    served: bool


@dataclass(frozen=True, slots=True)
class NamespaceLook:
    """All that is told of one namespace, but for its traffic."""

    name: str
    live: Snapshot | None
    since: LineageEntry | None
    """The event that made it live."""
    back: str | None
    """The prior that a roll back goes to."""
    canary: tuple[Snapshot, float] | None
    experiences: tuple[StandingExperience, ...]
    """Those of the live prior first, in the order shown; then the others, the strongest effect first."""
    more_experiences: int
    priors: tuple[OfferedPrior, ...]
    """The latest first."""
    history: tuple[Happening, ...]
    """The latest first."""
    runs: tuple[RunRow, ...]


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

    @property
    def groups(self) -> int:
        """That are complete."""
        return sum(step.groups for step in self.steps)

    @property
    def usage(self) -> Usage:
        """What it has cost so far."""
        return sum(self.stages.values(), Usage())

    @property
    def going(self) -> bool:
        """Whether it says that it goes on."""
        return self.run.status == "running"


def namespace_lines(store: Store) -> tuple[NamespaceLine, ...]:
    """All namespaces."""
    found = []
    for one in store.namespaces():
        live = store.live(one.name)
        since = _since(store.lineage(one.name), live)
        canary = store.canary(one.name)
        found.append(NamespaceLine(one.name, one.model, live, since.at if since else "", canary))
    return tuple(found)


def namespace_look(store: Store, name: str) -> NamespaceLook:
    """One namespace, which may be one that nothing is known of."""
    live, events = store.live(name), store.lineage(name)
    since = _since(events, live)
    back = before_live(store, name) if live else None
    experiences = _experiences(store.experiences(name), live.prior if live else None)
    return NamespaceLook(
        name=name,
        live=live,
        since=since,
        back=back.prior if back else None,
        canary=store.canary(name),
        experiences=experiences[:EXPERIENCES],
        more_experiences=len(experiences[EXPERIENCES:]),
        priors=_offered(events, live)[:LATEST_PRIORS],
        history=_latest(events, store.history_of(name, LATEST_EVENTS)),
        runs=store.latest_runs(name, LATEST_RUNS),
    )


def run_look(store: Store, given: str) -> RunLook:
    """One run; StoreError where there is none."""
    entry = store.run_entry(given)
    run = entry.run
    learning = run.kind == "learn"
    steps = store.steps_so_far(run.id) if learning else ()
    planned = int(run.settings.get("steps") or 0) * len(run.tasks) if learning else 0
    times = store.latest_group_times(run.id)
    going = run.status == "running"
    left = planned - sum(step.groups for step in steps)
    return RunLook(
        run=run,
        started=entry.started,
        ended=entry.ended,
        steps=steps,
        arms=_arms(run, store.arms_so_far(run.id)) if learning else (),
        compared=() if learning else _compared(run, store.priors_so_far(run.id)),
        stages=store.spent_by_stage(run.id),
        trials=store.trials(run=run.id),
        planned=planned,
        seconds_left=_seconds_left(times, left) if going and left > 0 else None,
        seen=times[-1] if times else "",
        quiet=going and _age(times[-1] if times else entry.started) > _QUIET_SECONDS,
    )


def _latest(events: Sequence[LineageEntry], rows: Sequence[HistoryEntry]) -> tuple[Happening, ...]:
    """What became of priors, and what was done and told, the latest first; as `tfgrpo history` has it."""
    found = [Happening(one.at, one.state, one.by, one.prior, one.why) for one in events[-LATEST_EVENTS:]]
    found += [Happening(one.at, one.action, one.actor, one.prior, one.said, one.figures) for one in rows]
    return tuple(sorted(found, key=lambda one: one.at)[::-1][:LATEST_EVENTS])


def _since(events: Sequence[LineageEntry], live: Snapshot | None) -> LineageEntry | None:
    if live is None:
        return None
    own = [event for event in events if event.prior == live.prior.id and event.state in SERVING]
    return own[-1] if own else None


def _experiences(known: Sequence[ExperienceStatus], prior: Prior | None) -> tuple[StandingExperience, ...]:
    shown = [experience.id for experience in prior.experiences] if prior else []
    by_id = {status.experience.id: status for status in known}
    first = [
        StandingExperience(by_id.get(one.id) or ExperienceStatus(one, None, None), served=True)
        for one in (prior.experiences if prior else ())
    ]
    others = [StandingExperience(one, served=False) for one in known if one.experience.id not in shown]
    told = [one for one in others if not (one.status.decision and one.status.decision.verdict == "refused")]
    told.sort(key=lambda one: -one.status.effect.mean if one.status.effect else 2.0)
    return (*first, *told)


def _offered(events: Sequence[LineageEntry], live: Snapshot | None) -> tuple[OfferedPrior, ...]:
    last = {event.prior: event for event in events}
    order = list(dict.fromkeys(event.prior for event in reversed(events)))
    return tuple(OfferedPrior(one, last[one], live is not None and live.prior.id == one) for one in order)


def _arms(run: Run, rows: Sequence[ArmRow]) -> tuple[ArmLook, ...]:
    """As the race told them at its end, else as their rollouts stand."""
    if race := run.result.get("race"):
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
