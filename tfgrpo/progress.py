"""An Observer for people: a live line on a terminal or in a notebook, else now and then a plain one on stderr."""

import time
from collections.abc import Callable, Iterable
from html import escape
from importlib import import_module
from typing import Any, Self

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.console import Group as RichGroup
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from .observer import StepSummary
from .records import Group, Rollout, Usage
from .text import counted, shortened

_PLAIN_SECONDS = 10.0
"""How often a line is printed where there is no terminal to redraw."""
_CELL_SECONDS = 0.5
"""How often the line in a notebook's cell is brought up to date."""
_FEWEST = 16
"""Done before the time left is told, or a quarter of all: as many may be under way at once."""
_NOTE = 2_000
"""Characters of a note at most."""
_WIDEST = 1_000
"""Columns of a terminal at most, to see how wide a line would be."""


class _Fitting:
    """What is drawn: on one line if that fits, else on several."""

    def __init__(self, one: RenderableType, several: RenderableType) -> None:
        self._one, self._several = one, several

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        needed = Measurement.get(console, options.update(max_width=_WIDEST), self._one).maximum
        yield self._one if needed <= options.max_width else self._several


def _is_enough(finished: float, total: float) -> bool:
    """Whether so many of all that are to be done tell how long the others take."""
    return finished >= min(_FEWEST, total / 4)


class _TimeLeft(TimeRemainingColumn):
    """The time left, once enough is done to tell it."""

    def render(self, task: Task) -> Text:
        """It, or the sign that it is not known."""
        known = task.total is None or _is_enough(task.completed, task.total)
        return super().render(task) if known else Text("-:--:--", style="progress.remaining")


class _Bar(Progress):
    """A bar with the figures beside it, or below it where the terminal is too narrow for both: none is cut off."""

    _how_far = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn())
    _left = (_TimeLeft(), TextColumn("left"))

    def get_renderables(self) -> Iterable[RenderableType]:
        """The tasks as they stand."""
        self.columns = (*self._how_far, TextColumn("· {task.fields[figures]} ·"), *self._left)
        beside = self.make_tasks_table(self.tasks)
        self.columns = (*self._how_far, TextColumn("·"), *self._left)
        figures = [Text(task.fields["figures"], overflow="fold", no_wrap=False) for task in self.tasks if task.visible]
        yield _Fitting(beside, RichGroup(self.make_tasks_table(self.tasks), *figures))


class _Cell:
    """What a notebook's cell shows of a run: its notes, and below them how far it is, kept up to date in place."""

    def __init__(self) -> None:
        self._notes = list[str]()
        self._output: Any = None

    def note(self, line: str) -> None:
        self._notes.append(line)
        self.show()

    def show(self, *lines: str) -> None:
        """The notes, and these lines until something else is shown."""
        told = "\n".join([*self._notes, *lines])
        if not told and self._output is None:
            return
        content = {"text/plain": told, "text/html": f'<pre style="white-space:pre-wrap">{escape(told)}</pre>'}
        if self._output is None:
            show: Any = import_module("IPython.display").display  # there is one where there are cells
            self._output = show(content, raw=True, display_id=True)
        else:
            self._output.update(content, raw=True)


class Display:
    """Rollouts, calls, tokens, mean reward and time left. `usage` tells what has been spent."""

    def __init__(self, usage: Callable[[], Usage], *, quiet: bool = False) -> None:
        self._usage = usage
        self._console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True, emoji=False)
        self._cell = _Cell() if self._console.is_jupyter and not quiet else None
        off = quiet or not self._console.is_terminal
        self._bar = _Bar(console=self._console, disable=off, transient=True)
        self._stage = self._bar.add_task("", visible=False, figures="", total=None)
        self._name, self._rollouts, self._groups = "", 0, 0
        self._done, self._distilled, self._rewards, self._scored = 0, 0, 0.0, 0
        self._started = self._printed = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._bar.disable:  # before 14.3 rich ended a line that was never begun
            self._bar.stop()
        if self._cell:
            self._cell.show()

    def stage(self, name: str, rollouts: int, groups: int = 0) -> None:
        """A stage of that many rollouts begins, and of that many groups to be distilled."""
        self._name, self._rollouts, self._groups = name, rollouts, groups
        self._done, self._distilled, self._rewards, self._scored = 0, 0, 0.0, 0
        self._started = self._printed = time.monotonic()
        self._bar.reset(self._stage, description=name, total=rollouts + groups, visible=True, figures=self._figures())

    def landed(self, rollout: Rollout) -> None:
        """Count one rollout."""
        self._done += 1
        if rollout.reward is not None:
            self._rewards += rollout.reward
            self._scored += 1
        self._show()

    def distilled(self, group: Group) -> None:
        """Count one group; it may have taken as long as many rollouts."""
        self._distilled += 1
        self._show()

    def step(self, summary: StepSummary) -> None:
        """Nothing: a note tells it in words."""

    def _show(self) -> None:
        finished, total = self._done + self._distilled, self._rollouts + self._groups
        self._bar.update(self._stage, completed=finished, figures=self._figures())
        now = time.monotonic()
        if self._bar.disable and now - self._printed >= (_CELL_SECONDS if self._cell else _PLAIN_SECONDS):
            self._printed = now
            left = (now - self._started) / finished * (total - finished)
            told = f", about {left:.0f} s left" if _is_enough(finished, total) else ""
            self._print(f"{self._name}: {self._done}/{self._rollouts} rollouts, {self._figures()}{told}")

    def _print(self, line: str) -> None:
        if self._cell:
            self._cell.show(line)
        else:
            self._console.print(line, markup=False)

    def note(self, line: str) -> None:
        """Print one line above the bar; what upstreams and models said in it cannot reach the terminal as commands."""
        if self._cell:
            self._cell.note(shortened(line, _NOTE))
        else:
            self._console.print(shortened(line, _NOTE), markup=False)

    def _figures(self) -> str:
        spent = self._usage()
        mean = f"{self._rewards / self._scored:.2f}" if self._scored else "-"
        groups = f"{self._distilled}/{self._groups} groups distilled, " if self._groups else ""
        return f"{groups}{counted(spent.calls, 'call')}, {spent.tokens:,} tokens, mean reward {mean}"
