"""What is PostgreSQL's alone: the schema, what is refused, a server that goes away, and the way there and back."""

import asyncio
import logging
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from benchmarks.kill import CONCURRENCY, Backend, Learning, Start, as_a_shell_does, backend, in_databases
from tests.forked import forked
from tests.live import MODEL, OTHER, PRIOR, TEXT, go_live
from tests.postgres import PostgresServer
from tests.store.by_hand import found, tamper
from tests.store.test_migrations import NEWEST, RUN, TASK, check, later, populate
from tests.test_golden import GOLDEN, dump, learned
from tfgrpo import OpenAI
from tfgrpo.errors import StoreError
from tfgrpo.model.library import http
from tfgrpo.records import CallKey, Experience, Frame, Prior, Task, Usage
from tfgrpo.serve.proxy import Proxy, RelayTarget, Shelf
from tfgrpo.store import Store, StorePath, StoreUrl
from tfgrpo.store.database import insert
from tfgrpo.store.migrations import load_migrations
from tfgrpo.store.opened import store_exists
from tfgrpo.store.postgres import connections
from tfgrpo.store.postgres.schema import expected_schema, found_schema
from tfgrpo.testing import ScriptedModel, serving

ADDED = """
CREATE TABLE notes (id INTEGER PRIMARY KEY, run TEXT NOT NULL REFERENCES runs (id), weight REAL, body BLOB);
ALTER TABLE runs ADD COLUMN note TEXT NOT NULL DEFAULT '';
CREATE INDEX notes_of ON notes (run);
"""
VIEWS = (
    "run_list", "experience_list", "rollout_list", "group_list", "variant_list", "validation_list", "pass_list",
    "opening_list",
)  # fmt: skip
_SPLIT = """
SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = to_regnamespace(current_schema())
AND reloptions IS DISTINCT FROM ARRAY['toast_tuple_target=8160']
"""
QUESTION: Any = [{"role": "user", "content": "Which queue?"}]


@pytest.fixture
def bare(postgres: PostgresServer) -> Iterator[StoreUrl]:
    """A database without a store."""
    with postgres.database(f"bare_{time.monotonic_ns()}") as place:
        yield place


def schema(place: StoreUrl) -> frozenset[Any]:
    with psycopg.connect(place.dsn, options="-c search_path=tfgrpo") as conn:
        return found_schema(conn)


# The schema


def test_the_schema_is_that_of_sqlite_new_and_upgraded(bare: StoreUrl, postgres: PostgresServer) -> None:
    with Store(bare) as store:
        populate(store)
    assert schema(bare) == expected_schema(load_migrations())
    with later(ADDED)(bare) as store:
        check(store)
        assert store.info().schema == NEWEST + 1
        upgraded = schema(bare)
        assert upgraded == expected_schema(store._migrations())
    with postgres.database("made_new") as other:
        later(ADDED)(other).close()
        assert schema(other) == upgraded
        for place in (bare, other):
            with psycopg.connect(place.dsn, options="-c search_path=tfgrpo") as conn:
                assert not conn.execute(_SPLIT).fetchall(), "a row stays in one piece"
    with pytest.raises(StoreError, match=r"needs tfgrpo .* or later, this is"):
        Store(bare)


def test_an_upgrade_that_fails_changes_nothing(bare: StoreUrl) -> None:
    with Store(bare) as store:
        populate(store)
    before = schema(bare)
    with pytest.raises(StoreError, match="nowhere"):
        later(f"{ADDED}DROP TABLE nowhere;\n")(bare)
    assert schema(bare) == before
    with Store(bare) as store:
        check(store)


def test_verify_finds_what_a_careless_hand_did(bare: StoreUrl) -> None:
    with Store(bare) as store:
        populate(store)
        for damage, finding in {
            "UPDATE rollouts SET reward = 0.5": "rollouts row 1: damaged, or changed by another program",
            "UPDATE tasks SET input = '\"other\"'": f"task {TASK.id}: its content was changed",
            "UPDATE calls SET response = 'x'": "calls row 1: response cannot be read",
            "DELETE FROM demonstrations": "prior_demonstrations row 1: its row in demonstrations is missing",
            "DROP INDEX inferences_of": "schema: index inferences is not as it was made",
            "ALTER TABLE runs ALTER COLUMN reward DROP NOT NULL": "schema: column runs.reward is not as it was made",
            "DROP VIEW run_list": "schema: view run_list is not as it was made",
        }.items():
            tamper(store, damage)
            assert any(line.startswith(finding) for line in store.verify()), damage


def test_processes_that_make_the_store_at_once_make_one(bare: StoreUrl) -> None:
    threads = [threading.Thread(target=lambda: Store(bare).close()) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Store(bare, create=False) as store:
        assert store.verify() == ()


def test_what_people_look_through_is_the_same_in_both(database: StoreUrl, tmp_path: Path) -> None:
    seen = []
    with Store(database) as store:
        populate(store)
        store.copy_to(tmp_path / "copy.db")
    for place in (database, tmp_path / "copy.db"):
        with Store(place) as store:
            (group,) = store.group_page(RUN.id, step=0)
            looks = (
                store.latest_runs("math"), store.steps_of(RUN.id), store.so_far(RUN.id),
                store.priors_so_far(RUN.id), store.latest_group_times(RUN.id), group, store.group_row(group.id),
                store.rollout_rows([group.id, 99], shown=1), store.one_rollout(group.id, 0), store.step_means(),
                store.status_counts("math", ""), store.latest_added("math"), store.reward_counts("math", ""),
                store.call_counts("math"), store.feedback_since("math"), store.spent_by_stage(RUN.id), store.trials(),
                store.runs(), store.lineage("math"), store.openings("math"), store.learned_from("math"),
            )  # fmt: skip
            views = [found(store, f"SELECT * FROM {view}") for view in VIEWS]
            seen.append((looks, views))
    assert seen[0] == seen[1]


# The way there and back


async def test_a_run_leaves_the_same_rows_in_both_and_a_copy_loses_nothing(
    tmp_path: Path, database: StoreUrl, bare: StoreUrl
) -> None:
    await learned(database)
    with Store(database) as store:
        odd = Experience("zero \0, one \1, two \2, \1\3 and \N{GRINNING FACE}")
        sums = store.copy_to(tmp_path / "copy.db")
        assert store.verify() == ()
    assert dump(tmp_path / "copy.db") == (GOLDEN / "store.txt").read_text(encoding="utf-8")
    with Store(tmp_path / "copy.db") as copy:
        copy.add_experiences("default", [odd])
        assert copy.verify() == ()
        assert copy.copy_to(bare) == {**sums, **{name: sums[name] + 1 for name in ("experiences", "origins")}}
        with pytest.raises(StoreError, match=r"holds .* already; name a new one"):
            copy.copy_to(bare)
    with Store(bare) as back:
        assert back.verify() == ()
        assert odd in [status.experience for status in back.experiences("default")]
        assert back.backup(tmp_path / "again.db") > 0
        back.add_tasks([Task("numbered after those that were copied")])
    assert every_row(tmp_path / "again.db") == every_row(tmp_path / "copy.db")


def every_row(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return list(db.iterdump())


def test_a_damaged_store_is_not_copied(tmp_path: Path, database: StoreUrl) -> None:
    with Store(database) as store:
        populate(store)
        tamper(store, "UPDATE rollouts SET reward = 0.5")
        with pytest.raises(StoreError, match="rollouts row 1 is damaged; `tfgrpo store verify`"):
            store.copy_to(tmp_path / "copy.db")
    assert list(tmp_path.iterdir()) == []


# What is refused


def test_what_cannot_be_opened_is_one_clear_line_without_the_password(
    bare: StoreUrl, postgres: PostgresServer, tmp_path: Path
) -> None:
    postgres.do("CREATE ROLE reader LOGIN")
    here = postgres.folder
    cases = {
        bare.dsn: r"no store at .*`tfgrpo learn` makes one",
        f"postgresql://locked:geheim@/postgres?host={here}": r"opening it: password authentication failed .*check the",
        f"postgresql://tfgrpo:geheim@/nowhere?host={here}": r'opening it: database "nowhere" does not exist; check',
        f"postgresql://tfgrpo:geheim@/postgres?host={tmp_path}": r"opening it: No such file or directory; check the",
        "postgresql://tfgrpo:geheim@127.0.0.1:1/x": r"opening it: Connection refused; check the URL and the server",
        "postgresql://tfgrpo:gehe%im@/x": r"is no URL that PostgreSQL understands",
        "postgresql://tfgrpo:geheim@/x?nothing=1": r"is no URL that PostgreSQL understands",
        "POSTGRES://tfgrpo:geheim@127.0.0.1:1/x": r"^store postgresql://tfgrpo@127.0.0.1:1/x, opening it: Connection",
        "postgresql://tfgrpo:gehe@im/gehe@127.0.0.1:1/x": r"^store postgresql:/\.\.\. is no path .* as %40 %2F",
        "postgresql://tfgrpo:1/gehe@127.0.0.1:1/x": r"^store postgresql:/\.\.\. is no path and no URL that tfgrpo",
        "postgresql://tfgrpo:1?gehe@127.0.0.1:1/x": r"^store postgresql:/\.\.\. is no path and no URL that tfgrpo",
        "postgresql:/tfgrpo:geheim@127.0.0.1/x": r"^store postgresql:/\.\.\. is no path and no URL that tfgrpo",
        "postgresql//tfgrpo:geheim@127.0.0.1/x": r"^store \.\.\. is no path and no URL that tfgrpo understands",
        "postgresql+psycopg://tfgrpo:geheim@127.0.0.1/x": r"^store postgresql\+psycopg:/\.\.\. is no path and no URL",
        "mysql://tfgrpo:geheim@127.0.0.1/x": r"^store mysql:/\.\.\. is no path and no URL that tfgrpo understands",
        "host=127.0.0.1 user=tfgrpo password=geheim": r"^store \.\.\. is no path and no URL that tfgrpo understands",
    }
    for dsn, words in cases.items():
        with pytest.raises(StoreError, match=words) as raised:
            Store(dsn, create=False)
        assert "\n" not in str(raised.value)
        assert "gehe" not in str(raised.value) + repr(StoreUrl(dsn)) + str(StoreUrl(dsn))
    with pytest.raises(StoreError, match="its user may not do that; GRANT"):
        Store(StoreUrl(bare.dsn.replace("tfgrpo:", "reader:")))


def test_a_dry_run_makes_no_store(bare: StoreUrl, database: StoreUrl) -> None:
    assert (store_exists(bare.dsn), store_exists(database)) == (False, True)
    with psycopg.connect(bare.dsn) as conn:
        assert conn.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'tfgrpo'").fetchone() == (0,)


def test_without_the_driver_the_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['psycopg'] = None\nfrom tfgrpo.store import Store\nStore('postgresql://a:geheim@b/c')"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    last = ran.stderr.splitlines()[-1]
    assert "store postgresql://a@b/c needs the extra postgres: " in last
    assert "geheim" not in ran.stderr.replace(program, "")


def test_texts_of_a_class_of_their_own_are_texts_and_bytes_are_none(database: StoreUrl) -> None:
    class Marked(str):
        """As libraries have them for what is safe, or was parsed."""

    with Store(database) as store:
        for count in (1, 5):  # by INSERT, by COPY
            store.add_experiences("default", [Experience(Marked(f"{n} of {count}")) for n in range(count)])
            store.add_experiences("default", [Experience(f"{count}"), Experience(Marked(f"beside {count}"))])
            for row in ({"found": b"{}"}, {"found": "{}", "upstream": b"u"}):
                wrong: Any = [{"upstream": "u", "model": "m", **row}] * count
                with pytest.raises(TypeError):
                    store._write("remembering", partial(insert, table="probes", rows=wrong))
        assert store.verify() == ()
        assert (len(store.experiences("default")), store.probes()) == (10, {})


def test_processes_that_number_the_same_wait_for_each_other(database: StoreUrl) -> None:
    with Store(database) as store:
        store.add_tasks([TASK])
    attempts: list[int] = []

    def begin() -> None:
        with Store(database) as store:
            attempts.extend(store.begin(RUN, fresh=True)[0].attempt for _ in range(5))

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(attempts) == list(range(20))


def test_a_store_that_was_closed_stays_so(database: StoreUrl) -> None:
    store = Store(database)
    store.close()
    store.close()
    for use in (store.namespaces, store.changes, lambda: store.add_tasks([TASK])):
        with pytest.raises(StoreError, match="is closed"):
            use()


def test_one_learner_at_a_time_in_a_namespace(database: StoreUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfgrpo.store.postgres.server._CLAIM_SECONDS", 0.0)
    with Store(database) as one, Store(database) as other, one.only_learner("math"):
        with other.only_learner("chess"):
            pass
        with pytest.raises(StoreError, match="another process learns in namespace math"), other.only_learner("math"):
            pass
    monkeypatch.undo()  # the server needs a moment to see that a connection has ended
    with Store(database) as other, other.only_learner("math"):
        pass


# A server that goes away


def record(store: Store, done: list[int], until: threading.Event) -> None:
    """Record calls, one after the other."""

    async def calls() -> None:
        while not until.is_set():
            await store.record(CallKey(RUN.id, "rollout", sample=len(done)), "hash", "{}", Usage(1))
            done.append(len(done))

    asyncio.run(calls())


def test_a_server_that_comes_back_finds_all_that_was_committed_and_the_rest_goes_on(
    database: StoreUrl, postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[int] = []
    until = threading.Event()
    with Store(database) as store:
        store.add_tasks([TASK])
        store.begin(RUN)
        thread = threading.Thread(target=record, args=(store, done, until))
        thread.start()
        for how in (signal.SIGQUIT, signal.SIGINT):
            _until(more(done, 20))
            postgres.kill(how)
            postgres.start()
        _until(more(done, 20))
        until.set()
        thread.join()
        assert found(store, "SELECT count(*), max(sample) FROM calls") == [(len(done), len(done) - 1)]
        assert store.verify() == ()
    assert any("waiting for it, at most 60 s" in line for line in caplog.messages)
    assert any("it is back after" in line for line in caplog.messages)


def more(done: list[int], count: int) -> Callable[[], bool]:
    before = len(done)
    return lambda: len(done) > before + count


def _until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_server_that_stays_away_ends_the_run_in_one_line_with_all_that_was_committed(
    database: StoreUrl, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "WAIT_SECONDS", 0.3)
    with Store(database) as store:
        store.add_tasks([TASK])
        postgres.kill()
        try:
            with pytest.raises(StoreError, match=r"adding tasks: .*check the URL and the server, then start the same"):
                store.add_tasks([Task("lost")])
            with pytest.raises(StoreError, match="reading tasks: "):
                store.tasks([TASK.id])
        finally:
            postgres.start()
        assert store.tasks([TASK.id]) == (TASK,)


async def test_a_client_and_a_proxy_serve_from_it_follow_it_and_outlast_it(
    database: StoreUrl, postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    go_live(database)
    model = ScriptedModel(lambda body: "BILL")
    with serving(model.app) as url, caplog.at_level(logging.WARNING):
        shelf = Shelf(database)
        async with Proxy(RelayTarget.parse(url), shelf) as proxy:
            with OpenAI(store=database.dsn, base_url=url, api_key="sk-caller") as client:
                for gone in (False, True):
                    if gone:
                        postgres.kill()
                        shelf.refresh()
                        client.tfgrpo.source.refresh()
                    await asyncio.to_thread(client.chat.completions.create, model=MODEL, messages=QUESTION)
                    async with http.AsyncClient(transport=http.ASGITransport(proxy), base_url="http://p") as direct:
                        body = {"model": MODEL, "messages": QUESTION}
                        assert (await direct.post("/v1/chat/completions", json=body)).status_code == 200
                postgres.start()
    assert [TEXT in str(body["messages"]) for body in model.requests] == [True] * 4
    assert all("geheim" not in line for line in caplog.messages)


def test_who_listens_hears_of_a_new_prior_before_the_next_look_and_goes_on_where_nothing_is_heard(
    database: StoreUrl,
) -> None:
    go_live(database)
    with Store(database, create=False) as store:
        began = time.monotonic()
        assert store.listen(0.05)  # nothing was said
        assert time.monotonic() - began >= 0.05
        speaking = threading.Timer(0.05, go_live, (database, OTHER))
        speaking.start()
        began = time.monotonic()
        assert store.listen(120.0)
        assert time.monotonic() - began < 120
        speaking.join()
        with psycopg.connect(database.dsn, autocommit=True) as conn:
            ours = "query LIKE 'LISTEN%' AND datname = current_database()"
            conn.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}".encode())
        assert not store.listen(5.0)
        live = store.live("default")
        assert live and live.prior == OTHER


def test_a_new_live_prior_is_announced(database: StoreUrl) -> None:
    go_live(database)
    with psycopg.connect(database.dsn, autocommit=True) as conn, Store(database) as store:
        conn.execute("LISTEN tfgrpo")
        other = Prior((Experience("When told, listen."),))
        store.add_prior(other)
        store.set_state("default", other.id, "live", frame=Frame(MODEL))
        heard = next(iter(conn.notifies(timeout=60, stop_after=1)))
        assert heard.payload == "default"
        live = store.live("default")
        assert live is not None
        assert live.prior == other != PRIOR


# Kills


def short_learning(folder: Path, model: Backend, url: str, store: StorePath, start: Start) -> Learning:
    """Of one step."""
    folder.mkdir()
    learning = Learning(folder, model, url, store, start)
    learning.command += ["--steps", "1", "--group-size", "4"]
    return learning


@pytest.mark.slow
def test_a_learning_that_is_killed_and_then_loses_its_server_ends_as_one_at_a_file_that_nothing_befell(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """Three processes, one of which waits for the server to come back; the two at it are forked."""
    with backend(0) as (model, url):
        result = short_learning(tmp_path / "whole", model, url, tmp_path / "whole.db", as_a_shell_does).finish()
        whole = set(model.arrived)
    with backend(7) as (model, url), in_databases(postgres.url("postgres"))(tmp_path) as store:
        learning = short_learning(tmp_path / "killed", model, url, store, forked)
        with learning.process():
            _until(lambda: len(model.arrived) > 0.3 * len(whole))
        committed, sent = learning.committed(), len(model.arrived)
        assert committed
        with learning.process() as process:
            _until(lambda: len(model.arrived) > 0.7 * len(whole))
            postgres.kill()
            postgres.start()
            process.wait()
        assert not committed & set(model.arrived[sent:]), "a committed call was made again"
        assert len(model.arrived) <= len(whole) + CONCURRENCY
        assert (process.returncode, learning.result()) == (0, {**result, "resumed": True})
