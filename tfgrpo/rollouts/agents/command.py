"""An agent that is a program, in any language."""

import asyncio
import os
import re
import shlex
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import BinaryIO
from urllib.parse import urlsplit

from ...errors import AgentError, InputError
from ...model.secrets_held import HELD
from ...records import JSON, Task
from ...text import shortened
from .agent import KEY, ModelAddress, last_words

BLANK = "{input}"
"""Where the task goes in a command."""
FILE_BLANK = "{input_file}"
"""Where the name of a file goes that holds the task."""
_BLANKS = re.compile(r"\{input(?:_file)?\}")
LONGEST_INPUT = 2**17 - 1
"""Bytes of one argument at most, as Linux has it."""
LONGEST_OUTPUT = 2**20
"""Bytes of standard output that are read as an answer."""
_TAIL = 4_096
"""Bytes of standard error that are looked at when a program fails."""


class CommandAgent:
    """A program that is given a task as one argument, or in a file, and prints its answer.

    It finds its model by OPENAI_BASE_URL (OPENAI_API_BASE for older libraries), and is not shown the upstream's key. No
    shell reads the command or the task. Program and children are a process group of their own, which is killed when
    the program has ended, after a timeout and on Ctrl-C.
    """

    def __init__(self, command: str) -> None:
        """Raises InputError for what is no command, has no place for the task, or names no program."""
        self.name = command
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise InputError(f"--command {shortened(command)}: {error}") from error
        blanks = {blank for word in self._words for blank in _BLANKS.findall(word)}
        self._reads_a_file, self._takes_it_whole = FILE_BLANK in blanks, BLANK in blanks
        if not blanks:
            way = f"write {BLANK} where the task goes, as in 'prog {BLANK}'"
            raise InputError(f"--command {shortened(command)}: {way}, or {FILE_BLANK} for a file with it")
        if shutil.which(self._words[0]) is None:
            raise InputError(f"--command: there is no program {shortened(self._words[0])!r} that can be run")

    def check(self, task: Task) -> None:
        """Raises InputError for a task that cannot be an argument, where it has to be one."""
        size = len(task.prompt.encode(errors="replace"))
        if self._takes_it_whole and (size > LONGEST_INPUT or "\0" in task.prompt):
            long = f"it has {size:,} bytes, of {LONGEST_INPUT:,} at most"
            why = long if size > LONGEST_INPUT else "it holds a null byte"
            hint = f"write {FILE_BLANK} in place of {BLANK}, and it is handed over in a file"
            raise InputError(f"{task.id} ({shortened(task.prompt)}) cannot be an argument: {why}; {hint}")

    async def __call__(self, task: Task, place: ModelAddress) -> JSON:
        """What the program prints, stripped; raises AgentError when it fails or prints nothing."""
        with (
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as errors,
            tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="task-", suffix=".txt") as told,
        ):
            if self._reads_a_file:
                told.write(task.prompt)
                told.flush()
            given = {BLANK: task.prompt, FILE_BLANK: told.name}
            words = [_BLANKS.sub(lambda blank: given[blank[0]], word) for word in self._words]
            code = await _run(words, environment(os.environ, place), out, errors)
            if code:
                ended = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
                raise AgentError(
                    f"the program {ended}: {last_words(_end(errors)) or 'it said nothing on standard error'}"
                )
            out.seek(0)
            printed = out.read(LONGEST_OUTPUT + 1)
        if len(printed) > LONGEST_OUTPUT:
            raise AgentError(f"the program printed more than {LONGEST_OUTPUT:,} bytes, which is no answer")
        answer = printed.decode("utf-8", "replace").strip()
        if not answer:
            raise AgentError("the program printed no answer")
        return answer


_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "AZURE_OPENAI_API_KEY")
_URLS = ("OPENAI_BASE_URL", "TFGRPO_BASE_URL", "ANTHROPIC_BASE_URL")
_OUR_KEY = re.compile(
    r"(DISTILLER|EMBEDDING|JUDGE|TFGRPO)\w*(KEY|TOKEN|SECRET)|^(TFGRPO|OPENAI)_ADMIN_KEY$", re.IGNORECASE
)
"""Names of variables with keys of models that a run calls itself."""
_SHORTEST = 8
"""Characters of a key at least: a shorter one stands in other texts by chance."""


def _password(url: str) -> str | None:
    try:
        return urlsplit(url).password
    except ValueError:
        return None


def environment(given: Mapping[str, str], place: ModelAddress) -> dict[str, str]:
    """Ours for a program: its model is at `place`, and no variable holds a key of the run's, whatever its name."""
    keys = [*HELD, *(held for name, held in given.items() if name in _KEYS)]
    secrets = [key for key in keys if len(key) >= _SHORTEST]
    secrets += [found for name in _URLS if (found := _password(given.get(name, "")))]
    kept = {name: held for name, held in given.items() if not any(secret in held for secret in secrets)}
    kept = {name: held for name, held in kept.items() if not _OUR_KEY.search(name)}
    direct = ",".join(part for part in (given.get("NO_PROXY") or given.get("no_proxy"), "127.0.0.1") if part)
    return kept | {
        "OPENAI_BASE_URL": place.base_url,
        "OPENAI_API_BASE": place.base_url,
        "OPENAI_API_KEY": KEY,
        "ANTHROPIC_BASE_URL": place.base_url.removesuffix("/v1"),
        "ANTHROPIC_API_KEY": KEY,
        "TFGRPO_MODEL": place.model,
        "NO_PROXY": direct,
        "no_proxy": direct,
    }


async def _run(words: Sequence[str], env: Mapping[str, str], out: BinaryIO, errors: BinaryIO) -> int:
    """The exit code. Output goes to files: a child that outlives the program would hold a pipe open."""
    try:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=errors, env=env, start_new_session=True
        )
    except (OSError, ValueError) as error:  # ValueError: a null byte in the task
        raise AgentError(f"the program cannot be started: {getattr(error, 'strerror', None) or error}") from error
    try:
        return await process.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _end(file: BinaryIO) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL))
    return file.read().decode("utf-8", "replace")
