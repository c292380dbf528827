"""The reward `code`: the share of a task's tests that the code of a text passes, run in a process of its own."""

import json
import logging
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ...errors import InputError, RewardError
from ...records import JSON, Rollout, Task
from ...text import counted, shortened
from .matchers import without_thinking
from .reward import BuiltInReward, task_in_words
from .threads import in_thread

CODE_SECONDS = 10.0
"""How long the tests of one rollout may take together, on the clock and of the processor."""
CODE_BYTES = 1024**3
"""Memory that the process may take."""
MOST_FILE_BYTES = 16 * 1024**2
"""The most that one file may hold."""
MOST_FOLDER_BYTES = 256 * 1024**2
"""The most that all files together may hold."""
TEST_FIELDS = ("tests", "test", "test_list", "unit_tests", "test_cases", "test_code")
"""Fields of a task that may hold its tests; else its answer does."""
SETUP_FIELDS = ("test_setup_code", "test_imports", "setup_code")
_FENCED = re.compile(r"```[ \t]*(?P<kind>[\w+-]*)[^\n]*\n(?P<code>.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
_PYTHON = ("", "python", "python3", "py")
_AT_ONCE = threading.Semaphore(max(1, (os.cpu_count() or 2) - 1))
_MOST_TOLD = 1_000_000
_LOOKED_AT = 0.1
"""Seconds between looks at what a process has written."""
_CHILD = Path(__file__).with_name("code_child.py")


@dataclass(frozen=True, slots=True)
class CodeReward(BuiltInReward):
    """A Reward: the share of the tests that pass; the feedback is the first that does not, and what is not isolated."""

    seconds: float = CODE_SECONDS
    name = "code"

    async def __call__(self, rollout: Rollout, /) -> tuple[float, str]:
        """Raises InputError, naming the task, when it has no tests."""
        program = self._program(rollout.task, rollout.text)
        if not str(program["code"]).strip():
            return 0.0, "no code"
        return await in_thread(self._run, program)

    def check(self, task: Task) -> None:
        """Raises InputError as the call does."""
        self._program(task, "")

    def _program(self, task: Task, text: str) -> dict[str, JSON]:
        tests = read_tests(task)
        if not tests:
            fields = " or ".join(TEST_FIELDS[:3])
            wrong = f"it has no tests; put asserts, or inputs and outputs, into its answer or a field {fields}"
            raise InputError(f"{task_in_words(task)} cannot be scored by reward {self.name}: {wrong}")
        told = task.metadata
        setup = [_lines(told[name]) for name in SETUP_FIELDS if told.get(name)]
        entry = told.get("entry_point")
        code = _with_signature(code_of(text), task, entry if isinstance(entry, str) else None)
        return {"code": code, "setup": "\n".join(setup), "tests": tests, "entry": entry}

    def _run(self, program: Mapping[str, JSON]) -> tuple[float, str]:
        """What the process says of the tests; raises RewardError where it could not even start."""
        seal = secrets.token_hex(16)
        limits = {"seconds": self.seconds, "bytes": CODE_BYTES, "file_bytes": MOST_FILE_BYTES}
        with _AT_ONCE, tempfile.TemporaryDirectory(prefix="tfgrpo-code-", ignore_cleanup_errors=True) as folder:
            sent = json.dumps({**program, **limits, "seal": seal, "folder": folder})
            told, wrong = _told(sent, folder, self.seconds + 1)
        tests = len(program["tests"])
        if not told.startswith(seal):
            return 0.0, f"0 of {counted(tests, 'test')} passed: {wrong.format(seconds=self.seconds)}"
        found = json.loads(told.removeprefix(seal).partition("\n")[0])
        if "broken" in found:
            raise RewardError(f"the tests could not be run: {shortened(found['broken'], 200)}")
        _warn(tuple(found["open"]))
        _warn_beside(bool(found["beside"]))
        return _verdict(found, tests)


@lru_cache
def _warn(not_confined: tuple[str, ...]) -> None:
    """Say once what this system cannot keep code from."""
    if not_confined:
        what = " and ".join(not_confined)
        logging.getLogger("tfgrpo").warning("reward code: on this system %s are guarded by Python alone", what)


@lru_cache
def _warn_beside(beside: bool) -> None:
    """Say once that some tests are in reach of the code."""
    if beside:
        what = "tests that mock, await or redirect input run beside the code, which could pretend that they pass"
        logging.getLogger("tfgrpo").warning("reward code: %s", what)


def _verdict(found: Mapping[str, JSON], tests: int) -> tuple[float, str]:
    passed = sum(one is None for one in found["results"])
    first = next((one for one in found["results"] if one is not None), "")
    said = f"{passed} of {counted(tests, 'test')} passed" + (
        f"; the first that did not: {shortened(first, 200)}" if first else ""
    )
    return passed / tests, said if passed < tests else ""


_LATE = "it took more than {seconds:g} s"
_FULL = f"it wrote more than {MOST_FOLDER_BYTES // 1024**2} MB"


def _told(sent: str, folder: str, seconds: float) -> tuple[str, str]:
    """What the process said, and why that may be nothing; it is killed with all of its group, however it ended."""
    command = [sys.executable, "-I", "-B", str(_CHILD)]
    environment = {"PATH": "/usr/bin:/bin", "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}
    environment |= {"OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder,
        env=environment, start_new_session=True, encoding="utf-8", errors="replace",
    )  # fmt: skip
    over, wrong = threading.Event(), list[str]()

    def watch() -> None:
        until = time.monotonic() + seconds
        while not wrong and not over.wait(_LOOKED_AT):
            wrong.extend([_LATE] if time.monotonic() > until else [_FULL] if _is_full(folder) else [])
        _end(process)

    watching = threading.Thread(target=watch, name="tfgrpo code", daemon=True)
    watching.start()
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError):
            process.stdin.write(sent)
            process.stdin.close()
        told = process.stdout.read(_MOST_TOLD)
    finally:
        over.set()
        watching.join()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                if pipe:
                    pipe.close()
    wrong += [_LATE] if process.returncode == -signal.SIGXCPU else ["it ended before its tests did"]
    return told, wrong[0]


def _end(process: "subprocess.Popen[str]") -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _is_full(folder: str) -> bool:
    """Whether a folder holds more than it may; files that vanish meanwhile hold nothing."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                size += os.lstat(os.path.join(place, name)).st_size
    return size > MOST_FOLDER_BYTES


def code_of(text: str) -> str:
    """The Python in a text: its last fence that defines something, else its last, else the whole text."""
    said = without_thinking(text)
    fences = [found["code"] for found in _FENCED.finditer(said) if found["kind"].lower() in _PYTHON]
    defining = [code for code in fences if re.search(r"^\s*(?:def|class|async def)\s", code, re.MULTILINE)]
    return (defining or fences or [said])[-1]


def _with_signature(code: str, task: Task, entry: str | None) -> str:
    """The code after the function's head that the task began, where the code goes on from it."""
    if not entry or not code.strip() or re.search(rf"^\s*(?:async\s+)?def\s+{re.escape(entry)}\b", code, re.MULTILINE):
        return code
    return f"{task.prompt}\n{code}" if f"def {entry}" in task.prompt else code


def read_tests(task: Task) -> list[JSON]:
    """The tests of a task: each Python to run after the code, or an input and the output that it should give."""
    found = next((task.metadata[name] for name in TEST_FIELDS if task.metadata.get(name)), task.answer)
    if isinstance(found, str) and found.lstrip()[:1] in ("[", "{"):
        with suppress(ValueError, RecursionError):
            found = json.loads(found)
    if isinstance(found, dict):
        found = _pairs(found)
    listed = found if isinstance(found, list) else [found]
    return [test for one in listed if (test := _test(one)) is not None]


def _pairs(found: Mapping[str, JSON]) -> list[JSON]:
    """Inputs with their outputs, as collections of contest problems hold them; or one test."""
    inputs, outputs = (found.get(name) or found.get(f"{name}s") for name in ("input", "output"))
    if isinstance(inputs, list) and isinstance(outputs, list):
        return [{"input": one, "output": other} for one, other in zip(inputs, outputs, strict=False)]
    return [found]


def _test(one: JSON) -> JSON:
    if isinstance(one, str) and re.search(r"\bassert\b|\bdef\s+check\b|\bcheck\(|unittest|\bdef\s+test", one):
        return one
    if isinstance(one, dict) and (given := one.get("output", one.get("expected_output"))) is not None:
        return {"input": _lines(one.get("input", "")), "output": _lines(given)}
    return None


def _lines(given: JSON) -> str:
    return "\n".join(map(str, given)) if isinstance(given, Sequence) and not isinstance(given, str) else str(given)
