"""The file behind the store: what is refused, what fails, and who may use it at the same time."""

import asyncio
import os
import random
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tests.store.by_hand import file_engine
from tests.store.test_migrations import (
    EXPERIENCE,
    KEY,
    PRIOR,
    PROMPTING,
    RUN,
    TASK,
    VARIANT,
    check,
    populate,
    populated,
)
from tfgrpo.errors import StoreError
from tfgrpo.records import CallKey, Group, Rollout, Task, Usage
from tfgrpo.store import Store, default_store_path, file
from tfgrpo.store.database import Database, Row, Work


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with rows, closed."""
    path = tmp_path / "tfgrpo.db"
    path.write_bytes(populated())
    return path


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time of the last change and bytes of each file."""
    files = [entry for entry in folder.iterdir() if entry.is_file()]
    return {entry.name: (entry.stat().st_mtime_ns, entry.read_bytes()) for entry in files}


# Which file


def test_the_path_comes_from_the_option_then_the_environment_then_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TFGRPO_STORE", raising=False)
    assert default_store_path() == Path("tfgrpo.db")
    monkeypatch.setenv("TFGRPO_STORE", "~/other.db")
    assert default_store_path() == Path.home() / "other.db"
    assert default_store_path("given.db") == Path("given.db")
    monkeypatch.setenv("TFGRPO_STORE", "postgresql://anna:geheim@db/tfgrpo?sslmode=require&password=geheim")
    assert str(default_store_path()) == "postgresql://anna@db/tfgrpo?sslmode=require"
    assert str(default_store_path("postgres://a:s/e@c:r@db:5/x")) == "postgres:/..."  # where does the password end?


def test_the_home_of_a_user_that_is_not_there_is_a_folder_that_is_not_there() -> None:
    with pytest.raises(StoreError, match="there is no folder ~no-such-user; create it"):
        Store(default_store_path("~no-such-user/tfgrpo.db"))


def test_a_name_that_is_too_long_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read: File name too long"):
        Store(tmp_path / f"{'n' * 300}.db")


def test_a_name_with_signs_of_a_uri_is_just_a_name(tmp_path: Path) -> None:
    path = tmp_path / "a?mode=memory&b#c%20d é.db"
    with Store(path) as store:
        populate(store)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "tfgrpo.db"
    path.touch()
    with Store(path) as store:
        populate(store)
        check(store)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder; name a file"):
        Store(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"there is no folder {tmp_path / 'nowhere'}"):
        Store(tmp_path / "nowhere" / "tfgrpo.db")


@pytest.mark.parametrize("empty", [False, True])
def test_a_missing_store_is_not_made_when_it_is_only_to_be_read(tmp_path: Path, empty: bool) -> None:
    path = tmp_path / "tfgrpo.db"
    if empty:
        path.touch()
    before = contents(tmp_path)
    with pytest.raises(StoreError, match=r"no store at .*`tfgrpo learn` makes one"):
        Store(path, create=False)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("content", [b"hello", b"x" * 5_000, b"SQLite format 3\0", b"\0" * 200])
def test_what_is_no_database_is_refused_untouched(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tfgrpo.db"
    path.write_bytes(content)
    before = contents(tmp_path)
    with pytest.raises(StoreError, match="not a database"):
        Store(path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_the_database_of_another_application_is_refused_untouched(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "tfgrpo.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(f"PRAGMA journal_mode = {mode}; PRAGMA application_id = 7; CREATE TABLE theirs (a);")
    before = contents(tmp_path)
    with pytest.raises(StoreError, match="another application"):
        Store(path)
    assert contents(tmp_path) == before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a folder that is closed even to root")
def test_a_place_that_cannot_be_written_is_one_clear_line() -> None:
    with pytest.raises(StoreError, match="check the permissions"):
        Store("/proc/tfgrpo.db")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tfgrpo.db")
    with pytest.raises(StoreError, match="is no file that could hold one"):
        Store(tmp_path / "tfgrpo.db")


# What fails on the way


def test_a_closed_store_says_so(path: Path) -> None:
    store = Store(path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.runs()
    with pytest.raises(StoreError, match="closed"):
        store.add_tasks([TASK])


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_disappears_is_noticed_by_readers_and_writers(path: Path, replaced: bool) -> None:
    with Store(path) as store:
        shutil.copy(path, path.with_name("copy.db"))
        path.unlink()
        if replaced:
            path.with_name("copy.db").rename(path)
        with pytest.raises(StoreError, match="replaced" if replaced else "disappeared"):
            store.add_tasks([TASK])
        with pytest.raises(StoreError, match="replaced" if replaced else "disappeared"):
            store.live("math")
        with pytest.raises(StoreError, match="replaced" if replaced else "disappeared"):
            store.changes()


def test_a_full_disk_is_one_clear_line_and_loses_nothing_committed(path: Path) -> None:
    noise = random.Random(0)
    tasks = [Task(f"{number} {noise.random()}" * 200) for number in range(200)]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Store(path) as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
        try:
            with pytest.raises(StoreError, match="disk failed or is full"):
                store.add_tasks(tasks)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        store.add_tasks(tasks)
        assert store.tasks([tasks[-1].id]) == (tasks[-1],)
    with Store(path) as store:
        check(store)


def test_a_locked_store_can_be_read_and_the_writer_told_why(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "BUSY_SECONDS", 0.01)
    with Store(path) as store, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        check_live(store)
        with pytest.raises(StoreError, match="another process keeps it locked"):
            store.add_tasks([TASK])
        other.rollback()
        store.add_tasks([TASK])


def test_a_store_that_another_process_is_making_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "BUSY_SECONDS", 0.01)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA journal_mode = delete")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another process keeps it locked"):
            Store(path)
        other.rollback()
    with Store(path) as store:
        check(store)


def check_live(store: Store) -> None:
    snapshot = store.live("math")
    assert snapshot is not None
    assert snapshot.prior == PRIOR


def read_everything(path: Path) -> tuple[str, ...]:
    """What `verify` finds; StoreError is the only error that reading may raise."""
    with Store(path, create=False) as store:
        problems = store.verify()
        of_run = lambda: store.groups(RUN.id), lambda: store.variants(RUN.id)
        for read in (store.runs, store.namespaces, *of_run, lambda: store.live("math")):
            try:
                read()
            except StoreError as error:
                problems += (str(error),)
        return problems


@pytest.mark.parametrize("seed", range(10))
def test_a_truncated_file_is_found_out(path: Path, seed: int) -> None:
    os.truncate(path, random.Random(seed).randrange(1, path.stat().st_size))
    try:
        assert read_everything(path)
    except StoreError as error:
        assert "\n" not in str(error)


def test_a_damaged_schema_is_a_store_error(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE tasks", b"CREATE TAB\xccE tasks"))
    with pytest.raises(StoreError, match="damaged"):
        Store(path)


@pytest.mark.parametrize("seed", range(30))
def test_a_flipped_byte_never_shows_as_anything_but_a_store_error(path: Path, seed: int) -> None:
    content, noise = bytearray(path.read_bytes()), random.Random(seed)
    content[noise.randrange(len(content))] ^= 1 << noise.randrange(8)
    path.write_bytes(content)
    try:
        read_everything(path)
    except StoreError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("What is 2 + 2?", f"task {TASK.id}: its content was changed"),
        ("Be brief.", f"run {RUN.id}: its content was changed"),
        ("When adding, count.", f"experience {EXPERIENCE.id}: its content was changed"),
        ("template_1", f"prior {PRIOR.id}: its content was changed"),
        ("What is 1 + 1?", f"demonstration {VARIANT.demonstrations[0].id}: its content was changed"),
        ("Count.", f"variant {VARIANT.id}: its content was changed"),
        ("Count.", f"prior {PROMPTING.id}: its content was changed"),
    ],
)
def test_verify_finds_changed_content(path: Path, text: str, finding: str) -> None:
    content = path.read_bytes()
    assert text.encode() in content
    path.write_bytes(content.replace(text.encode(), text.swapcase().encode()))
    with Store(path) as store:
        assert any(problem.startswith(finding) for problem in store.verify())


def test_verify_finds_an_index_that_disagrees(path: Path) -> None:
    content, found = path.read_bytes(), list[str]()
    for match in re.finditer(PRIOR.id.encode(), content):  # one of them stands in an index
        path.write_bytes(content[: match.start()] + b"PRIOR" + content[match.start() + 5 :])
        with Store(path) as store:
            found += store.verify()
    assert any(finding.startswith("row 1 missing from index ") for finding in found)


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        ("DELETE FROM tasks", "run_tasks row 1: its row in tasks is missing"),
        ("UPDATE calls SET response = 'x'", "calls row 1: response cannot be read"),
        ("UPDATE rollouts SET messages = x'00'", "rollouts row 1: messages cannot be read"),
        ("UPDATE rollouts SET whole = x'00'", "rollouts row 1: whole cannot be read"),
        ("UPDATE runs SET frame = '[]'", f"run {RUN.id}: "),
        ("UPDATE variants SET demonstrations = '['", f"variant {VARIANT.id}: "),
        ("UPDATE demonstrations SET input = '{'", f"demonstration {VARIANT.demonstrations[0].id}: "),
        ("UPDATE priors SET nearest = 2", f"prior {PROMPTING.id}: its content was changed"),
        ("DELETE FROM demonstrations", "prior_demonstrations row 1: its row in demonstrations is missing"),
    ],
)
def test_verify_finds_what_a_careless_hand_did(path: Path, damage: str, finding: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(damage)
    with Store(path) as store:
        assert any(problem.startswith(finding) for problem in store.verify())


def test_a_damaged_response_is_a_store_error(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE calls SET response = x'00'")
    with Store(path) as store, pytest.raises(StoreError, match="damaged"):
        asyncio.run(store.reply(KEY, "hash"))


# Several at once

READ = (
    "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('SELECT * FROM tasks').fetchall(); db.close()"
)


def test_a_second_store_in_a_process_leaves_the_locks_of_the_first_alone(path: Path) -> None:
    with Store(path) as store:
        store.add_tasks([Task("one")])
        with Store(path):
            pass
        subprocess.run([sys.executable, "-c", READ, str(path)], check=True)  # the last one to leave deletes the log
        store.add_tasks([Task("two")])
        with Store(path) as other:
            assert other.tasks([Task("two").id])


def test_a_change_by_another_is_seen(path: Path) -> None:
    with Store(path) as store, Store(path) as other:
        before = store.changes()
        assert store.changes() == before
        other.add_tasks([Task("new")])
        after = store.changes()
        assert after != before
        store.add_tasks([Task("own")])
        assert store.changes() != after
        assert store.tasks([Task("new").id])


def test_a_store_may_be_shared_by_threads(path: Path) -> None:
    errors: list[Exception] = []

    def work(store: Store, number: int) -> None:
        task = Task(f"of thread {number}")
        try:
            store.add_tasks([task])
            store.add_group(RUN.id, Group(task, number, (Rollout(task, number, 0, "prior_0"),)))
            assert store.tasks([task.id]) == (task,)
        except Exception as error:
            errors.append(error)

    with Store(path) as store:
        threads = [threading.Thread(target=work, args=(store, number)) for number in range(1, 17)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(store.groups(RUN.id)) == 17


async def test_closing_commits_what_is_queued(path: Path) -> None:
    store = Store(path)
    keys = [CallKey(RUN.id, "rollout", sample=sample) for sample in range(1, 601)]
    records = [asyncio.ensure_future(store.record(key, "hash", "{}", Usage(1))) for key in keys]
    await asyncio.sleep(0)
    store.close()
    await asyncio.gather(*records)
    with Store(path) as store:
        assert [await store.reply(key, "hash") for key in keys] == ["{}"] * 600


async def test_records_that_wait_together_share_transactions(path: Path) -> None:
    with Store(path) as store, Store(path) as other:
        transactions: list[str] = []
        await store.record(CallKey(RUN.id, "warm up"), "hash", "{}", Usage(1))
        writer = file_engine(store)._writer
        assert writer is not None
        assert isinstance(writer._ledger, file.SqliteLedger)
        writer._ledger.db._tracer = lambda sql, _: transactions.append(sql)
        keys = [CallKey(RUN.id, "rollout", sample=sample) for sample in range(1, 501)]
        await asyncio.gather(*(store.record(key, "hash", "{}", Usage(1)) for key in keys))
        assert transactions.count("BEGIN IMMEDIATE") < 100
        assert [await other.reply(key, "hash") for key in keys] == ["{}"] * 500


def test_what_is_written_after_a_write_that_failed_has_its_checksums(path: Path) -> None:
    """The triggers that make them come with a table's first rows, and go where those are taken back."""
    with Store(path) as store:
        engine = file_engine(store)
        rows: list[Row] = [{"name": "first"}, {"name": "second"}]

        def fails(db: Database) -> None:
            db.add_rows("namespaces", rows, "")
            raise LookupError

        with pytest.raises(LookupError):
            engine.submit(Work(fails)).result()
        engine.submit(Work(lambda db: db.add_rows("namespaces", rows, ""))).result()
        engine.submit(Work(lambda db: db.change("namespaces", {"model": "m"}, "name = 'second'", {}))).result()
        assert store.verify() == ()
        with closing(sqlite3.connect(path)) as db:
            found = db.execute(
                "SELECT count(*) FROM namespaces WHERE name IN ('first', 'second') AND checksum <> '00000000'"
            )
            assert found.fetchone() == (2,)
