"""What a report says of a run is what the store holds."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests import stories
from tfgrpo.errors import StoreError
from tfgrpo.evaluation.difference import Difference
from tfgrpo.records import Decision, Frame, Prior, Run, RunStatus, Usage
from tfgrpo.report import Figures, gather_figures, verdict
from tfgrpo.report.gather import mean_over_tasks
from tfgrpo.store import Store
from tfgrpo.trials import Reached


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "tfgrpo.db") as opened:
        yield opened


async def told(store: Store) -> Figures:
    run, _ = await stories.tell(store)
    return gather_figures(store, run.id)


# Figures


async def test_each_step_has_the_mean_of_its_rewards_and_the_kinds_of_its_groups(store: Store) -> None:
    figures = await told(store)
    assert [(step.number, step.scored, step.failed) for step in figures.steps] == [(1, 17, 7), (2, 17, 7)]
    first, second = (step.reward for step in figures.steps)
    assert first and second
    assert (first.mean, second.mean) == (7 / 17, 10 / 17)
    assert first.low is not None and first.high is not None
    assert first.low < first.mean < first.high
    assert figures.steps[0].kinds == {"mixed": 3, "solved": 1, "hopeless": 1, "unscored": 1}


async def test_spend_adds_up_over_the_stages_in_the_order_they_began(store: Store) -> None:
    figures = await told(store)
    assert list(figures.stages) == ["probe", "rollout", "contrast"]
    assert sum(figures.stages.values(), Usage()) == figures.entry.run.usage == Usage(7, 700, 70)


async def test_experiences_come_with_their_last_effect_and_verdict_the_strongest_first(store: Store) -> None:
    figures = await told(store)
    assert [one.experience.text for one in figures.experiences] == [stories.HELPS, stories.HURTS]
    helps, hurts = figures.experiences
    assert helps.effect and hurts.effect
    assert (helps.effect.mean, hurts.effect.mean) == (0.12, -0.09)
    assert np.allclose(helps.interval or (), (0.12 - 1.96 * 0.03, 0.12 + 1.96 * 0.03), atol=1e-4)
    assert [one.decision.verdict for one in figures.experiences if one.decision] == ["kept", "retired"]
    assert (helps.in_prior, hurts.in_prior) == (True, False)


async def test_what_was_decided_after_the_run_stands_beside_its_verdict(store: Store) -> None:
    run, _ = await stories.tell(store)
    name = gather_figures(store, run.id).experiences[0].experience.id
    store.add_decisions("default", [Decision(name, "retired", "too slow", "ann")])
    helps = gather_figures(store, run.id).experiences[0]
    assert helps.decision and helps.since
    assert (helps.decision.verdict, helps.since.by) == ("kept", "ann")


async def test_refusals_for_one_reason_are_counted_together_whatever_they_name(store: Store) -> None:
    (refused,) = (await told(store)).refused
    assert (refused.why, refused.count) == ("it gives away the answer of a task", 2)
    assert set(refused.examples) == set(stories.LEAKS)


async def test_failed_rollouts_are_counted_by_their_error(store: Store) -> None:
    assert [(one.error, one.count) for one in (await told(store)).failures] == [("timed out", 14)]


async def test_the_prior_of_a_run_is_the_one_that_it_made_live(store: Store) -> None:
    run, prior = await stories.tell(store)
    figures = gather_figures(store, run.id)
    assert (figures.prior, figures.state) == (prior, "ungated")
    store.set_state("default", prior.id, "rolled back", frame=stories.FRAME, by="ann")
    assert gather_figures(store, run.id).state == "rolled back"


def test_the_interval_is_as_wide_as_the_tasks_differ_however_many_rollouts_there_are() -> None:
    counts = np.full(16, 1_000)
    same, apart = mean_over_tasks(counts * 0.5, counts), mean_over_tasks(np.array([0.0, 1_000.0] * 8), counts)
    assert (same.low, same.mean, same.high) == (0.5, 0.5, 0.5)
    assert apart.low is not None and apart.high is not None
    assert apart.high - apart.low == pytest.approx(2 * 1.96 * 0.5 / 4, rel=0.15)


def test_a_single_task_has_no_interval() -> None:
    assert mean_over_tasks(np.array([3.0]), np.array([4])).low is None


def test_an_unknown_run_says_where_runs_are_listed(store: Store) -> None:
    with pytest.raises(StoreError, match="no run run_nowhere in the store; `tfgrpo runs list`"):
        gather_figures(store, "run_nowhere")


# Verdicts


async def test_a_prior_that_no_gate_has_tested_is_called_so(store: Store) -> None:
    assert verdict(await told(store)).title == "Ungated: no test has passed it"


@pytest.mark.parametrize(
    ("status", "result", "title"),
    [
        ("failed", {"error": "401: no key"}, "Failed"),
        ("interrupted", {}, "Interrupted"),
        ("running", {}, "Running, or killed"),
        ("finished", {}, "Nothing was learned that evidence supports"),
    ],
)
async def test_a_run_that_made_nothing_says_why(
    store: Store, status: RunStatus, result: dict[str, str], title: str
) -> None:
    run = await stories.begin(store)
    if status != "running":
        store.end(run.id, status, store.spent(run.id), result)
    figures = gather_figures(store, run.id)
    assert verdict(figures).title == title
    assert verdict(figures).why.startswith(result.get("error", ""))
    assert figures.entry.run.usage == Usage(7, 700, 70)


def test_a_run_in_which_nothing_happened_has_empty_figures(store: Store) -> None:
    run, _ = store.begin(Run("learn", "default", Frame("m"), {}, (), "exact"))
    figures = gather_figures(store, run.id)
    assert (figures.steps, figures.experiences, figures.refused, figures.failures, figures.stages) == (
        (),
        (),
        (),
        (),
        {},
    )


@pytest.mark.parametrize(
    ("low", "high", "title"), [(0.02, 0.2, "Better"), (-0.1, 0.1, "No difference shown"), (-0.2, -0.02, "Worse")]
)
def test_an_evaluation_is_judged_by_its_interval(store: Store, low: float, high: float, title: str) -> None:
    store.add_prior(Prior())
    run = stories.evaluate(store, Prior())
    figures = gather_figures(store, run.id)
    assert figures.measured
    gain = Difference((low + high) / 2, low, high, 1, 1, 1)
    measured = replace(figures.measured, contrasts={"learned - frozen": gain})
    assert verdict(replace(figures, measured=measured)).title.startswith(title)


@pytest.mark.parametrize(
    ("reached", "title", "words"),
    [
        ("promoted", "Promoted: +9.8 points on these 5 validation tasks", ("e-value 51.9 after 3", "40 needed",
          "\N{MINUS SIGN}1.0 to +20.0", "carries over to other tasks is not shown")),
        ("rejected", "Not promoted: no gain was shown on these 5 validation tasks", ("What is live is as it was",)),
        (None, "Undecided: the gate was not finished", ("e-value 51.9 after 3 passes, 40 needed",)),
    ],
)  # fmt: skip
async def test_the_gate_has_the_first_word(
    store: Store, reached: Reached | None, title: str, words: tuple[str, ...]
) -> None:
    run, prior = await stories.tell(store)
    stories.validate(store, run, prior, (-0.5, 1.5, 3.95), reached)
    found = verdict(gather_figures(store, run.id))
    assert found.title == title
    assert all(word in found.why for word in words)


async def test_what_passed_the_gate_and_waits_is_not_called_promoted(store: Store) -> None:
    run = await stories.begin(store)
    prior = Prior(stories.learned_experiences(store, run))
    store.add_prior(prior)
    store.set_state(run.namespace, prior.id, "candidate", frame=stories.FRAME, run=run.id)
    stories.validate(store, run, prior, (-0.5, 1.5, 3.95), "promoted")
    store.end(run.id, "finished", store.spent(run.id), {})
    found = verdict(gather_figures(store, run.id))
    assert found.title == "Passed the gate, but is not live: +9.8 points on these 5 validation tasks"
    assert found.why.startswith("It was not tested against what is live now; e-value 51.9 after 3 passes")
    assert found.tone == "unsure"


@pytest.mark.parametrize(("tasks", "title"), [(4, "Too few tasks to tell"), (5, "Better than frozen")])
def test_an_interval_over_a_few_tasks_shows_nothing(store: Store, tasks: int, title: str) -> None:
    store.add_prior(Prior())
    figures = gather_figures(store, stories.evaluate(store, Prior()).id)
    assert figures.measured
    found = verdict(replace(figures, measured=replace(figures.measured, tasks=tasks)))
    assert found.title.startswith(title)
    assert ("95% interval" in found.why) == (tasks == 5)


async def test_an_evaluation_is_told_beside_an_ungated_prior(store: Store) -> None:
    run, prior = await stories.tell(store)
    stories.evaluate(store, prior)
    found = verdict(gather_figures(store, run.id))
    assert found.title == "Ungated: no test has passed it"
    assert "On 48 tasks that learning did not see it is +27.6 points from frozen" in found.why


async def test_an_evaluation_of_an_older_version_has_one_difference(store: Store) -> None:
    store.add_prior(Prior())
    run = stories.evaluate(store, Prior())
    result = {name: value for name, value in run.result.items() if name not in ("differences", "pass_at_k")}
    store.end(run.id, "finished", Usage(), result)
    measured = gather_figures(store, run.id).measured
    assert measured
    assert list(measured.contrasts) == ["learned - frozen"]
    assert measured.gain == Difference(**stories.CONTRASTS["learned - frozen"])


@pytest.mark.parametrize(
    ("result", "title", "why"),
    [
        ({"error": "the budget of 5 calls is used up"}, "Out of budget", "the budget of 5 calls is used up"),
        (
            {"ended": "the budget of 50 calls is used up: 1 of 2 steps were done"},
            "Out of budget. Ungated: no test has passed it",
            "the budget of 50 calls is used up: 1 of 2 steps were done. No gate",
        ),
    ],
)
async def test_what_a_budget_ended_is_no_success(store: Store, result: dict[str, str], title: str, why: str) -> None:
    run, _ = await stories.tell(store)
    store.end(run.id, "out of budget", Usage(), result)
    found = verdict(gather_figures(store, run.id))
    assert found.title == title
    assert found.why.startswith(why)


async def test_what_is_live_already_is_nothing_new(store: Store) -> None:
    run = await stories.begin(store)
    store.end(run.id, "finished", Usage(), {"candidate": "prior_1", "state": None})
    assert verdict(gather_figures(store, run.id)).title == "Nothing new: what was learned is live already"
