"""The reward `math`: whether a formula equals the answer, by math-verify in a process with a time limit."""

import importlib.util
import json
import re
import subprocess
import sys
import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ...errors import InputError, RewardError
from ...extras import install_hint
from ...records import JSON, Rollout, Task
from ...text import shortened
from .final import marks
from .latex import unformatted
from .matchers import in_text, readable, right_answers
from .reward import BuiltInReward, task_in_words
from .threads import in_thread

MATH_SECONDS = 10.0
"""How long one comparison may take; what takes longer is not seen to be equal."""
_START_SECONDS = 60.0
_MOST_CHARACTERS = 2_000
_REFUSED = re.compile(
    r"\b(?:I|we)\s+(?:can't|cannot|couldn't|could not|am unable to|am not able to|don't|do not)\s+(?:\w+\s+)?"
    r"(?:solve|answer|determine|tell|know|say|find|compute|give|provide)\b",
    re.IGNORECASE,
)
"""As in "I can't solve this"; what such a sentence names besides is no answer."""


class MathChild:
    """The process that compares: started when it is first asked, and again when it took too long."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def ask(self, request: JSON, seconds: float = MATH_SECONDS) -> JSON:
        """Its answer, None where that takes too long; raises RewardError where it cannot run."""
        with self._lock:
            process = self._started()
            told = self._line(process, json.dumps(request), seconds)
            if told is None:
                _end(process)
                self._process = None
            return None if told is None else json.loads(told)

    def _started(self) -> "subprocess.Popen[str]":
        if self._process is None or self._process.poll() is not None:
            command = [sys.executable, "-m", f"{__package__}.maths_child"]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                start_new_session=True,
            )  # fmt: skip
            weakref.finalize(self, _end, self._process)
            if self._line(self._process, "", _START_SECONDS) is None:
                _end(self._process)
                raise RewardError(f"math-verify could not be started; {install_hint('math')}")
        return self._process

    def _line(self, process: "subprocess.Popen[str]", said: str, seconds: float) -> str | None:
        """The next line of the process after it was told one; None where it takes too long, or has ended."""
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        try:
            process.stdin.write(f"{said}\n")
            process.stdin.flush()
            return process.stdout.readline() or None
        except (OSError, ValueError):
            return None
        finally:
            timer.cancel()


def _end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            with suppress(OSError):
                pipe.close()
    process.wait()


@dataclass(frozen=True, slots=True)
class MathReward(BuiltInReward):
    """A Reward of 1 for a text whose final formula equals the answer, whatever form it has."""

    child: MathChild = field(default_factory=MathChild, compare=False, repr=False)
    name = "math"

    async def __call__(self, rollout: Rollout, /) -> float:
        """Raises InputError, naming the task, when its answer is no formula."""
        said = final_formula(rollout.text)
        wanted = [_formula(in_text(answer)) for answer in right_answers(rollout.task.answer)]
        if not wanted:
            self.check(rollout.task)
        if not said:
            return 0.0
        told = await in_thread(self.child.ask, {"wanted": wanted, "said": said})
        return float(bool(told and told.get("right")))

    def check(self, task: Task) -> None:
        """Raises InputError as the call does."""
        answers = right_answers(task.answer)
        if not answers:
            raise InputError(f"{task_in_words(task)} has no answer, which reward {self.name} needs")
        for answer in answers:
            if not re.search(r"[\w∞]", unformatted(in_text(answer))):
                wrong = f"the answer {shortened(in_text(answer))} holds no formula"
                raise InputError(f"{task_in_words(task)} cannot be scored by reward {self.name}: {wrong}")


def math_reward() -> MathReward:
    """The reward; raises InputError without the extra."""
    if importlib.util.find_spec("math_verify") is None:
        raise InputError(f"reward math needs the extra `math`: {install_hint('math')}")
    return _shared()


@lru_cache
def _shared() -> MathReward:
    """One process for all: it takes a second to start."""
    return MathReward()


def _formula(text: str) -> str:
    r"""A text as the one formula that it is: in \boxed{}, without what was around it."""
    found = marks(text)
    inner = (found[0].text if found and found[0].is_whole else text).strip()
    inner = re.sub(r"^\$+|\$+$|^\\[(\[]|\\[)\]]$", "", inner).strip()
    return f"\\boxed{{{inner[:_MOST_CHARACTERS]}}}"


def final_formula(text: str) -> str:
    """What a text gives as its final formula; empty where it gives none, or more than one."""
    said = readable(text)
    for mark in marks(said):
        if mark.is_whole:
            return _formula(f"\\boxed{{{mark.text}}}") if mark.text.strip() else ""
        lines = [line for line in mark.text.split("\n") if re.search(r"\w", line)]
        if lines and (mark.is_firm or re.search(r"[\d$\\^=]", lines[0])):
            return _told(lines[0])
    lines = [line for line in said.split("\n") if re.search(r"\w", line)]
    return _told(lines[-1]) if lines else ""


def _told(line: str) -> str:
    """The last formula between dollar signs of a line, or the line itself."""
    line = line.strip(" *_:").removesuffix(".")
    formulas: list[Any] = re.findall(r"\$+([^$]+)\$+|\\\((.+?)\\\)|\\\[(.+?)\\\]", line)
    if formulas:
        return _formula(next(part for part in formulas[-1] if part))
    if _REFUSED.search(line):
        return ""
    return _formula(line) if len(line.split()) <= 6 else line[-_MOST_CHARACTERS:]
