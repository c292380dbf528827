"""The live prior in memory: how it follows the store, and what no store can break."""

import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.live import MODEL, OTHER, PRIOR, file_of, go_live
from tests.serve.fronts import PATIENCE
from tests.store.by_hand import file_engine
from tfgrpo.records import Demonstration, Frame, Prior, Snapshot
from tfgrpo.serve.access import Access
from tfgrpo.serve.source import PriorSource, prior_source
from tfgrpo.store import Store
from tfgrpo.surfaces import nearest
from tfgrpo.surfaces.chat import with_prior


def until(happens: Callable[[], bool]) -> None:
    """Wait for what must happen, but not for ever."""
    ends = time.monotonic() + PATIENCE
    while not happens() and time.monotonic() < ends:
        time.sleep(0.01)
    assert happens()


def test_a_new_live_prior_is_in_force_within_a_second_and_no_call_looks_for_it(tmp_path: Path) -> None:
    source = PriorSource(go_live(tmp_path / "s.db"), "default")
    assert source.snapshot is None
    assert source.prior == PRIOR
    looks, look = [], source.place.look
    source.place.look = lambda known: looks.append(threading.current_thread().name) or look(known)  # pyrefly: ignore[method-assign]
    go_live(source.path, OTHER)
    until(lambda: source.prior == OTHER)
    assert source.place.seconds <= 0.5
    assert set(looks) == {"tfgrpo-prior"}
    assert source.snapshot == Snapshot("default", OTHER, "live", Frame(model=MODEL))


def test_clients_that_read_equal_priors_hold_the_same_one(tmp_path: Path) -> None:
    paths = [go_live(tmp_path / name) for name in ("a.db", "b.db")]
    first, second = (PriorSource(path, "default").prior for path in paths)
    assert first is second, "caches find it without a look at what is in it"


def test_one_thread_follows_all_namespaces_of_a_client(tmp_path: Path) -> None:
    path = go_live(go_live(tmp_path / "s.db"), OTHER, namespace="math")
    before = set(threading.enumerate())
    access = Access(PriorSource(path, "default"))
    others = [access.of(name) for name in ("math", "nowhere")]
    assert [source.prior for source in (access.source, *others)] == [PRIOR, OTHER, None]
    (thread,) = set(threading.enumerate()) - before
    go_live(path, PRIOR, namespace="math")
    go_live(path, OTHER)
    until(lambda: (access.source.prior, others[0].prior) == (OTHER, PRIOR))
    others[0].close()
    assert thread.is_alive()
    assert others[0].prior == PRIOR, "one that was closed looks anew"
    access.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_nothing_keeps_looking_for_a_source_that_nobody_has_any_more(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    source = PriorSource(go_live(tmp_path / "s.db"), "default")
    assert source.prior == PRIOR
    (thread,) = set(threading.enumerate()) - before
    del source
    gc.collect()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_pool_is_made_ready_once_for_a_prior_and_before_a_request_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, pool_of = [], nearest.pool_of

    def counted(texts: Sequence[str], answers: Sequence[str]) -> nearest.Pool:
        made.append(len(texts))
        return pool_of(texts, answers)

    monkeypatch.setattr(nearest, "pool_of", counted)
    prior = Prior(demonstrations=(Demonstration("청구서?", "BILL"), Demonstration("a", "b")), nearest=1)
    source = PriorSource(go_live(tmp_path / "s.db", prior), "default")
    snapshot = source.current()
    assert made == [2]
    with Store(source.path) as store:
        store.add_prior(OTHER)  # a change, but not of what is live
    source.refresh()
    again = source.current()
    assert snapshot is not None
    assert again is not None
    assert again.prior is snapshot.prior
    assert "BILL" in str(with_prior({"messages": [{"role": "user", "content": "청구서"}]}, again.prior))
    assert made == [2]


async def test_an_event_loop_gets_the_same(tmp_path: Path) -> None:
    source = PriorSource(go_live(tmp_path / "s.db"), "default")
    for _ in range(2):
        snapshot = await source.current_async()
        assert snapshot is not None
        assert snapshot.prior == PRIOR


def test_threads_that_come_first_all_get_the_prior(tmp_path: Path) -> None:
    source = PriorSource(go_live(tmp_path / "s.db"), "default")
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: source.prior, range(32))) == {PRIOR}


def test_a_source_that_was_closed_opens_again(tmp_path: Path) -> None:
    source = PriorSource(go_live(tmp_path / "s.db"), "default")
    source.refresh()
    source.close()
    go_live(source.path, OTHER)
    source.refresh()
    assert source.snapshot is not None
    assert source.snapshot.prior == OTHER


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_opens_the_store_anew_and_follows_it(tmp_path: Path) -> None:
    source = PriorSource(go_live(tmp_path / "s.db"), "default")
    assert source.prior == PRIOR
    with ThreadPoolExecutor(1) as pool:
        pool.submit(source._lock.acquire).result()  # a thread that is not there in the child
        child = os.fork()
        if not child:
            first = source.prior
            go_live(source.path, OTHER)
            try:
                until(lambda: source.prior == OTHER)
            finally:
                os._exit(0 if (first, source.prior) == (PRIOR, OTHER) else 1)
        source._lock.release()
    assert os.waitpid(child, 0)[1] == 0
    assert source.prior is not None


def test_a_prior_that_is_rolled_back_is_given_no_more(tmp_path: Path) -> None:
    source = PriorSource(go_live(tmp_path / "s.db"), "default")
    assert source.prior == PRIOR
    with Store(source.path) as store:
        store.set_state("default", PRIOR.id, "rolled back", frame=Frame(model=MODEL), by="anna")
    source.refresh()
    assert source.snapshot is None


def test_namespaces_are_apart(tmp_path: Path) -> None:
    go_live(tmp_path / "s.db", OTHER, namespace="math")
    assert PriorSource(go_live(tmp_path / "s.db"), "math").prior == OTHER


def _missing(path: Path) -> None:
    pass


def _folder(path: Path) -> None:
    path.mkdir()


def _text(path: Path) -> None:
    path.write_text("no database")


def _cut_off(path: Path) -> None:
    go_live(path)
    path.write_bytes(path.read_bytes()[:4096])


def _from_the_future(path: Path) -> None:
    with Store(path) as store:
        db = file_engine(store)._db
        db.execute("INSERT INTO migrations (number, name, tfgrpo) VALUES (9999, 'later', '99.0')")
        db.commit()


def _empty(path: Path) -> None:
    Store(path).close()


UNUSABLE = [_missing, _folder, _text, _cut_off, _from_the_future, _empty]


@pytest.mark.parametrize("make", UNUSABLE)
def test_a_store_that_gives_nothing_means_no_prior_and_is_said_once(
    make: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path / "s.db")
    source = PriorSource(tmp_path / "s.db", "default")
    for _ in range(3):
        source.refresh()
        assert source.prior is None
    (record,) = [record for record in caplog.records if str(tmp_path) in record.getMessage()]
    assert (record.name, record.levelno) == ("tfgrpo", logging.WARNING)


def test_a_store_that_appears_disappears_and_comes_back_is_followed(tmp_path: Path) -> None:
    source = PriorSource(tmp_path / "s.db", "default")
    states = []
    for step in (None, lambda: go_live(source.path), file_of(source).unlink, lambda: go_live(source.path, OTHER)):
        if step:
            step()
        source.refresh()
        states.append(source.snapshot and source.snapshot.prior)
    assert states == [None, PRIOR, None, OTHER]


def test_a_store_that_was_replaced_is_opened_anew(tmp_path: Path) -> None:
    source = PriorSource(go_live(tmp_path / "s.db"), "default")
    source.refresh()
    go_live(tmp_path / "new.db", OTHER).rename(file_of(source))
    source.refresh()
    source.refresh()
    assert source.prior == OTHER


def test_strangers_cannot_fill_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = PriorSource(tmp_path / "s.db", "default")
    for number in range(1_000):
        source.say(f"model {number}")
        source.say(f"model {number}")
    assert len([message for message in caplog.messages if message.startswith("model ")]) == 100


def test_arguments_come_before_the_environment_and_that_before_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TFGRPO_STORE", "TFGRPO_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    source = prior_source()
    assert (source.path, source.namespace) == (Path.cwd() / "tfgrpo.db", "default")
    monkeypatch.setenv("TFGRPO_STORE", str(tmp_path / "e.db"))
    monkeypatch.setenv("TFGRPO_NAMESPACE", "math")
    source = prior_source()
    assert (source.path, source.namespace) == (tmp_path / "e.db", "math")
    source = prior_source(tmp_path / "a.db", "bot")
    assert (source.path, source.namespace) == (tmp_path / "a.db", "bot")


def test_what_is_named_by_a_relative_path_stays_that_when_the_program_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_live(tmp_path / "s.db")
    other = tmp_path / "other"
    other.mkdir()
    go_live(other / "s.db", OTHER)
    monkeypatch.chdir(tmp_path)
    source = prior_source("s.db")
    monkeypatch.chdir(other)
    assert source.prior == PRIOR
    assert source.beside("default").prior == PRIOR
