"""The proxy as a process."""

import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx2
import pytest

from tests.live import BODY, PRIOR, go_live
from tfgrpo.errors import InputError
from tfgrpo.records import ChatBody
from tfgrpo.serve.proxy import serve
from tfgrpo.surfaces.http import PRIOR_HEADER
from tfgrpo.testing import ScriptedModel, serving

PATIENCE = 10.0
"""Seconds until a test that waits for an event fails instead of hanging."""


def test_what_is_not_installed_is_one_clear_line() -> None:
    program = "import sys; sys.modules['aiohttp'] = None; import tfgrpo.serve.proxy"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("tfgrpo.errors.InputError")
    assert re.search(r"aiohttp, of the extra `serve`: .*pip install .*\[serve\]'", last)


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"127\.0\.0\.1, port {port}: .*in use.*--port"):
            serve("http://host/v1", store=tmp_path / "s.db", port=port)


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 99_999), ("no.such.host.invalid", 0)])
def test_an_address_that_cannot_be_is_one_clear_line(host: str, port: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot listen on"):
        serve("http://host/v1", store=tmp_path / "s.db", host=host, port=port)


def test_sigterm_lets_the_calls_in_flight_finish(tmp_path: Path) -> None:
    began, onward = threading.Event(), threading.Event()

    def slow(body: ChatBody) -> str:
        began.set()
        onward.wait(PATIENCE)
        return "BILL"

    program = (
        "import sys; from tfgrpo.serve.proxy import serve; serve(sys.argv[1], store=sys.argv[2], port=0, ready=print)"
    )
    with serving(ScriptedModel(slow).app) as upstream:
        arguments = [sys.executable, "-uc", program, upstream, str(go_live(tmp_path / "s.db"))]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            answers: list[httpx2.Response] = []
            url = f"{process.stdout.readline().strip()}/chat/completions"
            call = threading.Thread(target=lambda: answers.append(httpx2.post(url, json=BODY, timeout=PATIENCE)))
            call.start()
            assert began.wait(PATIENCE)
            process.send_signal(signal.SIGTERM)
            onward.set()
            call.join()
            _, errors = process.communicate(timeout=PATIENCE)
    assert answers[0].status_code == 200
    assert answers[0].headers[PRIOR_HEADER] == PRIOR.id
    assert (process.returncode, errors) == (-signal.SIGTERM, "")
