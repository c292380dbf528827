"""Disks that fill up, files that cannot be written, files that are damaged: nothing is lost, and nothing breaks."""

import logging
import os
import random
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.live import MODEL, OTHER, PRIOR, TEXT, go_live
from tests.routing import SMALL, failing_after, plan, run, simulated, upstream
from tests.store.test_migrations import FROZEN, NEWEST, check, later, populated, restore
from tests.store.test_migrations import TASK as STORED_TASK
from tfgrpo import OpenAI
from tfgrpo.errors import StoreError, UpstreamError
from tfgrpo.learning.run import carry_out
from tfgrpo.model.library import http
from tfgrpo.observer import Silent
from tfgrpo.records import ChatBody, Frame
from tfgrpo.serve.proxy import Proxy, RelayTarget, Shelf
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel, serving

QUESTION: Any = [{"role": "user", "content": "Which queue?"}]
NOBODY = 65_534
"""The user that root becomes where permissions must bite."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can reach; pytest's own are its user's."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root becomes another user, for whom permissions hold."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@contextmanager
def read_only(folder: Path, *, file: bool = True) -> Iterator[None]:
    """Nothing in the folder can be created or deleted, and with `file` nothing in it written."""
    entries = list(folder.iterdir()) if file else []
    for entry in entries:
        entry.chmod(0o444)
    folder.chmod(0o555)
    try:
        with as_nobody():
            yield
    finally:
        folder.chmod(0o755)
        for entry in entries:
            entry.chmod(0o644)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As if the disk were full beyond that many bytes a file."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture(scope="module")
def model() -> Iterator[tuple[ScriptedModel, str]]:
    model = ScriptedModel(lambda body: "BILL")
    with serving(model.app) as url:
        yield model, url


async def asked_by_client_and_proxy(path: Path, model: ScriptedModel, url: str) -> list[ChatBody]:
    """What reaches the model of one call through a client, and of one through a proxy, at this store."""
    model.requests.clear()
    with OpenAI(store=path, base_url=url, api_key="sk-caller") as client:
        said = client.chat.completions.create(model=MODEL, messages=QUESTION)
        assert said.choices[0].message.content == "BILL"
    async with Proxy(RelayTarget.parse(url), Shelf(path)) as proxy:
        transport = http.ASGITransport(proxy)
        async with http.AsyncClient(transport=transport, base_url="http://proxy") as http_client:
            body = {"model": MODEL, "messages": QUESTION}
            assert (await http_client.post("/v1/chat/completions", json=body)).status_code == 200
    assert len(model.requests) == 2
    return model.requests


def are_biased(bodies: list[ChatBody]) -> bool:
    return all(TEXT in str(body["messages"]) and "logit_bias" in body for body in bodies)


def are_as_written(bodies: list[ChatBody]) -> bool:
    return all(list(body["messages"]) == QUESTION and "logit_bias" not in body for body in bodies)


def contents(path: Path) -> object:
    """All that the file holds, as SQLite reads it."""
    with closing(sqlite3.connect(path)) as db:
        schema = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()
        tables = [name for kind, name, *_ in schema if kind == "table"]
        return schema, [db.execute(f"SELECT rowid, * FROM {table}").fetchall() for table in tables]


# A full disk


@pytest.mark.parametrize("share", [0.3, 0.9])
async def test_a_run_that_filled_the_disk_goes_on_when_there_is_room(tmp_path: Path, share: float) -> None:
    whole = await run(simulated(), tmp_path / "whole.db")
    path, model = tmp_path / "cut.db", simulated()
    Store(path).close()
    start, end = path.stat().st_size, (tmp_path / "whole.db").stat().st_size
    with files_of_at_most(int(start + share * (end - start))), pytest.raises(StoreError) as caught:
        await run(model, path)
    assert "disk failed or is full; see to it, then start the same command again" in str(caught.value)
    with Store(path) as store:
        assert store.verify() == ()
        (entry,) = store.runs()
        committed = store.spent(entry.run.id).calls
    assert committed >= len(model.requests) - 2 * SMALL.concurrency  # more begin while the failure is told
    model.requests.clear()
    resumed = await run(model, path)
    assert resumed.resumed
    assert resumed.prior.id == whole.prior.id
    assert len(model.requests) == whole.usage.calls - committed


@pytest.mark.parametrize("share", [0.5, 1.0], ids=["for the copy", "for the upgrade"])
def test_an_upgrade_that_finds_the_disk_full_changes_nothing_and_leaves_nothing(tmp_path: Path, share: float) -> None:
    path = tmp_path / "s.db"
    restore(FROZEN / "0002.sql", path)
    whole = contents(path)
    with files_of_at_most(int(share * path.stat().st_size)), pytest.raises(StoreError, match="disk failed or is full"):
        Store(path)
    assert contents(path) == whole
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.db"]
    with Store(path) as store:
        check(store)


async def test_a_client_and_a_proxy_read_on_where_the_disk_is_full(
    tmp_path: Path, model: tuple[ScriptedModel, str]
) -> None:
    path = go_live(tmp_path / "s.db")
    with files_of_at_most(path.stat().st_size):
        assert are_biased(await asked_by_client_and_proxy(path, *model))


# A store that cannot be written


@pytest.mark.parametrize("file", [True, False], ids=["file and folder", "folder"])
async def test_a_store_that_cannot_be_written_is_read(
    folder: Path, file: bool, model: tuple[ScriptedModel, str]
) -> None:
    path = go_live(folder / "s.db")
    with read_only(folder, file=file):
        with Store(path, create=False) as store:
            snapshot = store.live("default")
            assert snapshot is not None
            assert snapshot.prior == PRIOR
            assert store.verify() == ()
            with pytest.raises(StoreError, match="cannot be written; check the permissions"):
                store.add_tasks([STORED_TASK])
        assert are_biased(await asked_by_client_and_proxy(path, *model))
    assert [entry.name for entry in folder.iterdir()] == ["s.db"]


def test_a_store_that_may_not_be_read_is_one_clear_line(folder: Path) -> None:
    path = go_live(folder / "s.db")
    path.chmod(0)
    try:
        with as_nobody(), pytest.raises(StoreError, match="cannot be read; check its permissions"):
            Store(path, create=False)
    finally:
        path.chmod(0o644)


async def test_a_client_and_a_proxy_go_on_without_a_store_in_a_folder_that_they_may_not_enter(
    folder: Path, model: tuple[ScriptedModel, str], caplog: pytest.LogCaptureFixture
) -> None:
    path = go_live(folder / "s.db")
    folder.chmod(0o600)
    with caplog.at_level(logging.WARNING), as_nobody():
        assert are_as_written(await asked_by_client_and_proxy(path, *model))
    folder.chmod(0o755)
    expected = f"store {path} cannot be read: Permission denied"
    assert [expected in line and "without a prior" in line for line in said(caplog, path)] == [True, True]


async def test_learning_into_a_store_that_cannot_be_written_ends_before_any_call(folder: Path) -> None:
    path, model = go_live(folder / "s.db"), simulated()
    with read_only(folder), pytest.raises(StoreError, match="cannot be written; check the permissions"):
        await run(model, path)
    assert model.requests == []


def test_what_others_commit_to_a_store_that_cannot_be_written_is_followed(folder: Path) -> None:
    path = go_live(folder / "s.db")
    with read_only(folder):
        store = Store(path, create=False)
        before = store.changes()
    with store:
        go_live(path, OTHER)
        with read_only(folder):
            assert store.changes() != before
            snapshot = store.live("default")
    assert snapshot is not None
    assert snapshot.prior == OTHER


def test_a_store_that_disappears_where_it_cannot_be_written_is_noticed(folder: Path) -> None:
    path = go_live(folder / "s.db")
    with read_only(folder):
        store = Store(path, create=False)
    with store:
        path.unlink()
        with pytest.raises(StoreError, match="disappeared"):
            store.live("default")
        with pytest.raises(StoreError, match="disappeared"):
            store.changes()


def test_commits_that_wait_in_the_log_of_a_read_only_store_are_not_passed_over(folder: Path) -> None:
    path = folder / "s.db"
    with Store(folder / "written.db") as store:  # as after a crash: its last commits are in the log
        store.add_prior(PRIOR)
        store.set_state("default", PRIOR.id, "live", frame=Frame(MODEL))
        for end in ("", "-wal"):
            (folder / f"s.db{end}").write_bytes((folder / f"written.db{end}").read_bytes())
    with read_only(folder), pytest.raises(StoreError, match="check the permissions of the file and its folder"):
        Store(path, create=False)
    with Store(path, create=False) as store:
        assert store.live("default") is not None


@pytest.mark.parametrize("file", [True, False], ids=["file and folder", "folder"])
async def test_a_read_only_store_of_an_older_schema_means_no_prior_and_is_said(
    folder: Path, file: bool, model: tuple[ScriptedModel, str], caplog: pytest.LogCaptureFixture
) -> None:
    path = folder / "s.db"
    restore(FROZEN / "0001.sql", path)
    with caplog.at_level(logging.WARNING), read_only(folder, file=file):
        assert are_as_written(await asked_by_client_and_proxy(path, *model))
    expected = f"has schema 1, this version needs {NEWEST}, and it cannot be written; upgrade it with"
    assert [expected in line and "without a prior" in line for line in said(caplog, path)] == [True, True]


# What is no store of ours, or not yet


def a_folder(path: Path) -> None:
    path.mkdir()


def a_text(path: Path) -> None:
    path.write_text("not a database\n" * 99)


def another_application(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.executescript("PRAGMA application_id = 7; CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1);")


def from_the_future(path: Path) -> None:
    later("CREATE TABLE notes (id INTEGER PRIMARY KEY);")(path).close()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (a_folder, "is a folder"),
        (a_text, "is not a database"),
        (another_application, "of another application"),
        (from_the_future, "needs tfgrpo"),
    ],
)
async def test_a_client_and_a_proxy_go_on_without_what_is_no_store_and_leave_it_alone(
    tmp_path: Path, make: Any, words: str, model: tuple[ScriptedModel, str], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "s.db"
    make(path)
    before = state(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert are_as_written(await asked_by_client_and_proxy(path, *model))
    assert [words in line and "without a prior" in line for line in said(caplog, path)] == [True, True]
    assert state(tmp_path) == before


def said(caplog: pytest.LogCaptureFixture, path: Path) -> list[str]:
    """What was logged of this store; clients of earlier tests may still look for theirs, which are gone."""
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("tfgrpo")]
    return [line for line in lines if not line.startswith("store ") or str(path) in line]


def state(folder: Path) -> list[tuple[str, int, bytes]]:
    """Names, times and bytes of all that is in a folder."""
    entries = [(entry.name, entry.stat().st_mtime_ns, entry) for entry in sorted(folder.iterdir())]
    return [(name, time, b"" if entry.is_dir() else entry.read_bytes()) for name, time, entry in entries]


async def test_a_client_and_a_proxy_warn_once_of_another_model_and_say_how_to_validate(
    tmp_path: Path, model: tuple[ScriptedModel, str], caplog: pytest.LogCaptureFixture
) -> None:
    path = go_live(tmp_path / "s.db", OTHER, model="learned-2025-04-14")
    with caplog.at_level(logging.WARNING):
        assert OTHER.experiences[0].text in str(await asked_by_client_and_proxy(path, *model))
    expected = f"may hurt on {MODEL!r}; to re-validate them: tfgrpo eval TASKS --namespace 'default' --model {MODEL!r}"
    assert [expected in line for line in said(caplog, path)] == [True, True]
    caplog.clear()
    go_live(path, PRIOR, model=f"maker/{MODEL}")  # the same model, but maybe not the same tokens
    with caplog.at_level(logging.WARNING):
        await asked_by_client_and_proxy(path, *model)
    assert ["left out" in line and "eval" not in line for line in said(caplog, path)] == [True, True]


# Damage


@pytest.mark.parametrize("seed", range(60))
def test_a_flipped_byte_is_found_or_changed_nothing(tmp_path: Path, seed: int) -> None:
    path, draw = tmp_path / "s.db", random.Random(seed)
    path.write_bytes(populated())
    whole = contents(path)
    content = bytearray(path.read_bytes())
    used = [place for place, byte in enumerate(content) if byte]
    content[draw.choice(used)] ^= 1 << draw.randrange(8)
    path.write_bytes(content)
    try:
        with Store(path, create=False) as store:
            problems = store.verify()
    except StoreError as error:
        assert "\n" not in str(error)
    else:
        assert problems or contents(path) == whole


@pytest.mark.parametrize("seed", range(20))
def test_a_truncated_file_is_found(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(populated())
    os.truncate(path, random.Random(seed).randrange(1, path.stat().st_size))
    try:
        with Store(path, create=False) as store:
            assert store.verify()
    except StoreError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE rollouts SET reward = 0.5",
        "UPDATE calls SET request = 'other'",
        "UPDATE effects SET mean = 0.75",
        "UPDATE token_biases SET z = 9",
        "UPDATE lineage SET frame = replace(frame, 'm', 'n')",
        "UPDATE decisions SET at = '2020'",
        "INSERT INTO decisions (namespace, experience, verdict, why, by, run, step)"
        " SELECT namespace, experience, 'refused', why, 'someone', '', step FROM decisions",
    ],
)
def test_what_another_program_wrote_is_told_from_our_own(tmp_path: Path, change: str) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(populated())
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(change)
    with Store(path) as store:
        assert any("it does not fit its checksum" in problem for problem in store.verify())


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flipped_experience(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(TEXT.encode(), TEXT.swapcase().encode()))


def flipped_page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100] ^= 0xFF  # the kind of the first page
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncated, flipped_experience, flipped_page])
async def test_a_client_and_a_proxy_go_on_without_a_damaged_prior_and_say_so(
    tmp_path: Path, damage: Any, model: tuple[ScriptedModel, str], caplog: pytest.LogCaptureFixture
) -> None:
    path = go_live(tmp_path / "s.db")
    damage(path)
    with caplog.at_level(logging.WARNING):
        assert are_as_written(await asked_by_client_and_proxy(path, *model))
    assert ["it is damaged" in line and "without a prior" in line for line in said(caplog, path)] == [True, True]


async def test_a_damaged_answer_stops_the_run_that_needs_it_and_no_other(tmp_path: Path) -> None:
    path, model = tmp_path / "s.db", simulated()
    with pytest.raises(UpstreamError):
        await run(failing_after(60, Answer("no", status=401)), path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE calls SET response = substr(response, 1, 20) WHERE rowid = 30")
    with pytest.raises(StoreError, match=r"reading the rollout call .* damaged"):
        await run(model, path)
    learned = await run(model, path, fresh=True)
    assert learned.changed
    with Store(path) as store:
        assert [entry.run.status for entry in store.runs()] == ["failed", "finished"]
        assert store.spent(store.runs()[0].run.id).calls >= 60
        assert [problem.partition(":")[0] for problem in store.verify()] == ["calls row 30", "calls row 30"]


async def test_learning_leaves_a_damaged_store_as_it_is(tmp_path: Path) -> None:
    path, model = go_live(tmp_path / "s.db"), simulated()
    flipped_experience(path)
    with Store(path) as store:
        before = store.verify()
        async with upstream(model, store) as calls:
            with pytest.raises(StoreError, match=r"damaged .*`tfgrpo store verify` .*restore a copy"):
                await carry_out(plan(), store, calls, Silent())
        assert model.requests == []
        assert store.verify() == before != ()
