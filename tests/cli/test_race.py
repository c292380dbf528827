"""The race as `learn`, `runs show` and the page of a run show it."""

from collections.abc import Sequence
from pathlib import Path

from tests.cli.shell import FRAME, TASK, works
from tests.report.test_page import Page
from tfgrpo.cli.lines.race import race_lines
from tfgrpo.records import JSON, Run, Usage
from tfgrpo.report import gather_figures, render_page
from tfgrpo.store import Store

EVIL = "<script>\x1b[2J"


def row(source: str, reward: float, *, left: bool = False, tokens: int = 40) -> dict[str, JSON]:
    figures = {"reward": reward, "best": reward, "near": 0.5, "rollouts": 24, "mean": 0.0, "sd": 0.1}
    return {"arm": f"variant {source}", "source": source, "tokens": tokens, "left": left, **figures}


WON = {"arm": "variant 8 examples", "why": "expected reward 0.75"}
RACE: Sequence[dict[str, JSON]] = (
    {"step": 0, "arms": [row("8 examples", 0.5), row(EVIL, 0.25), row("4 examples", 0.125, left=True)]},
    {"step": 1, "arms": [row("8 examples", 0.75), row(EVIL, 0.5)], "winner": WON},
)


def test_a_race_is_told_in_a_few_lines() -> None:
    title, _, best, second, left, winner = race_lines(RACE)
    assert title == "race of 3 ways to prompt, after step 2:"
    assert best.split(maxsplit=4) == ["75.0%", "75%", "24", "40", "8 examples"]
    assert "\x1b" not in second
    assert left == "left after step 1: 4 examples (12.5%)"
    assert winner == "winner: 8 examples; expected reward 0.75"
    assert list(race_lines(())) == []


def test_the_page_and_runs_show_tell_the_race(folder: Path) -> None:
    with Store("tfgrpo.db") as store:
        store.add_tasks([TASK])
        run, _ = store.begin(Run("learn", "default", FRAME, {"seed": 0}, (TASK.id,), "exact"))
        store.end(run.id, "finished", Usage(), {"race": list(RACE), "tokens_a_call": 40})
        html = render_page(gather_figures(store, run.id))
    page = Page(html)
    assert "<script>" not in html
    assert page.numbers["race"][:5] == [1, 0.5, 0.5, 24, 40]
    assert "after step 1" in page.words["race"]
    assert "Won by 8 examples: expected reward 0.75" in page.words["page"]
    assert "what was learned adds 40 prompt tokens to a call" in page.words["page"]
    assert "winner: 8 examples" in works("runs", "show", run.id).stdout
