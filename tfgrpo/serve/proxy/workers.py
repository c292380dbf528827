"""Several workers on one port: each is a process with a socket of its own, and the system deals connections to them.

A worker gets what it needs through its standard input, since arguments and environments are for everybody to see; when
that ends its parent is gone, and it stops. One that dies is replaced.
"""

import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from tempfile import TemporaryDirectory

from ...errors import InputError
from ..logs import configure_logs
from .metrics import FOLDER_VARIABLE
from .serving import Serving
from .worker import run_worker

_PROGRAM = "from tfgrpo.serve.proxy.workers import work; work()"
_READY = b"ready\n"
_POLL_SECONDS = 0.2
_LAST_SECONDS = 5.0
"""After the grace, until workers that are still there are killed."""
_MOST_DEATHS = 5
"""Workers that may die within a minute: more of them are not replaced, and the server stops."""

_logger = logging.getLogger("tfgrpo")


class Workers:
    """The workers of a server."""

    def __init__(self, serving: Serving, bound: socket.socket) -> None:
        """`bound` keeps the port, and never listens."""
        self._serving = serving
        self._port = bound.getsockname()[1]
        self._running: list[subprocess.Popen[bytes]] = []
        self._deaths: list[float] = []
        self._signals = 0
        self._told: set[int] = set()

    def run(self, ready: Callable[[], None]) -> None:
        """Serve until a signal; raises InputError when a worker cannot start."""
        configure_logs(self._serving.listening.log_format, requests=False)
        before = {sig: signal.signal(sig, self._heed) for sig in (signal.SIGTERM, signal.SIGINT)}
        with TemporaryDirectory(prefix="tfgrpo-") as folder:
            self._environment = {**os.environ, FOLDER_VARIABLE: folder}
            try:
                self._running = [self._start() for _ in range(self._serving.listening.workers)]
                if not all(worker.stdout and worker.stdout.readline() == _READY for worker in self._running):
                    if not self._signals:
                        raise InputError("a worker could not start; what it said stands above")
                else:
                    ready()
                self._watch(folder)
            finally:
                self._stop()
                for sig, handler in before.items():
                    signal.signal(sig, handler)

    def _heed(self, sig: int, _: object) -> None:
        self._signals += 1
        for worker in self._running:
            self._end(worker)

    def _end(self, worker: subprocess.Popen[bytes]) -> None:
        """Ask it to end; asked a second time it does so at once."""
        self._told.add(worker.pid)
        if worker.poll() is None:
            worker.terminate()

    def _start(self) -> subprocess.Popen[bytes]:
        worker = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,  # Ctrl-C is for the parent, who tells its workers
        )
        assert worker.stdin is not None
        pickle.dump((self._serving, self._port), worker.stdin)
        worker.stdin.flush()
        return worker

    def _watch(self, folder: str) -> None:
        """Replace workers that die, until a signal comes."""
        while not self._signals:
            time.sleep(_POLL_SECONDS)
            for place, worker in enumerate(self._running):
                if not self._signals and worker.poll() is not None:
                    _forget(worker.pid, folder)
                    self._deaths = [at for at in self._deaths if at > time.monotonic() - 60] + [time.monotonic()]
                    _logger.error("worker %d died with status %s", worker.pid, worker.returncode)
                    if len(self._deaths) > _MOST_DEATHS:
                        raise InputError(f"{len(self._deaths)} workers died within a minute; what they said is above")
                    _close(worker)
                    self._running[place] = self._start()

    def _stop(self) -> None:
        """Let the workers end, and kill those that do not."""
        until = time.monotonic() + self._serving.listening.grace + _LAST_SECONDS
        for worker in self._running:
            if worker.pid not in self._told:  # one may have been started while the signal came
                self._end(worker)
        while any(worker.poll() is None for worker in self._running) and time.monotonic() < until:
            time.sleep(_POLL_SECONDS / 4)
        for worker in self._running:
            if worker.poll() is None:
                worker.kill()
            worker.wait()
            _close(worker)


def _close(worker: subprocess.Popen[bytes]) -> None:
    for pipe in (worker.stdin, worker.stdout):
        if pipe:
            pipe.close()


def _forget(pid: int, folder: str) -> None:
    """What a dead worker had in flight is nobody's any more."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid, folder)


def work() -> None:
    """Be a worker: the parent says what of, and stays."""
    serving, port = pickle.load(sys.stdin.buffer)

    def until_alone() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)

    def ready() -> None:
        threading.Thread(target=until_alone, daemon=True).start()
        sys.stdout.buffer.write(_READY)
        sys.stdout.buffer.flush()

    with serving.listening.bound(port) as bound:
        run_worker(serving, bound, ready)
