"""Tables: as wide as need be, and blocks where a terminal is too narrow for one."""

import click
import pytest

from tests.cli.shell import works
from tfgrpo.cli.lines.tables import print_table
from tfgrpo.records import Prior

COLUMNS = ("id", "fate", "effect", "text", "why")
ID = "exp_0123456789abcdef"
TEXT = "When a message is routed, answer with the label alone, and say nothing else at all."
ROW = (ID, "on trial", "+0.20 [+0.00, +0.40] n=9", TEXT, f"edited from {ID}")


def printed(columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of two rows on a terminal of so many columns."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    print_table(COLUMNS, [ROW, (ID, None, None, "Think.", None)])
    lines = [line.rstrip() for line in click.unstyle(capsys.readouterr().out).splitlines()]
    assert max(map(len, lines)) <= columns
    return lines


def test_on_a_wide_terminal_a_row_is_a_row(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(200, monkeypatch, capsys)
    assert len(lines) == 3
    assert lines[0].split() == list(COLUMNS)


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 120])
def test_ids_are_never_broken_and_no_text_is_lost(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(columns, monkeypatch, capsys)
    assert sum(line.count(ID) for line in lines) == 3
    shown = " ".join(lines).split()
    assert all(word in shown for word in TEXT.split())


def test_on_a_narrow_terminal_a_row_is_a_block(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(60, monkeypatch, capsys)
    assert lines[:3] == [f"id      {ID}", "fate    on trial", "effect  +0.20 [+0.00, +0.40] n=9"]
    assert lines[-3:] == [f"id      {ID}", "text    Think.", ""], "empty cells are left out"


def test_where_there_is_no_terminal_every_row_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    print_table(COLUMNS, [ROW])
    assert TEXT in capsys.readouterr().out.splitlines()[1]


@pytest.mark.parametrize("arguments", [("prior", "list"), ("experience", "list"), ("runs", "list")])
def test_the_lists_of_a_store_keep_their_ids_at_60_columns(
    arguments: tuple[str, ...], priors: tuple[Prior, Prior], monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = works(*arguments, "--json").stdout
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    shown = click.unstyle(works(*arguments).stdout)
    ids = {word.strip('",') for word in wide.split() if word.startswith(('"prior_', '"exp_', '"run_'))}
    listed = {found for found in ids if found in shown}
    assert {found.split("_")[0] for found in listed} >= {
        arguments[0].replace("experience", "exp").replace("runs", "run")
    }
    assert max(map(len, shown.splitlines())) <= 60
