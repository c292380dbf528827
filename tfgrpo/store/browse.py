"""Runs, their rollouts and traffic as people look through them: each query is bounded, and finds by an index."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import StoreError
from ..records import Rollout, Usage
from . import rows
from .opened import OpenStore
from .runs import load_task


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as a line of a list; times are UTC in ISO 8601."""

    id: str
    kind: str
    namespace: str
    model: str
    status: str
    tasks: int
    usage: Usage
    """As it was written down when the run ended."""
    started: str
    ended: str | None


@dataclass(frozen=True, slots=True)
class StepRow:
    """What has come of one step of a run so far."""

    step: int
    """From 0."""
    groups: int
    rollouts: int
    scored: int
    mean: float | None
    """Mean reward of those that have one."""


@dataclass(frozen=True, slots=True)
class ArmRow:
    """What has come of one way to prompt, or of one prior, in a run so far."""

    id: str
    source: str
    """A name for people; empty for a prior."""
    tokens: int
    """That it adds to a request."""
    rollouts: int
    scored: int
    mean: float | None
    last: int
    """The last step that it was in, from 0."""


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group of rollouts, before they are read."""

    id: int
    step: int
    task: str
    prior: str
    rollouts: int


@dataclass(frozen=True, slots=True)
class RolloutRow:
    """A rollout as a line: the beginning of what was said, and what it earned."""

    group: int
    sample: int
    text: str
    length: int
    """Characters that its text has here: longer ones are cut off after some thousands."""
    reward: float | None
    error: str
    feedback: str
    source: str
    """The way to prompt that it was made under; empty where nothing raced."""


@dataclass(frozen=True, slots=True)
class RewardCount:
    """What feedback on the calls of one variant came to in one span of time."""

    span: str
    """The beginning of its times, as 2026-11-26T17."""
    variant: str
    told: int
    """Calls of which a reward is known."""
    mean: float


class BrowseStore(OpenStore):
    """The part of the store that people look through."""

    def latest_runs(self, namespace: str | None = None, limit: int = 20) -> tuple[RunRow, ...]:
        """The latest runs of a namespace, or of all, the latest first."""
        query = """
            SELECT runs.*, (SELECT count(*) FROM run_tasks WHERE run_tasks.run = runs.id) AS tasks
            FROM runs WHERE CAST(:name AS TEXT) IS NULL OR namespace = :name
            ORDER BY runs.rowid DESC LIMIT :limit"""
        with self._read("listing its latest runs") as db:
            return tuple(_run_row(row) for row in db.query(query, {"name": namespace, "limit": limit}))

    def steps_of(self, run_id: str) -> tuple[int, ...]:
        """The steps of a run that have groups, from 0."""
        query = "SELECT DISTINCT step FROM groups WHERE run = ? ORDER BY step"
        with self._read(f"reading the steps of run {run_id}") as db:
            return tuple(step for (step,) in db.execute(query, [run_id]))

    def so_far(self, run_id: str, known: "SoFar | None" = None) -> "SoFar":
        """Each step of a run, and each way to prompt in the order they came, while the run goes on and after.

        Many rollouts take long to count: they are gone through once for both, and only those since what is `known`,
        unless groups were made anew since.
        """
        with self._read(f"reading the steps of run {run_id}") as db:
            after = (
                known.last if known and db.execute(_UP_TO, [run_id, known.last]).fetchone() == (known.groups,) else 0
            )
            by_step = {step: (count, newest) for step, count, newest in db.execute(_BY_STEP, [run_id]).fetchall()}
            counted = sorted(step for step, (_, newest) in by_step.items() if newest > after)
            new = [
                _Cell(step, *row) for step in counted for row in db.execute(_CELLS, [run_id, step, after]).fetchall()
            ]
            arms = list(db.query("SELECT id, source, tokens FROM variants WHERE run = ? ORDER BY rowid", [run_id]))
        cells = _together((*(known.cells if known and after else ()), *new))
        of_step = {step: [cell for cell in cells if cell.step == step] for step in sorted({one.step for one in cells})}
        return SoFar(
            tuple(StepRow(step, by_step.get(step, (0, 0))[0], *_summed(of)) for step, of in of_step.items()),
            tuple(_arm_row(row, [cell for cell in cells if cell.variant == row["id"]]) for row in arms),
            sum(count for count, _ in by_step.values()),
            max((newest for _, newest in by_step.values()), default=0),
            cells,
        )

    def priors_so_far(self, run_id: str) -> tuple[ArmRow, ...]:
        """The priors of a run (an evaluation has one for each arm), with the mean reward of the rollouts under each."""
        with self._read(f"reading the priors of run {run_id}") as db:
            return tuple(ArmRow(**row) for row in db.query(_PRIORS, [run_id]))

    def latest_group_times(self, run_id: str, limit: int = 40) -> tuple[str, ...]:
        """When the latest groups of a run were complete, the earliest first: how fast it goes."""
        latest = "SELECT id FROM groups WHERE run = ? ORDER BY id DESC LIMIT ?"  # which an index has: no row is read
        query = f"SELECT at FROM groups WHERE id IN ({latest}) ORDER BY id"
        with self._read(f"reading how fast run {run_id} goes") as db:
            return tuple(at for (at,) in db.execute(query, [run_id, limit]))

    def group_page(
        self, run_id: str, *, step: int | None = None, limit: int = 10, offset: int = 0
    ) -> tuple[GroupRow, ...]:
        """Groups of a run, or of one of its steps, in the order of the tasks' ids."""
        place = {"run": run_id, "step": step, "limit": limit, "offset": offset}
        where = "run = :run" if step is None else "run = :run AND step = :step"
        query = f"{_GROUP} WHERE {where} ORDER BY run, step, task, prior LIMIT :limit OFFSET :offset"
        with self._read(f"reading groups of run {run_id}") as db:
            return tuple(GroupRow(**row) for row in db.query(query, place))

    def group_row(self, group: int) -> tuple[str, GroupRow]:
        """One group, and the id of its run; StoreError where there is none."""
        with self._read("looking up a group") as db:
            found = list(db.query(f"{_GROUP} WHERE id = ?", [group]))
            if not found:
                raise StoreError(f"there is no group {group} in the store; a run that was resumed replaces some")
            run = db.execute("SELECT run FROM groups WHERE id = ?", [group]).fetchone()[0]
            return run, GroupRow(**found[0])

    def rollout_rows(
        self, groups: Sequence[int], *, shown: int, limit: int = 12, offset: int = 0
    ) -> tuple[RolloutRow, ...]:
        """Some rollouts of each of these groups, with so many characters of each text."""
        place = {"groups": rows.dumps(list(groups)), "shown": shown, "first": offset, "end": offset + limit}
        with self._read("reading rollouts") as db:
            return tuple(RolloutRow(**row) for row in db.query(_ROLLOUTS, place))

    def one_rollout(self, group: int, sample: int) -> Rollout:
        """A rollout with all that was said; StoreError where there is none."""
        query = """
            SELECT groups.step, groups.task, groups.prior, rollouts.* FROM rollouts
            JOIN groups ON groups.id = rollouts.group_id WHERE group_id = ? AND sample = ?"""
        with self._read("reading a rollout") as db:
            found = list(db.query(query, [group, sample]))
            if not found:
                raise StoreError(f"there is no rollout {sample} of group {group} in the store")
            return rows.rollout_of(found[0], load_task(db, found[0]["task"]))

    # Traffic

    def status_counts(self, namespace: str, since: str) -> tuple[tuple[int, int], ...]:
        """How many calls were answered with each status since then; shadows aside."""
        query = """
            SELECT status, count(*) FROM inferences
            WHERE namespace = ? AND at >= ? AND shadow_of IS NULL GROUP BY status ORDER BY status"""
        with self._read(f"counting calls of {namespace}") as db:
            return tuple(db.execute(query, [namespace, since]).fetchall())

    def latest_added(self, namespace: str, limit: int = 10_000) -> tuple[float, ...]:
        """Seconds that tfgrpo added to each of the latest calls for which that is known, the least first."""
        query = """
            SELECT added FROM (
                SELECT added, shadow_of FROM inferences WHERE namespace = ? ORDER BY at DESC LIMIT ?) AS latest
            WHERE added IS NOT NULL AND shadow_of IS NULL ORDER BY added"""
        with self._read(f"reading how fast calls of {namespace} are") as db:
            return tuple(added for (added,) in db.execute(query, [namespace, limit]))

    def reward_counts(self, namespace: str, since: str, limit: int = 200_000) -> tuple[RewardCount, ...]:
        """What the latest feedback that counts came to, by variant and hour."""
        with self._read(f"reading feedback of {namespace}") as db:
            given = {"namespace": namespace, "since": since, "limit": limit}
            return tuple(RewardCount(**row) for row in db.query(_REWARDS, given))


_REWARDS = """
SELECT substr(at, 1, 13) AS span, variant, count(*) AS told, avg(reward) AS mean
FROM (SELECT * FROM feedback WHERE namespace = :namespace ORDER BY id DESC LIMIT :limit) AS given
WHERE reward IS NOT NULL AND at >= :since AND NOT EXISTS (
    SELECT 1 FROM feedback AS later WHERE later.inference = given.inference AND later.id > given.id)
GROUP BY span, variant ORDER BY span, variant
"""


class _Cell(NamedTuple):
    """The rollouts of one way to prompt in one step."""

    step: int
    variant: str
    rollouts: int
    scored: int
    total: float | None


@dataclass(frozen=True, slots=True)
class SoFar:
    """What has come of a run so far, and how far it was counted."""

    steps: tuple[StepRow, ...]
    arms: tuple[ArmRow, ...]
    groups: int
    last: int
    """The highest id of its groups."""
    cells: tuple[_Cell, ...]


def _together(cells: Iterable[_Cell]) -> tuple[_Cell, ...]:
    """One for each step and way to prompt."""
    sums: dict[tuple[int, str], _Cell] = {}
    for one in cells:
        met = sums.get((one.step, one.variant), _Cell(one.step, one.variant, 0, 0, 0.0))
        total = (met.total or 0.0) + (one.total or 0.0)
        sums[one.step, one.variant] = _Cell(*met[:2], met.rollouts + one.rollouts, met.scored + one.scored, total)
    return tuple(sums.values())


def _summed(cells: Sequence[_Cell]) -> tuple[int, int, float | None]:
    """How many rollouts, how many of them scored, and their mean reward."""
    scored, total = sum(cell.scored for cell in cells), sum(cell.total or 0.0 for cell in cells)
    return sum(cell.rollouts for cell in cells), scored, total / scored if scored else None


def _arm_row(row: dict[str, Any], cells: Sequence[_Cell]) -> ArmRow:
    return ArmRow(row["id"], row["source"], row["tokens"], *_summed(cells), max((one.step for one in cells), default=0))


_UP_TO = "SELECT count(*) FROM groups WHERE run = ? AND id <= ?"
_BY_STEP = "SELECT step, count(*), max(id) FROM groups WHERE run = ? GROUP BY step"
_CELLS = """
SELECT rollouts.variant, count(*), count(rollouts.reward), sum(rollouts.reward)
FROM groups JOIN rollouts ON rollouts.group_id = groups.id
WHERE groups.run = ? AND groups.step = ? AND groups.id > ?
GROUP BY rollouts.variant ORDER BY rollouts.variant
"""
"""Of one step: those of all sorted at once take half as long again."""
_PRIORS = """
SELECT groups.prior AS id, '' AS source, 0 AS tokens, count(*) AS rollouts, count(rollouts.reward) AS scored,
       avg(rollouts.reward) AS mean, max(groups.step) AS last
FROM groups JOIN rollouts ON rollouts.group_id = groups.id
WHERE groups.run = ? GROUP BY groups.prior ORDER BY min(groups.id)
"""
_GROUP = """
SELECT id, step, task, prior, (SELECT count(*) FROM rollouts WHERE group_id = groups.id) AS rollouts FROM groups"""
_ROLLOUTS = """
SELECT group_id AS "group", sample, substr(text, 1, :shown) AS text, length(text) AS length, reward,
       coalesce(error, '') AS error, feedback, coalesce(variants.source, '') AS source
FROM rollouts JOIN groups ON groups.id = rollouts.group_id
LEFT JOIN variants ON variants.run = groups.run AND variants.id = rollouts.variant
WHERE group_id IN (SELECT CAST(value AS BIGINT) FROM json_each(:groups)) AND (
    SELECT count(*) FROM rollouts AS before WHERE before.group_id = rollouts.group_id
    AND before.sample < rollouts.sample) BETWEEN :first AND :end - 1
ORDER BY group_id, sample
"""


def _run_row(row: dict[str, Any]) -> RunRow:
    names = ("id", "kind", "namespace", "status", "tasks", "started", "ended")
    told = {name: row[name] for name in names}
    return RunRow(**told, model=rows.frame_of(row["frame"]).model, usage=rows.usage_of(row))
