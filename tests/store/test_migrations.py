"""The store's schema: as documented, and reached from every schema there ever was, with rows in it.

`python -m tests.store.test_migrations` freezes a store of the newest schema in tests/store/schemas/, once a migration.
"""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tfgrpo import __version__
from tfgrpo.errors import StoreError
from tfgrpo.prompts import asset_folder
from tfgrpo.records import (
    Backend,
    CallKey,
    Decision,
    Demonstration,
    Effect,
    Experience,
    Frame,
    Group,
    OptionOffset,
    Origin,
    Prior,
    QuestionOffsets,
    Rollout,
    Run,
    Task,
    TokenBias,
    Usage,
    Variant,
)
from tfgrpo.store import AccessKey, ExperienceStatus, Feedback, HistoryEntry, Inference, KeySpending, Store
from tfgrpo.store.migrations import (
    APPLICATION_ID,
    Migration,
    load_migrations,
    make_new,
    new_database,
    schema_parts,
    schema_text,
)
from tfgrpo.store.sqlite import SqliteDatabase
from tfgrpo.trials import GateTrial, Pass, TrialOutcome

FROZEN = Path(__file__).parent / "schemas"
NEWEST = load_migrations()[-1].number
APPLIED = "SELECT number, name, tfgrpo FROM migrations ORDER BY number"

TASK = Task("What is 2 + 2?", "4", {"level": 1})
FRAME = Frame("m", "Be brief.", {"max_tokens": 5})
RUN = Run("learn", "math", FRAME, {"seed": 0}, (TASK.id,), "exact")
KEY = CallKey(RUN.id, "rollout", 0, TASK.id)
EXPERIENCE = Experience("When adding, count.", origin=Origin(RUN.id, 1, (TASK.id,)))
EFFECT = Effect(EXPERIENCE.id, RUN.id, 1, 0.25, 0.1, 8)
DECISION = Decision(EXPERIENCE.id, "kept", "it helps", run=RUN.id, step=1)
PRIOR = Prior((EXPERIENCE,), (TokenBias(7, b"4", 0.5, 3.0, 4),), "tokenizer", "template_1")
SHOWN = (Demonstration("What is 1 + 1?", "2", "task_1"), Demonstration(({"role": "user", "content": "3 + 3?"},), "6"))
FROZEN_MODEL, VARIANT = Variant(source="frozen"), Variant("Count.", SHOWN, 1, "1 nearest")
PROMPTING = Prior(instruction="Count.", demonstrations=SHOWN, nearest=1)
OFFSETS = (OptionOffset("spam", 0.5, 2.0, 30), OptionOffset(True, -0.5, -2.0, 30), OptionOffset("True", 0.0, 0.0, 30))
ASKED = Prior(questions=(QuestionOffsets("choice", "Which?", OFFSETS), QuestionOffsets("score", "How much?", ())))
ATTEMPT = Rollout(TASK, 0, 0, PRIOR.id, (EXPERIENCE.id,), ({"role": "assistant", "content": "4"},), "4", 1.0)
CALL = Inference("inf_1", "math", PRIOR.id, "ungated", "chat", "m", 200, 0.5, '{"model": "m"}', "{}")
WORTH = Feedback("inf_1", "math", PRIOR.id, "ungated", 0.5, "half right")
ACCESS_KEY = AccessKey("1", "digest", "anna", "math", max_calls=5)
URL, BACKEND = "http://127.0.0.1:8080/v1", Backend(logit_bias="rejected", tokenizer="tokenizer_1")
PASS = Pass(1, 0.2, {TASK.id: (1.0, None)}, 0.0)
OUTCOME = TrialOutcome("rejected", "not promoted", 1, 1.0, 0.0, None, None, 1, 0)
VALIDATION = GateTrial("math", (TASK.id,), RUN.id, PRIOR.id, None, 0.05, 32, 0)


def populate(store: Store) -> None:
    """One row or more in every table."""
    store.add_tasks([TASK])
    store.begin(RUN)
    asyncio.run(store.record(KEY, "hash", '{"id": 1}', Usage(1, 20, 1)))
    store.add_group(RUN.id, Group(TASK, 0, (ATTEMPT,)))
    store.add_experiences("math", [EXPERIENCE])
    store.add_effects("math", [EFFECT])
    store.add_decisions("math", [DECISION])
    store.add_prior(PRIOR)
    store.set_state("math", PRIOR.id, "ungated", frame=FRAME, run=RUN.id)
    store.add_variants(RUN.id, [(FROZEN_MODEL, 0), (VARIANT, 31)])
    store.add_prior(PROMPTING)
    store.add_prior(ASKED)
    store.hold_out(RUN.id, "validation", [TASK.id])
    store.begin_trial(VALIDATION)
    store.add_pass(VALIDATION, PASS)
    store.end_trial(VALIDATION, OUTCOME)
    store.open_test(RUN.id, VALIDATION.task_set, 1)
    store.add_probe(URL, "m", BACKEND)
    store.add_key(ACCESS_KEY)
    store.add_spending({ACCESS_KEY.id: KeySpending(2, 30)})
    store.revoke_key(ACCESS_KEY.id)
    store.add_calls_in_use([CALL], [WORTH])
    store.add_share("math", PROMPTING.id, 0.1)
    store.add_history(HistoryEntry("math", "person", "canary", PROMPTING.id, "a tenth of calls", {"share": 0.1}))


def check(store: Store) -> None:
    """All that `populate` put in is there."""
    assert store.verify() == ()
    assert store.tasks([TASK.id]) == (TASK,)
    assert store.run(RUN.id) == RUN
    assert asyncio.run(store.reply(KEY, "hash")) == '{"id": 1}'
    assert store.groups(RUN.id) == (Group(TASK, 0, (ATTEMPT,)),)
    assert store.experiences("math") == (ExperienceStatus(EXPERIENCE, EFFECT, DECISION),)
    snapshot = store.live("math")
    assert snapshot is not None
    assert (snapshot.prior, snapshot.state, snapshot.frame) == (PRIOR, "ungated", FRAME)
    assert (snapshot.prior.instruction, snapshot.prior.demonstrations, snapshot.prior.nearest) == (None, (), 0)


def restore(dump: Path, path: Path) -> set[str]:
    """A store as its dump describes it; the names of its tables."""
    with closing(sqlite3.connect(path)) as db:
        db.executescript(dump.read_text(encoding="utf-8"))
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def freeze() -> None:
    """Dump a store of the newest schema; never done again once a release has it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tfgrpo.db"
        path.write_bytes(populated())
        with closing(sqlite3.connect(path)) as db:
            text = "\n".join(db.iterdump()) + "\n"
    (FROZEN / f"{NEWEST:04}.sql").write_text(text, encoding="utf-8")


def later(sql: str) -> type[Store]:
    """The store of a version that has one migration more."""

    class Later(Store):
        def _migrations(self) -> tuple[Migration, ...]:
            return *super()._migrations(), Migration(NEWEST + 1, "later", sql)

    return Later


@cache
def populated() -> bytes:
    """The file of a populated store."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tfgrpo.db"
        with Store(path) as store:
            populate(store)
        return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A populated store, closed."""
    path = tmp_path / "tfgrpo.db"
    path.write_bytes(populated())
    return path


def test_schema_sql_is_what_the_migrations_add_up_to() -> None:
    written = (asset_folder("store") / "schema.sql").read_text(encoding="utf-8")
    assert written == schema_text(), "run: python -m tfgrpo.store > store/schema.sql"


def test_a_new_store_is_what_the_migrations_add_up_to(tmp_path: Path) -> None:
    steps = load_migrations()
    with Store(tmp_path / "new.db") as store:
        assert store.verify() == ()
        with closing(new_database(steps)) as migrated, store._read("looking") as new:
            assert isinstance(new, SqliteDatabase)
            assert schema_parts(new) == schema_parts(migrated)
            for name in ("application_id", "user_version", "encoding"):
                assert new.execute(f"PRAGMA {name}").fetchone() == migrated.execute(f"PRAGMA {name}").fetchone()
            assert list(new.execute(APPLIED)) == [(step.number, step.name, __version__) for step in steps]


def test_migrations_that_schema_sql_lacks_are_applied_to_a_new_store_one_by_one() -> None:
    steps = (*load_migrations(), Migration(NEWEST + 1, "later", "CREATE TABLE later (a TEXT);"))
    with closing(SqliteDatabase(memory=True, execute_plugins=False)) as new:
        make_new(new, steps, "1")
        assert "later" in new.table_names()
        assert len(list(new.execute(APPLIED))) == NEWEST + 1


def test_migrations_are_numbered_without_gaps() -> None:
    assert [step.number for step in load_migrations()] == list(range(1, NEWEST + 1))


def test_the_readme_explains_every_table_and_view(path: Path) -> None:
    readme = (asset_folder("store") / "README.md").read_text(encoding="utf-8")
    with closing(sqlite3.connect(path)) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")]
    assert [name for name in names if f"| `{name}` |" not in readme] == []


def test_views_can_be_read_and_agree_with_the_store(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT id, model, tasks FROM run_list").fetchall() == [(RUN.id, "m", 1)]
        assert db.execute("SELECT id, verdict, mean FROM experience_list").fetchall() == [(EXPERIENCE.id, "kept", 0.25)]
        rollouts = db.execute("SELECT input, answer, text, reward, group_mean FROM rollout_list").fetchall()
        assert rollouts == [('"What is 2 + 2?"', '"4"', "4", 1.0, 1.0)]
        groups = db.execute("SELECT run, step, answer, rollouts, scored, mean, errors FROM group_list").fetchall()
        assert groups == [(RUN.id, 0, '"4"', 1, 1, 1.0, 0)]
        gated = "SELECT candidate, live, attempt, level, passes, log_e, verdict FROM validation_list"
        assert db.execute(gated).fetchall() == [(PRIOR.id, None, 1, 0.025, 1, 0.0, "rejected")]
        passed = "SELECT candidate, number, bet, tasks, candidate_mean, live_mean FROM pass_list"
        assert db.execute(passed).fetchall() == [(PRIOR.id, 1, 0.2, 1, 1.0, None)]
        assert db.execute("SELECT namespace, run, tasks FROM opening_list").fetchall() == [("math", RUN.id, 1)]
        raced = "SELECT source, tokens, nearest, demonstrations, rollouts, mean FROM variant_list ORDER BY tokens"
        assert db.execute(raced).fetchall() == [("frozen", 0, 0, 0, 0, None), ("1 nearest", 31, 1, 2, 0, None)]


def test_every_table_has_a_checksum_in_its_rows(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            assert None not in db.execute(f"SELECT checksum FROM {table}").fetchone(), table
            assert db.execute(f"SELECT count(*) FROM {table} WHERE checksum = '00000000'").fetchone() == (0,), table


def test_every_schema_has_a_frozen_store() -> None:
    frozen = [int(dump.stem) for dump in sorted(FROZEN.glob("*.sql"))]
    assert frozen == list(range(1, NEWEST + 1)), "run: python -m tests.store.test_migrations"


@pytest.mark.parametrize("dump", sorted(FROZEN.glob("*.sql")), ids=lambda dump: dump.stem)
def test_a_frozen_store_is_upgraded_with_all_its_rows(dump: Path, tmp_path: Path) -> None:
    path = tmp_path / "tfgrpo.db"
    known = restore(dump, path)
    with Store(path) as store:
        check(store)
        counts = store.info().rows
        gated, raced = store.trials(), store.variants(RUN.id)
    with Store(tmp_path / "new.db") as store:
        populate(store)
        full = dict(store.info().rows)
        expected = [replace(one, at=gated[0].at) for one in store.trials()] if "validations" in known else []
    assert 0 not in full.values()
    full["priors"] -= sum(name not in known for name in ("demonstrations", "prior_questions"))  # a prior each
    known |= {"bodies"} if "inferences" in known else set()  # they stood in its rows
    assert counts == {name: count if name in known | {"migrations"} else 0 for name, count in full.items()}
    assert list(gated) == expected
    assert raced == (((FROZEN_MODEL, 0), (VARIANT, 31)) if "variants" in known else ())


def test_an_older_store_is_upgraded_and_a_copy_kept(path: Path) -> None:
    with later("ALTER TABLE runs ADD COLUMN note TEXT;\nCREATE TABLE notes (id INTEGER PRIMARY KEY);")(path) as store:
        check(store)
        assert store.info().schema == NEWEST + 1
    with Store(path.with_name(f"tfgrpo.db.schema-{NEWEST}.bak")) as copy:
        check(copy)
        assert copy.info().schema == NEWEST


def test_an_upgrade_says_where_the_copy_is(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        later("CREATE TABLE notes (id INTEGER PRIMARY KEY);")(path).close()
    (told,) = [message for message in caplog.messages if str(path) in message]
    assert told == (
        f"store {path} was upgraded from schema {NEWEST} to {NEWEST + 1};"
        f" {path}.schema-{NEWEST}.bak is a copy of it as it was"
    )


def test_an_upgrade_that_fails_changes_nothing(path: Path) -> None:
    with pytest.raises(StoreError, match="no such table"):
        later("CREATE TABLE notes (id INTEGER PRIMARY KEY);\nDROP TABLE nowhere;")(path)
    with Store(path) as store:
        check(store)
        assert "notes" not in store.info().rows


def test_a_new_store_leaves_no_copy(path: Path) -> None:
    with Store(path):
        pass
    assert [file.name for file in path.parent.iterdir()] == ["tfgrpo.db"]


def test_a_store_from_the_future_names_the_version_it_needs(path: Path) -> None:
    later("CREATE TABLE notes (id INTEGER PRIMARY KEY);")(path).close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE migrations SET tfgrpo = '9.1.0' WHERE number > ?", [NEWEST])
    with pytest.raises(StoreError, match=r"needs tfgrpo 9\.1\.0 or later"):
        Store(path)


if __name__ == "__main__":
    freeze()
