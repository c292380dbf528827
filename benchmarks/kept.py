"""A benchmark that was stopped goes on where it was: calls of a served model, or cells of a table, kept in a file.

The file is JSONL, a line a finished call or cell. With `--model local --kept calls.jsonl --minutes 5` a benchmark ends
after about five minutes; the same command once more makes the calls that are left. Of calls in flight when it is killed
nothing is kept.
"""

import argparse
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any, NamedTuple

from tfgrpo.model.budget import Budget, Ceiling
from tfgrpo.model.local import upstream
from tfgrpo.model.tokenizer import file_tokenizer
from tfgrpo.model.upstream import Upstream
from tfgrpo.probe.backend import probe
from tfgrpo.records import JSON, Backend, CallKey, Usage
from tfgrpo.settings import Settings

RUN = "benchmark"
"""The run of calls that are kept; calls of no run are not."""
TOLD_EVERY = 50


class Lines:
    """A file of JSON values, a line each; without a path nothing is kept past the end of the process."""

    def __init__(self, path: Path | None) -> None:
        """`found` is what an earlier process has written."""
        self._path = path
        text = path.read_text() if path and path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        if path and whole != text:  # it was killed as it wrote
            path.write_text(whole)
        self.found: list[Any] = [json.loads(line) for line in whole.splitlines()]

    def add(self, value: JSON) -> None:
        """One more line."""
        if self._path:
            with self._path.open("a") as file:
                print(json.dumps(value), file=file)


class KeptCells:
    """The cells of a table, each computed once."""

    def __init__(self, path: Path | None) -> None:
        """Those of an earlier process, if any."""
        self._lines = Lines(path)
        self._known: dict[str, Any] = dict(self._lines.found)

    def __call__(self, name: str, made: Callable[[], JSON]) -> Any:
        """The cell of this name."""
        if name not in self._known:
            self._known[name] = made()
            self._lines.add([name, self._known[name]])
        return self._known[name]


class KeptCalls:
    """A journal in a file of lines: key, hash of the request, response."""

    def __init__(self, path: Path | None) -> None:
        """The calls of an earlier process, if any."""
        self._lines = Lines(path)
        self._known = {(CallKey(*key), request): response for key, request, response in self._lines.found}

    async def reply(self, key: CallKey, request: str) -> str | None:
        """The response kept for this call, if any."""
        return self._known.get((key, request))

    async def record(self, key: CallKey, request: str, response: str, usage: Usage) -> None:
        """Keep one response."""
        self._known[key, request] = response
        self._lines.add([astuple(key), request, response])
        if len(self._known) % TOLD_EVERY == 0:
            print(f"{len(self._known)} calls, the last one of {key.stage!r}", file=sys.stderr, flush=True)


class Served(NamedTuple):
    """A model that answers."""

    upstream: Upstream
    name: str
    backend: Backend


def asked_of(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name a model."""
    parser.add_argument("--model", metavar="URL", help="or `local`, the embedded model, or `local:FILE`, a GGUF file")
    parser.add_argument("--name", default="local")
    parser.add_argument("--slots", type=int, default=4, help="of a local model")
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json of a model at a URL")
    parser.add_argument("--kept", type=Path, help="a file of the calls that were made")
    parser.add_argument("--minutes", type=float, help="no call begins later")


@asynccontextmanager
async def served(asked: argparse.Namespace, settings: Settings) -> AsyncIterator[Served]:
    """The model that is asked for."""
    with upstream(asked.model, asked.slots) as endpoint:
        name = endpoint.model or asked.name
        journal, budget = KeptCalls(asked.kept), Budget(Ceiling(minutes=asked.minutes))
        tokenizer = file_tokenizer(asked.tokenizer) if asked.tokenizer else None
        async with Upstream(
            endpoint.base_url, settings=settings, journal=journal, budget=budget, tokenizer=tokenizer
        ) as calls:
            yield Served(calls, name, await probe(calls, name, run=RUN))
