"""The embedded model as an upstream: started, waited for, and stopped.

llama.cpp runs in a child process, not in ours. In ours its destructor was seen to hang, leaving with a call in flight
ended in a segmentation fault, and its errors cannot be read. The child is killed on exit, which costs nothing since it
keeps nothing, and it ends by itself when we are killed.

Under one seed answers mostly repeat, but need not: several slots share one cache, and where a prompt lies in it can
move its logits by a quarter. With one slot what is said of a prompt was seen to repeat to the last bit.
"""

import http.client
import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TextIO
from urllib.parse import urlsplit

from ...errors import LocalModelError
from ...extras import install_hint
from .model import Say, model_path, served_name, to_stderr

CHILD = Path(__file__).with_name("child.py")
HOST = "127.0.0.1"
ONE_AFTER_THE_OTHER = 1
"""Slots for runs: what they ask in a row begins alike (an arm of a race, with hundreds of tokens), and each slot would
have to read that beginning for itself. On 2 cores (n = 2 each), 48 calls under eight sets of examples took 77 and 81 s
with one slot, 102 and 114 s with four; 30 short calls without examples 8.5 s with one and 4.3 s with four."""
SLOTS = 4
"""Calls decoded together where they have little in common. More slots read a group's prompt more often: on 2 cores,
short chat calls cost 0.15 s of processor with 2 or 4 slots, 0.22 s with 8, 0.39 s with 16; long answers are as fast
with 4 as with 8."""
CONTEXT = 8192
"""Tokens of a prompt and its answer, at most: as many as SmolLM2 knows. All slots share their room."""
OF_A_SLOT = 4096
"""Tokens that there is room for, for each of several slots; 4 slots of SmolLM2 take 530 MB in all."""
MOST_THREADS = 8
"""A container often sees more cores than it may use, and threads that wait for each other are slower than fewer."""
SPIN = "1000"
"""How long a thread of llama.cpp spins for the others before it sleeps (GOMP_SPINCOUNT). With the default, a second
busy process on the same 2 cores slowed calls fourteenfold; with this it takes its fair share."""
START_SECONDS = 120.0
POLL_SECONDS = 0.02


class LocalEndpoint(NamedTuple):
    """Where to call."""

    base_url: str
    """Up to /v1."""
    model: str
    """The name that the server goes by; empty for an upstream that is not ours."""


class LocalServer(NamedTuple):
    """A running embedded model."""

    endpoint: LocalEndpoint
    process: subprocess.Popen[str]


@contextmanager
def upstream(base_url: str, slots: int = SLOTS) -> Iterator[LocalEndpoint]:
    """The endpoint of a URL; `local` and `local:PATH` start the embedded model, and stop it on exit."""
    kind, _, path = base_url.partition(":")
    if kind != "local":
        yield LocalEndpoint(base_url, "")
        return
    with serve_local(model_path(path), slots=slots) as server:
        yield server.endpoint


def serve_until_interrupted(
    port: int = 0, model: str | None = None, slots: int = SLOTS, context: int = CONTEXT, say: Say = to_stderr
) -> None:
    """Serve the embedded model and decisions until Ctrl-C, on a free port unless one is given.

    Raises LocalModelError where it cannot be started.
    """
    from .front import decisions_front

    _check_port(port)
    with (
        suppress(KeyboardInterrupt),
        serve_local(model_path(model), slots=slots, context=context) as server,
        decisions_front(*server.endpoint, port=port, slots=slots) as url,
    ):
        say(f"{server.endpoint.model} at {url}; Ctrl-C stops it")
        raise LocalModelError(f"the embedded model stopped by itself (exit code {server.process.wait()})")


@contextmanager
def serve_local(path: Path, *, port: int = 0, slots: int = SLOTS, context: int = CONTEXT) -> Iterator[LocalServer]:
    """A GGUF file, served on 127.0.0.1 and ready; raises LocalModelError when it cannot be.

    `port` 0 is a free one; `context` is in tokens of a prompt and its answer.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise LocalModelError(f"the embedded model needs the extra `local`: {install_hint('local')}")
    _check_port(port)
    name = served_name(path)
    settings: dict[str, str | int] = {"model": str(path), "name": name, "port": port}
    settings |= {"slots": slots, "room": max(context, slots * min(context, OF_A_SLOT)), "threads": threads()}
    with tempfile.TemporaryFile("w+") as log, _child(settings, log) as process:
        try:
            url = _ready(process)
        except ChildProcessError as error:
            reason = _complaint(log) or error
            raise LocalModelError(f"cannot serve {path} ({reason}); name another GGUF, or none for SmolLM2") from error
        yield LocalServer(LocalEndpoint(f"{url}/v1", name), process)


def threads() -> int:
    """As many as the processors that we may use."""
    ours = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(ours, MOST_THREADS)


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: a port just left is free
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise LocalModelError(
                f"cannot listen on port {port} ({reason}); choose another, or 0 for a free one"
            ) from error


@contextmanager
def _child(settings: Mapping[str, str | int], log: TextIO) -> Iterator[subprocess.Popen[str]]:
    """The child process, killed on exit; what it and llama.cpp complain of goes to the log."""
    with subprocess.Popen(
        [sys.executable, "-P", str(CHILD), json.dumps(settings)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env={"GOMP_SPINCOUNT": SPIN, **os.environ},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _ready(process: subprocess.Popen[str]) -> str:
    """The child's URL, once /health says so; raises ChildProcessError when it ends, or is ended for taking too long."""
    began = time.monotonic()
    patience = threading.Timer(START_SECONDS, process.kill)
    patience.start()
    try:
        url = next((line.strip() for line in process.stdout or () if line.startswith("http://")), "")
        while url and process.poll() is None:
            if _healthy(url):
                return url
            time.sleep(POLL_SECONDS)
    finally:
        patience.cancel()
    late = time.monotonic() - began >= START_SECONDS
    raise ChildProcessError(f"no answer in {START_SECONDS:.0f} s" if late else f"exit code {process.wait()}")


def _healthy(url: str) -> bool:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=START_SECONDS)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def _complaint(log: TextIO) -> str:
    """The first error that llama.cpp logged (later ones only say that it gave up), else the last line of all."""
    log.seek(0)
    lines = [line.strip() for line in log if line.strip()]
    errors = [line.partition(" E ")[2].strip() for line in lines if " E " in line]
    return (errors or lines[-1:] or [""])[0]
