"""The Ray cluster that work is sent to: connected to once in a process, and what is told where that fails."""

import asyncio
import logging
import os
import re
import signal
import sys
import sysconfig
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from ...errors import InputError, UpstreamError
from ...extras import install_hint
from ...model.secrets_held import HELD
from ...text import shortened
from ..agents.agent import WorkerLost
from .worker import Mailbox

CLIENT = "ray://"
"""What the address of a cluster begins with that is reached through its client server."""
_SHORTEST_SECRET = 8
_MOST_WAITING = 10_000
"""Requests that wait in a mailbox."""
_LAST_SECONDS = 4.0
"""For a cancelled task to end."""
_VERSIONS = re.compile(r"Ray: (\S+)\s+Python: (\S+).*Ray: (\S+)\s+Python: (\S+)", re.DOTALL)


def check_executor(named: str) -> str | None:
    """The address that `--executor` names, None: Ray's own choice; InputError for what it cannot be."""
    if named != "ray" and not (named.startswith(CLIENT) and len(named) > len(CLIENT)):
        raise InputError(f"--executor {shortened(named)}: asyncio, ray, or the address of a cluster: ray://HOST:10001")
    if find_spec("ray") is None:
        raise InputError(f"--executor {named} needs Ray, of the extra `ray`: {install_hint('ray')}")
    return None if named == "ray" else named


_logger = logging.getLogger("tfgrpo")


class RayCluster:
    """A cluster that is connected to."""

    def __init__(self) -> None:
        self._remote: dict[Callable[..., Any], Any] = {}

    async def run(self, function: Callable[..., Any], *given: object) -> Any:
        """What a function of `worker` gives on some worker; one that is cancelled is cancelled there too.

        Raises WorkerLost where the worker is gone, UpstreamError where the cluster is.
        """
        import ray

        try:
            task = self._remote.get(function) or self._remote.setdefault(function, ray.remote(function))
            # which node is full matters less than that all of them have something to do
            ref = task.options(num_cpus=1, max_retries=0, scheduling_strategy="SPREAD").remote(*given)
        except Exception as error:
            raise UpstreamError(f"the Ray cluster takes no more tasks: {_reason(error)}") from error
        try:
            return await landed(ref)
        except asyncio.CancelledError:
            ray.cancel(ref)
            await asyncio.wait((asyncio.ensure_future(_ended(ref)),), timeout=_LAST_SECONDS)
            raise
        except Exception as error:
            raise await self._failure(error) from error

    async def _failure(self, error: Exception) -> Exception:
        """What it means that a task ended so."""
        from ray import exceptions

        cause = getattr(error, "cause", None) or error
        if not isinstance(cause, exceptions.RayError | ConnectionError):
            return UpstreamError(f"a Ray worker cannot do its part: {type(cause).__name__}: {_reason(cause)}")
        if isinstance(cause, exceptions.RuntimeEnvSetupError):
            return UpstreamError(f"the Ray workers cannot be set up: {_reason(cause)}")
        if isinstance(cause, exceptions.RaySystemError) and "Error" in str(cause):
            return UpstreamError(f"the Ray workers cannot load what they are sent: {_last_line(cause)}")
        try:
            await asyncio.to_thread(_alive)
        except Exception as gone:
            return UpstreamError(f"the Ray cluster is gone: {_reason(gone)}; the same command goes on where it was")
        return WorkerLost(f"its Ray worker was lost ({type(cause).__name__})")

    def mailbox(self) -> Any:
        """The handle of a new mailbox, on the learner's node where it has one; it ends with the connection."""
        import ray

        where: dict[str, Any] = {}
        if not _by_client():
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            here = ray.get_runtime_context().get_node_id()
            where = {"scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=True)}
        made = ray.remote(Mailbox).options(num_cpus=0, max_concurrency=_MOST_WAITING, max_restarts=-1, **where)
        return made.remote()

    def end(self, mailbox: Any) -> None:
        """Let go of a mailbox."""
        import ray

        with suppress(Exception):  # it may be gone already, and the cluster with it
            ray.kill(mailbox)


async def landed(ref: Any) -> Any:
    """What comes of a task; who waits no longer cancels nothing of Ray's, whose client takes that for a fault."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[Any] = loop.create_future()

    def settle(done: "Future[Any]") -> None:
        if found.done():
            return
        if error := done.exception():
            found.set_exception(error)
        else:
            found.set_result(done.result())

    def told(done: "Future[Any]") -> None:
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, done)

    ref.future().add_done_callback(told)
    return await found


async def _ended(ref: Any) -> None:
    with suppress(Exception):
        await landed(ref)


def _alive() -> None:
    """Raises where the cluster does not answer."""
    import ray

    if not any(node["Alive"] for node in ray.nodes()):
        raise ConnectionError("none of its nodes lives")


def _by_client() -> bool:
    from ray.util.client import ray

    return bool(ray.is_connected())


class RayWorkers:
    """The workers of a run: where they are, and which modules of the user's they need."""

    def __init__(self, address: str | None, ships: Sequence[str] = ()) -> None:
        """An address of None is that of RAY_ADDRESS, else of a cluster that is started here."""
        self._address, self._ships = address, ships

    @cached_property
    def cluster(self) -> RayCluster:
        """The cluster, connected to; raises InputError for one that cannot be used.

        A process has one connection: where the user has made one it is taken as it is.
        """
        import ray

        if not ray.is_initialized():
            self._connect()
        _check_workers()
        return RayCluster()

    def _connect(self) -> None:
        import ray

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        elsewhere = self._address or os.environ.get("RAY_ADDRESS")
        environment: dict[str, Any] = {"env_vars": _without_secrets(os.environ)}
        more: dict[str, Any] = {}
        if elsewhere:
            environment["py_modules"] = [*_shipped(self._ships)]
        else:
            more["include_dashboard"] = False
        try:
            with _own_sigterm(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what fails is told below, in one line
                ray.init(
                    self._address, log_to_driver=False, logging_level=logging.ERROR, runtime_env=environment, **more
                )
        except Exception as error:
            raise InputError(f"--executor {self._address or 'ray'}: {told_of(error)}") from error
        _keep_off_stdout()


def _keep_off_stdout() -> None:
    """What nodes say of their end Ray prints to stdout, and offers no way not to; here it is a line of our log."""
    from ray._private import worker

    def say(data: Mapping[str, Any], *_: object, **__: object) -> None:
        for line in data.get("lines", ()):
            _logger.warning("Ray: %s", shortened(line, 200))

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = say


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Ray takes SIGTERM for itself; here it stays with the command, for which it is Ctrl-C."""
    mine = signal.getsignal(signal.SIGTERM) if threading.current_thread() is threading.main_thread() else None
    try:
        yield
    finally:
        if mine is not None:
            signal.signal(signal.SIGTERM, mine)


def _check_workers() -> None:
    """Raise InputError where the workers do not have this version of tfgrpo."""
    import ray

    from ... import __version__

    def version() -> str:  # within a function it travels as code: it need not be there
        from importlib import import_module

        return str(import_module("tfgrpo").__version__)

    try:
        found = ray.get(ray.remote(version).options(num_cpus=0).remote(), timeout=60)
    except Exception as error:
        wanted = f"they need tfgrpo {__version__}, and the extras that are used"
        raise InputError(f"the Ray workers cannot be used: {told_of(error)}; {wanted}") from error
    if found != __version__:
        raise InputError(f"the Ray workers have tfgrpo {found}, and this is {__version__}: install the same there")


def told_of(error: Exception) -> str:
    """Why a cluster cannot be used, in one line."""
    if found := _VERSIONS.search(str(error)):
        theirs, their_python, ours, our_python = found.groups()
        return (
            f"the cluster runs Ray {theirs} on Python {their_python}, and this is Ray {ours} on Python {our_python};"
            " run tfgrpo with the same versions"
        )
    return _last_line(error) if "Traceback" in str(error) else _reason(error)


def _reason(error: BaseException) -> str:
    return shortened(str(error).strip() or type(error).__name__, 300)


def _last_line(error: BaseException) -> str:
    """What stands at the end of a traceback."""
    return shortened(str(error).strip().splitlines()[-1], 300)


def _without_secrets(given: Mapping[str, str]) -> Mapping[str, str]:
    """Variables that hold a key of the run's, emptied: agents on the workers need none."""
    keys = [key for key in HELD if len(key) >= _SHORTEST_SECRET]
    return {name: "" for name, held in given.items() if any(key in held for key in keys)}


def _shipped(modules: Sequence[str]) -> Iterator[str]:
    """The files or folders of modules of the user's, which no worker could have: what is installed is left out."""
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")}
    for name in dict.fromkeys(module.partition(".")[0] for module in modules):
        place = _place(sys.modules.get(name))
        if place and not any(place.is_relative_to(folder) for folder in installed):
            yield str(place)


def _place(module: ModuleType | None) -> Path | None:
    if module is None or module.__name__ in ("__main__", "tfgrpo") or not getattr(module, "__file__", None):
        return None
    place = Path(str(module.__file__)).resolve()
    return place.parent if place.name == "__init__.py" else place
