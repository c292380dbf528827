"""Processes that are forked from one with the library loaded, and otherwise like any other to who kills them: a
twentieth of a second's work in place of two seconds.

All of them hash texts alike, as no two do that a shell starts: what must not depend on it is held against one of those.
"""

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from benchmarks.kill import Process, environment

_LOADED = ["tfgrpo.cli.learn", "tfgrpo.learning.run", "tfgrpo.model.upstream"]


def forked(command: Sequence[str], printed: IO[str], errors: IO[str]) -> Process:
    """`python -m tfgrpo ...` that way."""
    python, option, package, *arguments = command
    assert (python, option, package) == (sys.executable, "-m", "tfgrpo")
    return _Forked(arguments, printed.name, errors.name, environment())


class _Forked:
    """Named as `subprocess.Popen` names it."""

    def __init__(self, *given: object) -> None:
        fresh = multiprocessing.get_context("forkserver")
        fresh.set_forkserver_preload(_LOADED)
        self._process = fresh.Process(target=_run, args=(*given, Path.cwd()))
        self._process.start()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int | None:
        self._process.join()
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()


def _run(arguments: Sequence[str], printed: str, errors: str, settings: Mapping[str, str], folder: Path) -> None:
    """In the new process."""
    from tfgrpo.cli import main

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(settings)
    for stream, path in ((sys.stdout, printed), (sys.stderr, errors)):
        os.dup2(os.open(path, os.O_WRONLY), stream.fileno())
    sys.argv = ["tfgrpo", *arguments]
    main()
