"""Results as a notebook shows them: all that a person wants to know, and nothing of others that could do anything."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.tables import each
from tfgrpo.evaluation.arms import Evaluation
from tfgrpo.evaluation.difference import Difference
from tfgrpo.gate.promote import Promotion
from tfgrpo.learning.result import LearningResult
from tfgrpo.observer import StepSummary
from tfgrpo.records import (
    JSON,
    Demonstration,
    Experience,
    Frame,
    Prior,
    PriorState,
    Run,
    TokenBias,
    Usage,
)
from tfgrpo.report.notebook import evaluation_html, learning_html
from tfgrpo.report.results import EvaluationRun, LearningRun

EVIL = "<script>alert(1)</script>&\"'\u202e"
RUN = Run("learn", "default", Frame("fake"), {}, (), "exact")
PRIOR = Prior(
    experiences=(Experience(f"When asked, {EVIL}."),),
    biases=tuple(TokenBias(number, f"w{number}{EVIL}".encode(), number / 10, 2.0, 3) for number in range(1, 13)),
    tokenizer="words",
    instruction=EVIL,
    demonstrations=(Demonstration(f"an invoice {EVIL}", "billing"),),
    nearest=1,
    embedding=EVIL,
)


def row(source: str, reward: float, left: bool) -> JSON:
    return {"arm": source, "source": source, "reward": reward, "best": 0.5, "rollouts": 9, "tokens": 7, "left": left}


RACE = (
    {"step": 0, "arms": [row("frozen", 0.2, False), row("4 examples", 0.1, True), row(EVIL, 0.3, False)]},
    {"step": 1, "arms": [row(EVIL, 0.5, False), row("frozen", 0.4, False)]},
)


def result(state: PriorState | None, why: str = EVIL, rewards: tuple[float, ...] = (0.25, 0.5)) -> LearningResult:
    steps = tuple(StepSummary(n, reward, {"mixed": 3}, 0, 0, ()) for n, reward in enumerate(rewards))
    promotion = Promotion(state, why) if state else None
    candidate = PRIOR if state else None
    changed = state in ("live", "ungated")
    return LearningResult(
        RUN, False, PRIOR if changed else Prior(), changed, steps, {}, Usage(1_234, 5, 6), (), candidate, promotion,
        race=RACE,
    )  # fmt: skip


def evaluation(tasks: int = 12) -> Evaluation:
    return Evaluation(
        tasks, 4, {"frozen": 0.25, "learned": 0.75}, {"frozen": 0.5, "learned": 1.0},
        {"learned - frozen": Difference(0.5, 0.25, 0.75, 8, 1, 3)}, EVIL, 0.333, 0, 2, EVIL, {"frozen": 2},
    )  # fmt: skip


class Parsed(HTMLParser):
    """The tags of a page in order, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.tags, self.text = list[str](), set[str](), ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.open.append(tag)
        assert not any(name.startswith("on") or name in ("src", "href") for name, _ in attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


@pytest.mark.parametrize("page", [learning_html(result("live")), evaluation_html(evaluation())])
def test_what_is_shown_is_whole_needs_nothing_else_and_runs_nothing(page: str) -> None:
    parsed = Parsed(page)
    assert parsed.open == []
    assert not parsed.tags & {"script", "img", "link", "style", "iframe"}
    assert "alert(1)" in parsed.text
    if "demonstration" in parsed.text:
        assert "one embeddings call for each new text" in parsed.text
    assert "\u202e" not in page


@each(
    ("state", "title"),
    [
        ("live", f"{PRIOR.id} is live"),
        ("ungated", f"{PRIOR.id} is live, ungated"),
        ("rejected", f"{PRIOR.id} was rejected"),
        ("candidate", f"{PRIOR.id} is a candidate"),
        (None, "Nothing new was learned"),
    ],
)
def test_a_learning_says_first_what_became_of_it(state: PriorState | None, title: str) -> None:
    text = Parsed(learning_html(result(state, "for a reason"))).text
    assert text.startswith(f"{title}\n{'for a reason' if state else 'nothing was learned that evidence supports'}\n")
    assert "1,234 calls, 11 tokens" in text
    assert "mean reward by step: 25.0% → 50.0%" in text


def test_the_race_is_shown_as_it_stood_last_with_those_that_left_below() -> None:
    text = Parsed(learning_html(result("live"))).text
    assert "way to prompt\nreward\nP(best)\nrollouts\ntokens\nleft after\n" in text
    assert "frozen\n40.0%\n50.0%\n9\n7\n4 examples\n10.0%\n50.0%\n9\n7\nstep 1\n" in text
    assert text.index("50.0%\n50.0%\n9") < text.index("frozen\n40.0%")


def test_the_prior_is_shown_with_its_strongest_tokens() -> None:
    text = Parsed(learning_html(result("live"))).text
    for words in (
        "1 experience\n",
        "1 demonstration, chosen by ",
        "12 token biases\n",
        "and 2 more\n",
        "→ billing",
        "+1.20",
    ):
        assert words in text
    assert len(re.findall(r"\+0\.[12]0", text)) == 0


def test_one_step_has_no_curve_and_no_step_has_no_figures() -> None:
    assert "<svg" not in learning_html(result("live", rewards=(0.25,)))
    assert "mean reward by step" not in learning_html(result(None, rewards=()))


def test_arms_are_compared_with_intervals_where_there_are_tasks_enough() -> None:
    text = Parsed(evaluation_html(evaluation())).text
    assert "12 tasks, 4 rollouts of each under each arm" in text
    assert "learned\n75.0%\n100.0%" in text
    assert "learned - frozen\n+50.0\n+25.0 to +75.0\n8 / 1 / 3" in text
    assert "2 rollouts failed (a reward of 0 for what failed by itself: frozen 2), 0 tasks left out: " in text
    assert "too few tasks\n" in Parsed(evaluation_html(evaluation(4))).text


def test_results_are_told_in_a_line() -> None:
    learned = LearningRun.of(result("live"), Path("t.db"))
    assert repr(learned) == (
        f"<LearningRun {RUN.id}: live, {PRIOR.id} (1 experience, 12 token biases), mean reward 25.0% -> 50.0%>"
    )
    assert repr(LearningRun.of(result(None, rewards=()), Path("t.db"))).endswith("mean reward ->")
    assert learned._repr_html_() == learning_html(result("live"))
    measured = EvaluationRun.of(evaluation(), PRIOR)
    gain = "frozen 25.0%, learned 75.0%; +50.0 points, 95% interval +25.0 to +75.0"
    failed = "2 rollouts failed (a reward of 0 for what failed by itself: frozen 2), 0 tasks left out"
    assert repr(measured) == f"<EvaluationRun {PRIOR.id} on 12 tasks: {gain}; {failed}>"
    assert measured._repr_html_() == evaluation_html(evaluation())


@pytest.mark.parametrize(
    ("found", "promoted", "why"),
    [
        (result("live", "it is better"), True, "it is better"),
        (result("ungated", "no gate"), False, "no gate"),
        (result(None), False, "nothing was learned that evidence supports"),
        (result(None, rewards=()), False, "nothing was learned yet"),
    ],
)
def test_a_result_says_whether_it_was_promoted_and_why(found: LearningResult, promoted: bool, why: str) -> None:
    assert (found.promoted, found.why) == (promoted, why)
