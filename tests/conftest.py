"""Settings of all tests, and what commands are tried in."""

import asyncio.base_events
import gc
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:  # the process that hands out the tests runs none, and those that do wait until it stands
    from tests.postgres import PostgresServer
    from tfgrpo.store import StorePath, StoreUrl
    from tfgrpo.testing import ScriptedModel

# A busy machine must not fail a property: speed is shown by benchmarks, never by tests. Nor must luck: the same
# examples are drawn each time, and twice as many where there is time (`make coverage`).
settings.register_profile(
    "tfgrpo", deadline=None, derandomize=True, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("twice", settings.get_profile("tfgrpo"), max_examples=100)
settings.load_profile("tfgrpo")

# Each commit to a store is synced to the disk, and tests would wait for that most of the time: where there is a disk in
# memory, temporary files go there.
_IN_MEMORY = Path("/dev/shm")
_ROOM = 4 << 30
if "TMPDIR" not in os.environ and _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free > _ROOM:
    os.environ["TMPDIR"] = tempfile.tempdir = str(_IN_MEMORY)

# A shell starts what it runs in the background with Ctrl-C ignored, and what tests start there would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):  # and nohup ignores a hang-up, in what tests start too
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


_LONG = ("cluster", "model", "slow")


_PROCESSORS = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []


def pytest_xdist_auto_num_workers() -> int:
    """Two for each processor: one has it while the other waits (328 s where one each took 346, one run of each)."""
    return 2 * (len(_PROCESSORS) or os.cpu_count() or 1)


def pytest_configure() -> None:
    """Where pytest runs as many processes on each processor, each keeps to one, with all that its tests start.

    Threads that hand work to each other lose a sixth of their time between two processors.
    """
    number = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if number.isdecimal() and _PROCESSORS and not int(os.environ["PYTEST_XDIST_WORKER_COUNT"]) % len(_PROCESSORS):
        # one that takes the place of another, which a test has ended, has a number of its own
        os.sched_setaffinity(0, {_PROCESSORS[int(number) % len(_PROCESSORS)]})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with what takes long come first, so that no process is left alone with it when the others are done."""
    long = {item.path for item in items if any(map(item.get_closest_marker, _LONG))}
    items.sort(key=lambda item: item.path not in long)


def pytest_collectstart() -> None:
    """What is collected stays to the end: nobody need look meanwhile whether it is garbage."""
    gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Nor each time afterwards: it is set aside."""
    gc.collect()
    gc.freeze()
    gc.enable()
    if session.items:
        _hedge_nothing()
        from tests.new_stores import copied

        copied()


def _hedge_nothing() -> None:
    """Tests count calls, and where the machine stands still for a second no call is to be made once more for that:
    those of stalled calls set it themselves."""
    from tfgrpo.model import pace

    pace._SURELY = 3600.0


@pytest.fixture
def every_processor() -> Iterator[None]:
    """What a test starts may run on any."""
    if not _PROCESSORS:
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, _PROCESSORS)
    yield
    os.sched_setaffinity(0, own)


@pytest.fixture
async def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the time in which the machine stands still the event loop of the test sees a fiftieth of a second."""
    now, seen, most = time.monotonic, [time.monotonic()] * 2, 0.02

    def seconds() -> float:
        last, seen[0] = seen[0], now()
        seen[1] += min(seen[0] - last, most)
        return seen[1]

    monkeypatch.setattr(asyncio.base_events, "MAXIMUM_SELECT_TIMEOUT", most)  # it looks at least so often
    monkeypatch.setattr(asyncio.get_running_loop(), "time", seconds)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and no settings from the environment."""
    for name in [name for name in os.environ if name.startswith(("TFGRPO_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model() -> "ScriptedModel":
    """A simulated policy that routes messages."""
    from tests.routing import simulated

    return simulated()


@pytest.fixture
def url(model: "ScriptedModel") -> Iterator[str]:
    """Where the model is served; what is learned and measured in this process goes there without the SDK."""
    from tests.routing import served

    with served(model.app) as base_url:
        yield base_url


@pytest.fixture
def far_url(model: "ScriptedModel") -> Iterator[str]:
    """Where the model is served, and by the SDK alone to be reached."""
    from tfgrpo.testing import serving

    with serving(model.app) as base_url:
        yield base_url


@pytest.fixture(scope="session")
def postgres() -> Iterator["PostgresServer"]:
    """A server for all tests of this process."""
    from tests.postgres import PostgresServer, binaries

    programs = binaries()
    if programs is None:
        pytest.skip("no PostgreSQL on this machine: apt-get install postgresql")
    server = PostgresServer(programs)
    yield server
    server.close()


@pytest.fixture
def database(postgres: "PostgresServer") -> "StoreUrl":
    """A store of PostgreSQL's without rows."""
    return postgres.empty_store()


@pytest.fixture(params=["file", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> "StorePath":
    """Where a store may be: a file that is not there yet, and a database without rows."""
    if request.param == "file":
        return tmp_path / "tfgrpo.db"
    given: StoreUrl = request.getfixturevalue("database")
    return given
