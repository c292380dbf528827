"""Learning as a process of its own: `tfgrpo learn --from-traffic --candidate`, with the options that it was given.

What it takes of memory it gives back, and whatever happens to it, the autopilot goes on. It ends with the autopilot,
however that ends, and the next one goes on with its run where nothing new was fed back.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from ..errors import ModelError
from ..learning.run import UNFINISHED
from ..store import Store
from .autopilot import LearnedInUse

_LAST_LINES = 400
"""Characters of the last line of a failed learning."""


class ChildLearner:
    """How an autopilot learns; `options` are those of `tfgrpo learn`."""

    def __init__(self, store: str | None, namespace: str, options: Sequence[str]) -> None:
        """`store` as it was given, with its password; None: the child finds it as this process did."""
        self._command = [
            sys.executable, "-m", "tfgrpo", "learn", "--from-traffic", "--candidate", "--json",
            "--until-alone", "--namespace", namespace, *options,
        ]  # fmt: skip
        self._environment = {**os.environ, **({"TFGRPO_STORE": store} if store else {})}  # all see a command line

    def __call__(self, store: Store, calls: int, /) -> LearnedInUse:
        """Learn within so many calls, or as few as an option says; raises ModelError with what it said if it failed."""
        command = [*self._command, "--max-calls", str(ceiling_within(calls, self._command))]
        read, held = os.pipe()
        try:
            ran = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                stdin=read,
                env=self._environment,
            )
        except OSError as error:
            raise ModelError(f"`tfgrpo learn --from-traffic` could not be started: {error.strerror}") from error
        finally:
            os.close(read)
            os.close(held)  # which ends with this process, and by that it knows
        try:
            found = json.loads(ran.stdout)
        except ValueError as error:
            said = " ".join((ran.stderr.strip().splitlines() or ["nothing"])[-1].split())[-_LAST_LINES:]
            raise ModelError(f"`tfgrpo learn --from-traffic` ended with status {ran.returncode}: {said}") from error
        return learned_from(found)


def ceiling_within(calls: int, options: Sequence[str]) -> int:
    """So many calls, or as few as options of `learn` allow; what is no number there counts for nothing."""
    pairs = pairwise((*options, ""))
    given = (
        option.removeprefix("--max-calls=") if "=" in option else following
        for option, following in pairs
        if option.partition("=")[0] == "--max-calls"
    )
    return min([calls, *(int(one) for one in given if one.isdecimal())])


def learned_from(found: Mapping[str, Any]) -> LearnedInUse:
    """What the JSON of a learning tells: a gate that was not finished lets nothing pass, and where there was none the
    canary decides alone."""
    candidate, gate, ended = found.get("candidate"), found.get("gate"), found.get("ended") or ""
    if candidate is None:
        return LearnedInUse(None, False, found["usage"]["calls"], ended or "nothing new was learned")
    passed = gate["verdict"] == "promoted" if gate else found.get("state") == "candidate" and UNFINISHED not in ended
    rejected = f"a person has rolled {candidate} back before, which stands: tfgrpo prior use {candidate} serves it"
    why = gate["why"] if gate else ended or (rejected if found.get("state") == "rejected" else "no gate has tested it")
    return LearnedInUse(candidate, passed, found["usage"]["calls"], str(why))
