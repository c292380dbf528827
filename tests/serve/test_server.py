"""The proxy as a process."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.live import BODY, PRIOR, go_live
from tests.serve.fronts import PATIENCE
from tfgrpo.errors import InputError
from tfgrpo.records import ChatBody
from tfgrpo.serve.proxy import Listening, RelayTarget, Serving, serve
from tfgrpo.surfaces.http import PRIOR_HEADER
from tfgrpo.testing import ScriptedModel, serving

HOST = RelayTarget.parse("http://host/v1")


def test_what_is_not_installed_is_one_clear_line() -> None:
    program = "import sys; sys.modules['uvicorn'] = None; import tfgrpo.serve.proxy"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("tfgrpo.errors.InputError")
    assert re.search(r"uvicorn, of the extra `serve`: .*pip install .*\[serve\]'", last)


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"127\.0\.0\.1, port {port}: .*in use.*--port"):
            serve(Serving([HOST], tmp_path / "s.db", listening=Listening(port=port)))


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 99_999), ("no.such.host.invalid", 0)])
def test_an_address_that_cannot_be_is_one_clear_line(host: str, port: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot listen on"):
        serve(Serving([HOST], tmp_path / "s.db", listening=Listening(host, port)))


PROGRAM = """if True:
    import sys
    from pathlib import Path
    from tfgrpo.serve.proxy import Listening, RelayTarget, Serving, serve
    at = Listening(port=0, workers=int(sys.argv[3]), grace=float(sys.argv[4]), log_format="json", log_requests=True)
    serve(Serving([RelayTarget.parse(sys.argv[1], "sk-upstream")], Path(sys.argv[2]), listening=at), ready=print)
"""


@contextmanager
def served(
    upstream: str, store: Path, *, workers: int = 1, grace: float = 30
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of its own, and its base URL."""
    arguments = [sys.executable, "-uc", PROGRAM, upstream, str(store), str(workers), str(grace)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def until(happens: Callable[[], bool]) -> None:
    """Wait for what must happen, but not for ever."""
    ends = time.monotonic() + PATIENCE
    while not happens() and time.monotonic() < ends:
        time.sleep(0.02)
    assert happens()


def refuses(address: tuple[str, int]) -> bool:
    """Whether nobody takes connections there any more."""
    try:
        socket.create_connection(address).close()
    except OSError:
        return True
    return False


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_lets_the_calls_in_flight_finish(workers: int, tmp_path: Path) -> None:
    began, onward = threading.Event(), threading.Event()

    def slow(body: ChatBody) -> str:
        began.set()
        onward.wait(PATIENCE)
        return "BILL"

    store = go_live(tmp_path / "s.db")
    with serving(ScriptedModel(slow).app) as upstream, served(upstream, store, workers=workers) as (process, url):
        answers: list[httpx2.Response] = []
        call = threading.Thread(
            target=lambda: answers.append(httpx2.post(f"{url}/chat/completions", json=BODY, timeout=PATIENCE))
        )
        call.start()
        assert began.wait(PATIENCE)
        text = httpx2.get(f"{url.removesuffix('/v1')}/metrics", timeout=PATIENCE).text
        process.send_signal(signal.SIGTERM)
        onward.set()
        call.join()
        _, errors = process.communicate(timeout=PATIENCE)
    assert answers[0].status_code == 200
    assert answers[0].headers[PRIOR_HEADER] == PRIOR.id
    assert "tfgrpo_in_flight" in text
    assert process.returncode in (-signal.SIGTERM, 0)
    lines = [json.loads(line) for line in errors.splitlines()]
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["route"], line["status"], line["prior"], line["level"]) == ("/chat/completions", 200, PRIOR.id, "info")
    assert not [line for line in lines if line["level"] not in ("info", "warning")]
    assert not re.search("facture|sk-", errors)


@pytest.mark.parametrize(("grace", "signals"), [(1, 1), (10 * PATIENCE, 2)])
def test_a_stream_without_an_end_ends_after_the_grace_or_at_the_second_signal(
    grace: float, signals: int, tmp_path: Path
) -> None:
    began, over = threading.Event(), threading.Event()

    def endless(body: ChatBody) -> str:
        began.set()
        over.wait(2 * PATIENCE)
        return "BILL"

    body = json.dumps(BODY).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with (
        serving(ScriptedModel(endless).app) as upstream,
        served(upstream, go_live(tmp_path / "s.db"), grace=grace) as (process, url),
        socket.create_connection(at := ("127.0.0.1", int(url.split(":")[2].split("/")[0]))) as caller,
    ):
        caller.sendall(head.encode() + body)
        assert began.wait(PATIENCE)
        for _ in range(signals):
            process.send_signal(signal.SIGTERM)
            until(lambda: refuses(at))  # the signal was heeded
        process.communicate(timeout=PATIENCE)
        over.set()
    assert process.returncode == -signal.SIGTERM


def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    with served("http://127.0.0.1:9/v1", go_live(tmp_path / "s.db"), workers=2) as (process, _):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not children.exists():
            pytest.skip("this system does not list the children of a process")
        before = children.read_text().split()
        os.kill(int(before[0]), signal.SIGKILL)
        until(lambda: len(after := children.read_text().split()) == 2 and before[0] not in after)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    assert len(before) == 2
    assert process.returncode == 0
