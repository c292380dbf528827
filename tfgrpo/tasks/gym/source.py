"""The tasks of a `gym:` source, the same on every machine for one seed and one version of reasoning-gym."""

import difflib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from ...errors import InputError
from ...hashing import derive_seed
from ...records import JSON, Task
from ...text import shortened
from . import SCHEME
from .verifier import library, verified, verifier

DEFAULT_SIZE = 50
MOST_TASKS = 10_000
_FORM = "a source looks like gym:FAMILY?size=50&seed=1"
_CHILD = Path(__file__).parent / "child.py"
_PLACE = "source_index"
"""A field of an entry's metadata that says where it stands, and is no part of the task: equal tasks are one."""


@dataclass(frozen=True, slots=True)
class GymSource:
    """Which tasks are wanted."""

    family: str
    size: int
    seed: int


def entries(source: str) -> Iterator[tuple[str, JSON]]:
    """The tasks of a source, each with its place; their metadata holds what their verifier needs.

    Raises InputError for a source that is malformed, too large or of an unknown family, for a family that cannot be
    used, and without the extra.
    """
    wanted = parse_source(source)
    verifier(wanted.family)
    for number, entry in enumerate(_made(wanted), 1):
        told = {name: value for name, value in entry["metadata"].items() if name != _PLACE}
        metadata = {"gym": wanted.family, "entry": told}
        task = Task(entry["question"], entry["answer"], metadata)
        if task.answer is not None and verified(task, task.answer) < 1:
            raise InputError(f"family {wanted.family}: tasks lose what their verifier needs as JSON; take another")
        place = f"{wanted.family}-{wanted.seed}-{number}"
        yield f"task {number}", {"input": task.input, "answer": task.answer, "id": place, "metadata": metadata}


def parse_source(source: str) -> GymSource:
    """What a source such as `gym:leg_counting?size=50&seed=1` asks for; raises InputError for any other form."""
    family, _, query = source.removeprefix(SCHEME).partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError as error:
        raise InputError(f"{shortened(source)}: {_FORM}") from error
    given = dict(pairs)
    if not family or len(given) < len(pairs) or given.keys() - {"size", "seed"}:
        raise InputError(f"{shortened(source)}: {_FORM}")
    size = _whole(source, "size", given.get("size", str(DEFAULT_SIZE)), 1, MOST_TASKS)
    seed = _whole(source, "seed", given.get("seed", "0"), 0, 2**63)
    known = sorted(library().factory.DATASETS)
    if family not in known:
        near = difflib.get_close_matches(family.lower(), known, n=1)
        guess = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise InputError(f"reasoning-gym has no family {shortened(family)!r}; {guess}")
    return GymSource(family, size, seed)


def _whole(source: str, name: str, given: str, low: int, high: int) -> int:
    number = int(given) if re.fullmatch(r"[0-9]{1,19}", given) else -1
    if not low <= number <= high:
        raise InputError(f"{shortened(source)}: {name} must be a whole number from {low} to {high}")
    return number


def _made(wanted: GymSource) -> list[Mapping[str, JSON]]:
    """The family's own entries, as JSON carries them.

    Families add the place of a task to the seed, so neighbouring seeds would share all tasks but one: they get a hash.
    """
    seed = derive_seed("gym", wanted.family, wanted.seed)
    command = [sys.executable, "-P", str(_CHILD), wanted.family, str(wanted.size), str(seed)]
    ran = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=False
    )
    try:
        answer = json.loads(ran.stdout.rpartition("\n\n")[2])
    except ValueError as error:
        last = ran.stderr.strip().rpartition("\n")[2]
        raise InputError(f"family {wanted.family} made no tasks ({shortened(last, 200)}); take another") from error
    if "error" in answer:
        raise InputError(f"family {wanted.family} made no tasks ({shortened(answer['error'], 200)}); take another")
    made: list[Mapping[str, JSON]] = answer["entries"]
    return made
