"""What happened: tasks, runs, the journal of their calls, groups of rollouts; what upstreams were seen to honour."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from itertools import groupby
from typing import Any

from ..errors import StoreError
from ..records import JSON, Backend, CallKey, Group, Run, RunStatus, Task, Usage
from . import rows
from .database import ONCE, Database, Row, add_namespace, insert, one_row
from .opened import OpenStore, StorePath

_KEY = "run = :run AND stage = :stage AND step = :step AND task = :task AND sample = :sample AND retry = :retry"
_UNFINISHED = ("running", "interrupted", "failed", "out of budget")


@dataclass(frozen=True, slots=True)
class RunEntry:
    """A run and its times, UTC in ISO 8601, for people."""

    run: Run
    started: str
    ended: str | None


class RunStore(OpenStore):
    """The part of the store that learning and evaluation write as they go; it is the Journal of their calls."""

    def __init__(self, path: str | StorePath, *, create: bool = True) -> None:
        super().__init__(path, create=create)
        self._begun: dict[str, set[int]] = {}
        """By run, the hashes of keys whose calls are committed, or about to be: of no others is there a reply."""

    async def reply(self, key: CallKey, request: str) -> str | None:
        """The response committed for this key, None when there is none.

        `request` is the hash of the request; StoreError when the key was committed with another one.
        """
        if hash(key) not in self._keys(key.run):
            return None
        return self._look(f"reading the {_place(key)} of run {key.run}", partial(_reply, key=key, request=request))

    def _keys(self, run_id: str) -> set[int]:
        """Of a run's calls. It is looked into for each call, and most are new: so it is read once."""
        if run_id not in self._begun:
            found = self._look(f"reading the calls of run {run_id}", partial(_keys, run_id=run_id))
            self._begun[run_id] = {hash(key) for key in found}
        return self._begun[run_id]

    def each_response(self, run_id: str, see: Callable[[CallKey, str], None]) -> None:
        """Show every response of a run's journal, with the key of its call."""
        with self._read(f"reading the calls of run {run_id}") as db:
            query = "SELECT stage, step, task, sample, retry, response FROM calls WHERE run = ? ORDER BY rowid"
            for *place, response in db.execute(query, [run_id]):
                see(CallKey(run_id, *place), rows.unpack(response))

    async def record(self, key: CallKey, request: str, response: str, usage: Usage) -> None:
        """Commit one response; records that wait together share a transaction.

        Once begun it is carried out even when the caller is cancelled. The same response twice is one; another response
        for the same key is a StoreError: two processes are at the same run.
        """
        self._keys(key.run).add(hash(key))
        work = partial(_record, key=key, row=rows.call_row(key, request, response, usage))
        await self._write_async(f"recording the {_place(key)} of run {key.run}", work, appends=True)

    def spent(self, run_id: str, *, since: str = "") -> Usage:
        """What the journalled calls of a run have cost, over all of its starts; or those since a time."""
        with self._read(f"reading run {run_id}") as db:
            return _spent(db, run_id, since)

    def spent_by_stage(self, run_id: str) -> Mapping[str, Usage]:
        """The same by stage of the run, in the order in which the stages began."""
        sums = "sum(calls) AS calls, sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens"
        query = f"SELECT stage, {sums} FROM calls WHERE run = ? GROUP BY stage ORDER BY min(rowid)"
        with self._read(f"reading run {run_id}") as db:
            return {row["stage"]: rows.usage_of(row) for row in db.query(query, [run_id])}

    def step_means(self) -> Mapping[str, tuple[float, ...]]:
        """The mean reward of each step of each learning run, over the rollouts that have a reward."""
        with self._read("reading mean rewards") as db:
            found = list(db.execute(_STEP_MEANS))
            return {run: tuple(mean for _, mean in part) for run, part in groupby(found, key=lambda row: row[0])}

    def begin(self, run: Run, *, fresh: bool = False) -> tuple[Run, bool]:
        """The run to carry out, and whether it is resumed; its tasks must have been added.

        That is the last run with the same settings when it never finished, else (or with `fresh`) a new one: a repeat,
        where there were any.
        """
        begun = self._write(f"beginning a run in {run.namespace}", partial(_begin, run=run, fresh=fresh))
        self._begun.pop(begun[0].id, None)  # another process may have gone on with it since
        return begun

    def end(self, run_id: str, status: RunStatus, usage: Usage, result: Mapping[str, JSON]) -> None:
        """Write down how a run ended: its status, what it cost in all, and its figures."""
        row: Row = {"status": status, "result": rows.dumps(dict(result)), **rows.usage_row(usage)}
        self._write(f"ending run {run_id}", partial(_end, run_id=run_id, row=row))

    def run(self, given: str) -> Run:
        """The run with this id, or the only one whose id begins so."""
        with self._read(f"looking up run {given}") as db:
            return load_run(db, one_row(db, "runs", "run", given))

    def run_entry(self, given: str, *, spent: bool = True) -> RunEntry:
        """The same with its times; `spent`: with what one that goes on has cost so far, too."""
        with self._read(f"looking up run {given}") as db:
            return _entry(db, one_row(db, "runs", "run", given), spent=spent)

    def runs(self, namespace: str | None = None) -> tuple[RunEntry, ...]:
        """The runs of a namespace, or all, oldest first."""
        with self._read("listing runs") as db:
            query = "SELECT * FROM runs WHERE CAST(:name AS TEXT) IS NULL OR namespace = :name ORDER BY rowid"
            found = list(db.query(query, {"name": namespace}))
            return tuple(_entry(db, row) for row in found)

    def add_tasks(self, tasks: Iterable[Task]) -> None:
        """Add tasks; one that is there already only takes the new count."""
        added = [rows.task_row(task) for task in {task.id: task for task in tasks}.values()]
        latest = "ON CONFLICT (id) DO UPDATE SET count = excluded.count"
        self._write("adding tasks", lambda db: insert(db, "tasks", added, latest))

    def tasks(self, ids: Iterable[str]) -> tuple[Task, ...]:
        """The tasks with these ids, in the order given."""
        with self._read("reading tasks") as db:
            return tuple(load_task(db, task_id) for task_id in ids)

    def learned_from(self, namespace: str) -> tuple[str, ...]:
        """The ids of the tasks that learning in a namespace has made rollouts of, sorted."""
        query = """
            SELECT DISTINCT groups.task FROM groups JOIN runs ON runs.id = groups.run
            WHERE runs.namespace = ? AND runs.kind = 'learn' ORDER BY groups.task"""
        with self._read(f"reading what {namespace} has learned from") as db:
            return tuple(task for (task,) in db.execute(query, [namespace]))

    def add_group(self, run_id: str, group: Group) -> None:
        """Add a group of a run whose tasks were added; a resumed run that adds it again replaces it.

        All of its rollouts have one prior, which tells the arms of an evaluation apart. Token traces stay in the
        journalled calls.
        """
        priors = {rollout.prior for rollout in group.rollouts}
        what = f"adding the group of {group.task.id}, step {group.step}, to run {run_id}"
        if len(priors) != 1:
            raise StoreError(f"store {self.path}, {what}: its rollouts have {len(priors)} priors, they must share one")
        place: Row = {"run": run_id, "step": group.step, "task": group.task.id, "prior": priors.pop()}
        added = [rows.rollout_row(rollout) for rollout in group.rollouts]
        self._write(what, partial(_add_group, place=place, rollouts=added), appends=True, numbers="groups")

    def groups(self, run_id: str) -> tuple[Group, ...]:
        """The groups of a run by step, then in the order of the run's tasks, whatever the order they came in."""
        with self._read(f"reading the groups of run {run_id}") as db:
            found = list(db.query(_GROUPS, [run_id]))
            tasks = {task_id: load_task(db, task_id) for task_id in {row["task"] for row in found}}
            parts = [list(part) for _, part in groupby(found, key=lambda row: row["group_id"])]
            return tuple(rows.group_of(part, tasks[part[0]["task"]]) for part in parts)


_GROUPS = """
SELECT groups.step, groups.task, groups.prior, rollouts.*
FROM groups
JOIN rollouts ON rollouts.group_id = groups.id
LEFT JOIN (SELECT run, task, min(position) AS position FROM run_tasks GROUP BY run, task) AS place
    ON place.run = groups.run AND place.task = groups.task
WHERE groups.run = ?
ORDER BY groups.step, place.position IS NOT NULL, place.position, groups.task, groups.id, rollouts.sample
"""


_STEP_MEANS = """
SELECT groups.run, avg(rollouts.reward)
FROM groups
JOIN runs ON runs.id = groups.run AND runs.kind = 'learn'
JOIN rollouts ON rollouts.group_id = groups.id
WHERE rollouts.reward IS NOT NULL
GROUP BY groups.run, groups.step
ORDER BY groups.run, groups.step
"""


def _entry(db: Database, row: Mapping[str, Any], *, spent: bool = True) -> RunEntry:
    """A run that has not ended has written down no cost yet: its calls are summed up."""
    run = load_run(db, row)
    known = row["ended"] or not spent
    return RunEntry(run if known else replace(run, usage=_spent(db, run.id)), row["started"], row["ended"])


def _spent(db: Database, run_id: str, since: str = "") -> Usage:
    sums = "coalesce(sum(calls), 0), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0)"
    later = "AND at >= ?" if since else ""  # without it an index has all that is summed up
    found = db.execute(f"SELECT {sums} FROM calls WHERE run = ? {later}", [run_id, *([since] if since else ())])
    return Usage(*found.fetchone())


def _place(key: CallKey) -> str:
    return f"{key.stage} call (step {key.step}, task {key.task or '-'}, sample {key.sample}, retry {key.retry})"


def _keys(db: Database, run_id: str) -> list[CallKey]:
    found = db.execute("SELECT stage, step, task, sample, retry FROM calls WHERE run = ?", [run_id]).fetchall()
    return [CallKey(run_id, *place) for place in found]


def _reply(db: Database, key: CallKey, request: str) -> str | None:
    found = db.execute(f"SELECT request, response FROM calls WHERE {_KEY}", rows.key_row(key)).fetchone()
    if found is None:
        return None
    if found[0] != request:
        raise StoreError(
            f"run {key.run} has sent another request as its {_place(key)}, so code or settings changed since;"
            " start it anew with --fresh"
        )
    return rows.unpack(found[1])


def _record(db: Database, key: CallKey, row: Row) -> None:
    if insert(db, "calls", [row], ONCE):
        return
    found = db.execute(f"SELECT request, response FROM calls WHERE {_KEY}", rows.key_row(key)).fetchone()
    if found != (row["request"], row["response"]):
        raise StoreError(
            f"run {key.run} already has another response to its {_place(key)}; is another process at the same run?"
            " Stop one of them, or start anew with --fresh"
        )


def _begin(db: Database, run: Run, fresh: bool) -> tuple[Run, bool]:
    identity = replace(run, attempt=0).id
    earlier = list(db.query("SELECT * FROM runs WHERE identity = ? ORDER BY attempt", [identity]))
    if earlier and not fresh and earlier[-1]["status"] in _UNFINISHED:
        db.change("runs", {"status": "running", "ended": None}, "id = :id", {"id": earlier[-1]["id"]})
        return replace(load_run(db, earlier[-1]), status="running"), True
    begun = replace(run, attempt=len(earlier), status="running", usage=Usage(), result={})
    add_namespace(db, run.namespace, run.frame.model)
    insert(db, "runs", [rows.run_row(begun, identity)])
    insert(db, "run_tasks", [{"run": begun.id, "position": i, "task": task} for i, task in enumerate(begun.tasks)])
    return begun, False


def _end(db: Database, run_id: str, row: Row) -> None:
    if not db.change("runs", {**row, "ended": db.now()}, "id = :id", {"id": run_id}):
        raise StoreError(f"there is no run {run_id}; begin it first")


def load_run(db: Database, row: Mapping[str, Any]) -> Run:
    """The run of a row of `runs`, with its tasks in order."""
    tasks = db.execute("SELECT task FROM run_tasks WHERE run = ? ORDER BY position", [row["id"]]).fetchall()
    return rows.run_of(row, (task for (task,) in tasks))


def load_task(db: Database, task_id: str) -> Task:
    """The task with this id; StoreError when there is none."""
    found = list(db.query("SELECT * FROM tasks WHERE id = ?", [task_id]))
    if not found:
        raise StoreError(f"there is no task {task_id} in the store; add it first")
    return rows.task_of(found[0])


def _add_group(db: Database, place: Row, rollouts: Sequence[Row]) -> None:
    where = "run = :run AND step = :step AND task = :task AND prior = :prior"
    if not insert(db, "groups", [place], ONCE):
        db.execute(f"DELETE FROM groups WHERE {where}", place)
        insert(db, "groups", [place])
    group_id = db.last_number()
    insert(db, "rollouts", [{"group_id": group_id, **row} for row in rollouts])


_LATEST = "SELECT upstream, model, found FROM probes WHERE id IN (SELECT max(id) FROM probes GROUP BY upstream, model)"
_KNOWN = {field.name for field in fields(Backend)}


class ProbeStore(OpenStore):
    """The part of the store that remembers backends."""

    def add_probe(self, upstream: str, model: str, found: Backend, *, anew: bool = False) -> None:
        """Write down what a probe found at a base URL (by `backend_key`) for a model, unless it is known already.

        `anew`: even then, for clients and proxies to see that it was probed. How many alternatives come stays known
        where they come and it was not looked at, and so does how it goes on with an answer; of other software neither.
        """

        def work(db: Database) -> None:
            latest = "SELECT found FROM probes WHERE upstream = ? AND model = ? ORDER BY id DESC LIMIT 1"
            known, told = db.execute(latest, [upstream, model]).fetchone(), asdict(found)
            before = json.loads(known[0]) if known else {}
            before = before if before.get("kind") == found.kind else {}
            if found.logprobs and not found.alternatives:
                told["alternatives"] = before.get("alternatives", 0)
            told["goes_on"] = found.goes_on or before.get("goes_on", "")
            if not told["goes_on"]:
                del told["goes_on"]  # as before anyone looked for it
            row: Row = {"upstream": upstream, "model": model, "found": rows.dumps(told)}
            if anew or known != (row["found"],):
                insert(db, "probes", [row])

        self._write(f"remembering what {upstream} honours", work)

    def probes(self) -> Mapping[str, Mapping[str, Backend]]:
        """What is known of each base URL, model by model."""
        with self._read("reading what upstreams honour") as db:
            found: dict[str, dict[str, Backend]] = {}
            for upstream, model, text in db.execute(_LATEST):
                told = {name: value for name, value in json.loads(text).items() if name in _KNOWN}
                found.setdefault(upstream, {})[model] = Backend(**told)
            return found
