"""What the gate saw and said, and who opened which test tasks. Rows are appended only."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ..errors import StoreError
from ..records import JSON, Task
from ..trials import GateTrial, Opening, Pass, Role, TrialOutcome, task_set_id
from . import rows
from .database import ONCE, Database, Row, Value, add_namespace, insert
from .opened import OpenStore


class TrialStore(OpenStore):
    """The part of the store that the gate and evaluations write; its table `validations` holds the trials."""

    def hold_out(self, run_id: str, role: Role, tasks: Iterable[str]) -> str:
        """Write down which tasks (ids, added before) a run held out, once; the id of the set."""
        ids = sorted(set(tasks))
        place: Row = {"run": run_id, "role": role, "task_set": task_set_id(ids)}

        def work(db: Database) -> None:
            _add_set(db, ids)
            insert(db, "held_out", [place], ONCE)

        self._write(f"holding out {role} tasks of run {run_id}", work)
        return task_set_id(ids)

    def held_out(self, namespace: str, role: Role) -> dict[str, tuple[str, ...]]:
        """The sets that runs of a namespace held out for a purpose, by id: the ids of their tasks, sorted."""
        query = """
            SELECT DISTINCT task_sets.id, task_sets.task FROM held_out
            JOIN runs ON runs.id = held_out.run JOIN task_sets ON task_sets.id = held_out.task_set
            WHERE runs.namespace = ? AND held_out.role = ? ORDER BY task_sets.id, task_sets.task"""
        with self._read(f"reading the {role} tasks of {namespace}") as db:
            found: dict[str, tuple[str, ...]] = {}
            for task_set, task in db.execute(query, [namespace, role]):
                found[task_set] = (*found.get(task_set, ()), task)
            return found

    def next_trial(self, namespace: str, tasks: Iterable[Task]) -> int:
        """The number that the next trial on these tasks will have; nothing is written."""
        inputs = [rows.task_row(task)["input"] for task in tasks]
        with self._read(f"counting trials in {namespace}") as db:
            return _next_number(db, namespace, inputs)

    def begin_trial(self, wanted: GateTrial) -> GateTrial:
        """Write down a trial before its first pass; its number is the store's to give.

        A run's trial of the same candidate is there already when it is resumed: it comes back as it was begun, with
        the passes that were made and its outcome.
        """
        what = f"beginning the gate of run {wanted.run}"
        self._write(what, partial(_begin, wanted=wanted))
        (begun,) = [one for one in self.trials(run=wanted.run) if one.candidate == wanted.candidate]
        return begun

    def add_pass(self, trial: GateTrial, made: Pass) -> None:
        """Append a pass; one with this number that is there already stays."""
        row: Row = {
            "number": made.number,
            "bet": float(made.bet),
            "rewards": rows.dumps({task: list(pair) for task, pair in made.rewards.items()}),
            "log_e": float(made.log_e),
            "details": rows.dumps(_details(made)),
        }
        self._append_to("passes", trial, row)

    def end_trial(self, trial: GateTrial, outcome: TrialOutcome) -> None:
        """Append how a trial ended; an outcome that is there already stays."""
        self._append_to(
            "outcomes",
            trial,
            {
                "verdict": outcome.verdict,
                "reason": rows.column_text(outcome.reason),
                "passes": outcome.passes,
                "e_value": outcome.e_value,
                "estimate": outcome.estimate,
                "low": outcome.low,
                "high": outcome.high,
                "lost": outcome.lost,
                "lost_by_candidate": outcome.lost_by_candidate,
                "details": rows.dumps(_told(outcome)),
            },
        )

    def trials(self, namespace: str | None = None, *, run: str | None = None) -> tuple[GateTrial, ...]:
        """The trials in a namespace, of a run, or all, oldest first, each with its passes and outcome."""
        query = """
            SELECT * FROM validations WHERE (CAST(:namespace AS TEXT) IS NULL OR namespace = :namespace)
            AND (CAST(:run AS TEXT) IS NULL OR run = :run) ORDER BY id"""
        with self._read("reading what the gate decided") as db:
            found = list(db.query(query, {"namespace": namespace, "run": run}))
            return tuple(_trial_of(db, row) for row in found)

    def open_test(self, run_id: str, task_set: str, tasks: int) -> None:
        """Write down that an evaluation measures on so many tasks of a test split; a resumed one's is there already."""
        row: Row = {"run": run_id, "task_set": task_set, "tasks": tasks}
        self._write(f"opening test tasks for run {run_id}", lambda db: insert(db, "openings", [row], ONCE))

    def openings(self, namespace: str) -> tuple[Opening, ...]:
        """The evaluations of a namespace that measured on tasks of a test split, oldest first."""
        query = """
            SELECT openings.run, task_set, tasks, at FROM openings JOIN runs ON runs.id = openings.run
            WHERE namespace = ? ORDER BY openings.rowid"""
        with self._read(f"reading who opened test tasks of {namespace}") as db:
            return tuple(Opening(**row) for row in db.query(query, [namespace]))

    def _append_to(self, table: str, trial: GateTrial, row: Row) -> None:
        def work(db: Database) -> None:
            place = [trial.run, trial.candidate]
            found = db.execute("SELECT id FROM validations WHERE run = ? AND candidate = ?", place).fetchone()
            if found is None:
                raise StoreError(f"the gate of run {trial.run} has not begun; begin it first")
            insert(db, table, [{"validation": found[0], **row}], ONCE)

        self._write(f"adding {table} to the gate of run {trial.run}", work)


def _add_set(db: Database, tasks: Iterable[str]) -> str:
    ids = sorted(set(tasks))
    task_set = task_set_id(ids)
    insert(db, "task_sets", [{"id": task_set, "task": task} for task in ids], ONCE)
    return task_set


def _next_number(db: Database, namespace: str, inputs: Sequence[Value]) -> int:
    """One more than the trials so far on any set that asks the same as this one somewhere: they looked at it too.

    Sets are held against each other by their tasks' inputs, as the store spells them: a new column, or another spelling
    of an answer, makes other tasks of them and gives no alpha back.
    """
    query = """
        SELECT coalesce(max(attempt), 0) + 1 FROM validations WHERE namespace = ? AND task_set IN
        (SELECT task_sets.id FROM task_sets JOIN tasks ON tasks.id = task_sets.task
         WHERE tasks.input IN (SELECT value FROM json_each(?)))"""
    return int(db.execute(query, [namespace, rows.dumps(inputs)]).fetchone()[0])


def _begin(db: Database, wanted: GateTrial) -> None:
    add_namespace(db, wanted.namespace)
    task_set = _add_set(db, wanted.tasks)
    inputs = db.execute("SELECT input FROM tasks JOIN task_sets ON task = tasks.id WHERE task_sets.id = ?", [task_set])
    number = _next_number(db, wanted.namespace, [text for (text,) in inputs.fetchall()])
    row: Row = {
        "namespace": wanted.namespace,
        "task_set": task_set,
        "attempt": number,
        "run": wanted.run,
        "candidate": wanted.candidate,
        "live": wanted.live,
        "alpha": float(wanted.alpha),
        "level": replace(wanted, number=number).level,
        "tasks": len(set(wanted.tasks)),
        "most_passes": wanted.most_passes,
        "seed": wanted.seed,
        "claim": wanted.claim,
        "statistic": wanted.statistic,
    }
    insert(db, "validations", [row], "ON CONFLICT (run, candidate) DO NOTHING")


def _trial_of(db: Database, row: dict[str, Any]) -> GateTrial:
    tasks = db.execute("SELECT task FROM task_sets WHERE id = ? ORDER BY task", [row["task_set"]]).fetchall()
    passes = db.query("SELECT * FROM passes WHERE validation = ? ORDER BY number", [row["id"]])
    outcomes = [_outcome(found) for found in db.query("SELECT * FROM outcomes WHERE validation = ?", [row["id"]])]
    return GateTrial(
        namespace=row["namespace"],
        tasks=tuple(task for (task,) in tasks),
        run=row["run"],
        candidate=row["candidate"],
        live=row["live"],
        alpha=row["alpha"],
        most_passes=row["most_passes"],
        seed=row["seed"],
        number=row["attempt"],
        claim=row["claim"],
        statistic=row["statistic"],
        passes=tuple(_pass(found) for found in passes),
        outcome=outcomes[0] if outcomes else None,
        at=row["at"],
    )


def _details(made: Pass) -> dict[str, JSON]:
    """What there is of it: most passes have no gains of their own."""
    answers = {task: list(pair) for task, pair in made.answers.items()}
    found = {"answers": answers, "gains": dict(made.gains), "failed": list(made.failed)}
    return {name: value for name, value in found.items() if value and value != [0, 0]}


def _pass(row: dict[str, Any]) -> Pass:
    rewards = {task: (candidate, live) for task, (candidate, live) in json.loads(row["rewards"]).items()}
    told = json.loads(row["details"])
    answers = {task: (candidate, live) for task, (candidate, live) in told.get("answers", {}).items()}
    candidate, live = told.get("failed", (0, 0))
    return Pass(row["number"], row["bet"], rewards, row["log_e"], told.get("gains", {}), answers, (candidate, live))


def _outcome(row: dict[str, Any]) -> TrialOutcome:
    names = ("verdict", "reason", "passes", "e_value", "estimate", "low", "high", "lost", "lost_by_candidate")
    told = json.loads(row["details"])
    candidate, live = told.get("failed", (0, 0))
    figures = {name: row[name] for name in names}
    more = told.get("labels", {}), told.get("training", {})
    return TrialOutcome(**figures, failed=(candidate, live), labels=more[0], training=more[1])


def _told(outcome: TrialOutcome) -> dict[str, JSON]:
    """What an outcome holds beside its figures."""
    found: dict[str, JSON] = {"failed": list(outcome.failed), "labels": dict(outcome.labels)}
    return found | ({"training": dict(outcome.training)} if outcome.training else {})
