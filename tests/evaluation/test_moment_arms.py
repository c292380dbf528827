"""What waits for its moment, beside the same always on and at random turns."""

import re
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from benchmarks.tool_errors import ADVICE, AGENT, policy, write_tasks
from tests.cli.shell import FRAME, TASK, one_line, tfgrpo, works
from tests.routing import served
from tfgrpo.errors import InputError
from tfgrpo.evaluation.moment_arms import moment_arms, moment_rates, worth_of_a_moment
from tfgrpo.records import Experience, Group, Message, Prior, Rollout, Run
from tfgrpo.report import render_page
from tfgrpo.report.gather import gather_figures
from tfgrpo.store import Store
from tfgrpo.surfaces.chat import with_prior
from tfgrpo.testing import ScriptedModel

WAITS = f"[on tool error] {ADVICE}"
PLAIN, ASKS = Experience("Answer in one word."), Experience("[on asks goods] Answer billing.")
FAILED: tuple[Message, ...] = (
    {"role": "user", "content": "go"},
    {"role": "assistant", "content": "I call it."},
    {"role": "tool", "content": "no such file"},
    {"role": "assistant", "content": "Done."},
)


def stored(store: Store, prior: Prior, messages: Sequence[Message]) -> str:
    """A prior that a run with one such rollout has learned; the run's id."""
    store.add_tasks([TASK])
    run, _ = store.begin(Run("learn", "default", FRAME, {"of": prior.id}, (TASK.id,), "exact"))
    store.add_group(run.id, Group(TASK, 0, (Rollout(TASK, 0, 0, "p", messages=tuple(messages), reward=1.0),)))
    store.add_prior(prior)
    store.set_state("default", prior.id, "ungated", frame=FRAME, run=run.id, why="learned")
    return run.id


def test_the_arms_say_the_same_always_and_at_random_turns_and_leave_the_rest_as_it_is() -> None:
    prior = Prior((PLAIN, Experience(WAITS), ASKS))
    arms = moment_arms(prior, {WAITS: 0.25})
    assert {arm: [one.text for one in made.experiences] for arm, made in arms.items()} == {
        "always on": [PLAIN.text, ADVICE, ASKS.text],
        "random timing": [PLAIN.text, f"[on chance 0.2500] {ADVICE}", ASKS.text],
        "half its moments": [PLAIN.text, f"[on half of tool error] {ADVICE}", ASKS.text],
    }
    assert moment_arms(prior, {}) == {}
    asked = [[{"role": "user", "content": f"go {number}"}] for number in range(400)]
    shown = [ADVICE in str(with_prior({"messages": one}, arms["random timing"])["messages"]) for one in asked]
    assert 70 < sum(shown) < 130
    assert shown == [ADVICE in str(with_prior({"messages": one}, arms["random timing"])["messages"]) for one in asked]


def test_what_a_moment_is_worth_is_found_in_rewards_that_say_so() -> None:
    """SIMULATED: a rollout earns .2, and .1 more for each of its moments at which the text was said."""
    draw, by_task = Random(0), dict[str, list[tuple[bool, float]]]()
    for task in range(200):
        said = [draw.random() < 0.5 for _ in range(draw.randrange(6))]
        by_task[str(task)] = [(one, 0.2 + 0.1 * sum(said)) for one in said]
    worth = worth_of_a_moment(by_task)
    assert worth is not None
    assert (worth.moments, worth.tasks) == (sum(map(len, by_task.values())), sum(map(bool, by_task.values())))
    assert worth.low < 0.1 < worth.high < 0.17
    assert worth.low > 0
    mean = sum(reward for of in by_task.values() for _, reward in of) / worth.moments
    tops = sum((said - 0.5) * (reward - mean) for of in by_task.values() for said, reward in of)
    assert worth.mean == pytest.approx(4 * tops / worth.moments)
    assert worth_of_a_moment({task: by_task[task] for task in "0123"}) is None


def test_a_rate_is_that_of_the_run_that_learned_the_prior_or_it_is_said_why_there_is_none(tmp_path: Path) -> None:
    waiting, none, never = Prior((Experience(WAITS),)), Prior((PLAIN, ASKS)), Prior((Experience("[on turn 9] Stop."),))
    with Store(tmp_path / "t.db") as store:
        run = stored(store, waiting, FAILED)
        rates, told = moment_rates(store, "default", waiting)
        assert rates == {WAITS: 0.5}
        assert told[0].endswith(f": it fires at 1 of 2 turns (50%) in {run}")
        stored(store, never, FAILED)
        for prior, said in (
            (none, "holds no text that waits for its moment; leave --moments out"),
            (never, "no random timing at the rate of what never came; .on turn 9. Stop.: it never fires"),
            (Prior((Experience("[on turn 1] Stop."),)), "no run of this store learned"),
        ):
            with pytest.raises(InputError, match=said):
                moment_rates(store, "default", prior)


def test_eval_measures_whether_the_moment_matters(folder: Path) -> None:
    with Store("tfgrpo.db") as store:
        stored(store, Prior((Experience(WAITS),)), FAILED)
    write_tasks("other", 2)
    asked = ("eval", "other.jsonl", "--model", "fake", "--agent", AGENT, "--repeat", "1", "--no-written")
    with served(ScriptedModel(policy).app) as url:
        found = works(*asked, "--no-few-shot", "--base-url", url, "--moments")
    for arm in ("frozen", "always on", "random timing", "half its moments", "learned"):
        assert re.search(rf"^ *{arm}  ", found.stdout, re.MULTILINE)
    assert "what a moment is worth is not told: too few tasks had one" in found.stdout
    assert "tokens a rollout: frozen " in found.stdout
    assert "its moment came at these shares of turns: frozen " in found.stdout
    assert re.search(r"what waits for it was said at: frozen 0%, always on 100%, random timing \d+%, ", found.stdout)
    with Store("tfgrpo.db") as store:
        run = store.runs()[-1].run
        shares, page = run.result["moments"], render_page(gather_figures(store, run.id))
    assert "what waits for it was said at: frozen 0%, always on 100%, " in works("runs", "show", run.id).stdout
    assert re.search(r"<b>Its moment</b> came .* frozen .* and .*>0\.0%.*, always on ", page)
    assert shares["learned"]["said"] == shares["learned"]["came"] > 0
    assert 0 <= shares["half its moments"]["said"] <= shares["half its moments"]["came"]
    assert shares["learned"]["came"] < 1
    assert shares["frozen"]["turns"] > 2
    assert 0 <= shares["random timing"]["said"] < 1
    assert "it fires at 1 of 2 turns (50%)" in found.stderr
    with Store("tfgrpo.db") as store:
        assert store.runs()[-1].run.settings["moments"] == {WAITS: 0.5}
        stored(store, Prior((PLAIN,)), FAILED)
    one_line(tfgrpo(*asked, "--moments"), "leave --moments out")
    one_line(tfgrpo(*asked, "--moments", "--surface", "decisions", "q.json"), "--moments goes with turns")
