"""What people see of a run: figures that add up, on stderr only, and no terminal commands of a model's."""

import builtins
import sys
from types import ModuleType

import click
import pytest

from tfgrpo import progress
from tfgrpo.observer import Observer, Silent
from tfgrpo.progress import Display
from tfgrpo.records import Group, Rollout, Task, Usage

SPENT = Usage(1200, 40_000, 5_678)
TASK = Task("?")


def rollout(reward: float | None) -> Rollout:
    return Rollout(TASK, 0, 0, "", reward=reward)


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(progress, "_PLAIN_SECONDS", 0.0)


def test_where_there_is_no_terminal_lines_tell_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(lambda: SPENT) as display:
        display.stage("learn", 4)
        for reward in (1.0, None, 0.5):
            display.landed(rollout(reward))
        display.stage("evaluate", 1)
        display.landed(rollout(None))
    out, err = capsys.readouterr()
    lines = [line.rpartition(", ")[0] for line in err.splitlines()]
    assert lines == [
        "learn: 1/4 rollouts, 1,200 calls, 45,678 tokens, mean reward 1.00",
        "learn: 2/4 rollouts, 1,200 calls, 45,678 tokens, mean reward 1.00",
        "learn: 3/4 rollouts, 1,200 calls, 45,678 tokens, mean reward 0.75",
        "evaluate: 1/1 rollouts, 1,200 calls, 45,678 tokens, mean reward -",
    ]
    assert err.splitlines()[-1].endswith(", about 0 s left")
    assert out == ""


def test_the_time_left_is_told_once_enough_is_done_to_tell_it(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(lambda: SPENT) as display:
        display.stage("learn", 240)
        for _ in range(17):
            display.landed(rollout(1.0))
    told = [" s left" in line for line in capsys.readouterr().err.splitlines()]
    assert told == [False] * 15 + [True] * 2


def test_on_a_terminal_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    told = []
    for done in (15, 16):
        with Display(lambda: SPENT) as display:
            display.stage("learn", 240)
            for number in range(done):
                monkeypatch.setattr(display._bar, "get_time", lambda now=number: 100.0 + now)
                display.landed(rollout(1.0))
        told.append(click.unstyle(capsys.readouterr().err).split("·")[-1])
    assert ["-:--:--" in line for line in told] == [True, False]


def test_groups_that_are_distilled_count_too(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(lambda: SPENT) as display:
        display.stage("learn", 1, groups=1)
        display.landed(rollout(1.0))
        display.distilled(Group(TASK, 0, ()))
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("learn: 1/1 rollouts, 1/1 groups distilled, 1,200 calls")


class ZMQInteractiveShell:
    """By the name of its shell a notebook is known; here it stands for all of IPython."""


class Cell:
    """What IPython shows of one output, as it was brought up to date."""

    def __init__(self) -> None:
        self.shown = list[dict[str, str]]()

    def display(self, content: dict[str, str], *, raw: bool, display_id: bool) -> "Cell":
        assert raw
        assert display_id
        assert not self.shown, "all stands in one output"
        self.update(content, raw=raw)
        return self

    def update(self, content: dict[str, str], *, raw: bool) -> None:
        self.shown.append(content)


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    """The output of a notebook's cell that this process runs in."""
    made, library = Cell(), ModuleType("IPython.display")
    vars(library)["display"] = made.display
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, library.__name__, library)
    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    monkeypatch.setattr(progress, "_CELL_SECONDS", 0.0)
    return made


def test_in_a_notebook_one_output_is_kept_up_to_date(cell: Cell, capsys: pytest.CaptureFixture[str]) -> None:
    with Display(lambda: SPENT) as display:
        display.note("a <b>note</b>")
        display.stage("learn", 2)
        display.landed(rollout(1.0))
        display.note("another")
        display.landed(rollout(0.0))
    so_far = "learn: {}/2 rollouts, 1,200 calls, 45,678 tokens, mean reward {}, about 0 s left"
    assert [content["text/plain"].splitlines() for content in cell.shown] == [
        ["a <b>note</b>"],
        ["a <b>note</b>", so_far.format(1, "1.00")],
        ["a <b>note</b>", "another"],
        ["a <b>note</b>", "another", so_far.format(2, "0.50")],
        ["a <b>note</b>", "another"],
    ]
    assert "a &lt;b&gt;note&lt;/b&gt;\nanother</pre>" in cell.shown[-1]["text/html"]
    assert capsys.readouterr() == ("", "")


def test_in_a_notebook_too_nothing_is_shown_of_what_is_quiet(cell: Cell) -> None:
    with Display(lambda: SPENT, quiet=True) as display:
        display.note("a note")
    with Display(lambda: SPENT):
        pass
    assert cell.shown == []


def test_lines_come_only_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_PLAIN_SECONDS", 3600.0)
    with Display(lambda: SPENT) as display:
        display.stage("learn", 1)
        display.landed(rollout(1.0))
    assert capsys.readouterr().err == ""


def test_on_a_terminal_one_line_is_redrawn(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    with Display(lambda: SPENT) as display:
        display.stage("learn", 4)
        display.landed(rollout(0.25))
        display.note("a note")
    out, err = capsys.readouterr()
    assert out == ""
    for words in ("learn", "1/4", "1,200 calls, 45,678 tokens, mean reward 0.25", "a note\n"):
        assert words in err
    assert "rollouts, " not in err  # the plain line's wording


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("no token prior: [bold]fake[/bold] [link=x]", "no token prior: [bold]fake[/bold] [link=x]"),
        ("said \x1b[2J\x1b]0;title\x07 and\r\nmore", "said \ufffd[2J\ufffd]0;title\ufffd and more"),
        ("long " * 1000, None),
    ],
)
def test_a_note_is_one_line_of_text(said: str, shown: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    with Display(lambda: SPENT) as display:
        display.note(said)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "\x1b" not in err
    assert err.strip() == shown or (shown is None and len(err) < 2_100)


def test_a_quiet_display_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    watch(Display(lambda: SPENT, quiet=True))
    watch(Silent())
    assert capsys.readouterr() == ("", "")


def watch(observer: Observer) -> None:
    observer.stage("learn", 1)
    observer.landed(rollout(1.0))
    observer.note("a note")


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_a_narrow_terminal_keeps_every_figure(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", columns)
    with Display(lambda: SPENT) as display:
        display.stage("gate, at most", 12_800, groups=40)
        display.landed(rollout(0.25))
    shown = click.unstyle(capsys.readouterr().err)
    assert max(len(line) for line in shown.replace("\r", "\n").splitlines()) <= int(columns)
    words = shown.split()
    for figure in ("0/40", "1/12840", "1,200", "45,678", "0.25", "left"):
        assert figure in words
