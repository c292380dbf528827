"""What the gate did is kept as it happened, once, and trials are counted over the life of a validation set."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.store.by_hand import tamper
from tfgrpo.errors import StoreError
from tfgrpo.records import Experience, Frame, Prior, Run, Task
from tfgrpo.store import Store, StorePath
from tfgrpo.trials import GateTrial, Pass, TrialOutcome, task_set_id

TASKS = tuple(Task(f"message {number}", "x") for number in range(6))
IDS = tuple(sorted(task.id for task in TASKS))
CANDIDATES = tuple(Prior((Experience(f"When in case {number}, ask."),)) for number in range(4))
RUNS = tuple(Run("learn", "math", Frame("m"), {"seed": number}, (TASKS[0].id,), "exact") for number in range(4))
FIRST, SECOND = Pass(1, 0.2, dict.fromkeys(IDS[:5], (1.0, 0.25)), 0.7), Pass(2, 0.25, {IDS[0]: (None, 0.0)}, 0.7)
OUTCOME = TrialOutcome("promoted", "the mean effect over these 5 tasks", 2, 41.5, 0.3, 0.1, 0.5, 4, 1)


def wanted(number: int = 0, tasks: tuple[str, ...] = IDS[:5], namespace: str = "math") -> GateTrial:
    return GateTrial(namespace, tasks, RUNS[number].id, CANDIDATES[number].id, None, 0.05, 32, 7)


def _tasks(ids: tuple[str, ...]) -> list[Task]:
    return [task for task in TASKS if task.id in ids]


@pytest.fixture
def store(place: StorePath) -> Iterator[Store]:
    with Store(place) as opened:
        opened.add_tasks(TASKS)
        for run, candidate in zip(RUNS, CANDIDATES, strict=True):
            opened.begin(run)
            opened.add_prior(candidate)
        yield opened


def test_a_trial_is_there_before_its_first_pass_and_comes_back_as_it_was_begun(store: Store) -> None:
    begun = store.begin_trial(wanted())
    assert (begun.number, begun.level, begun.passes, begun.outcome) == (1, 0.025, (), None)
    assert begun.task_set == task_set_id(reversed(IDS[:5]))
    assert store.begin_trial(replace(wanted(), alpha=0.5)) == begun
    assert store.trials("math") == (begun,)
    assert store.trials("other") == ()


def test_passes_and_the_outcome_are_appended_once(store: Store) -> None:
    begun = store.begin_trial(wanted())
    store.add_pass(begun, FIRST)
    store.add_pass(begun, replace(FIRST, log_e=-3.0))
    store.add_pass(begun, SECOND)
    store.end_trial(begun, OUTCOME)
    store.end_trial(begun, replace(OUTCOME, verdict="rejected"))
    assert store.begin_trial(wanted()) == replace(begun, passes=(FIRST, SECOND), outcome=OUTCOME)
    assert store.trials(run=RUNS[0].id) == store.trials()
    assert store.verify() == ()


def test_trials_count_over_the_life_of_a_namespace_and_a_validation_set(store: Store) -> None:
    numbers = [store.begin_trial(wanted(number)).number for number in range(3)]
    assert numbers == [1, 2, 3]
    assert store.next_trial("math", _tasks(IDS[:5])) == 4
    assert store.next_trial("other", _tasks(IDS[:5])) == 1


def test_a_set_that_shares_a_task_is_the_same_set_to_the_count(store: Store) -> None:
    """Else a task more in the file would give all of alpha anew."""
    store.begin_trial(wanted(0))
    assert store.next_trial("math", _tasks(IDS)) == 2
    assert store.next_trial("math", _tasks(IDS[4:])) == 2
    assert store.next_trial("math", _tasks(IDS[5:])) == 1
    assert [store.begin_trial(wanted(1, IDS)).number, store.next_trial("math", _tasks(IDS[:5]))] == [2, 3]


def test_a_set_that_asks_the_same_in_other_words_of_the_answer_is_the_same_set_to_the_count(store: Store) -> None:
    """A new column, or another spelling of an answer, makes other tasks, and must not give alpha anew."""
    store.begin_trial(wanted(0))
    asked_again = [replace(task, answer=["x"], metadata={"level": 1}) for task in TASKS]
    store.add_tasks(asked_again)
    assert not {task.id for task in asked_again} & set(IDS)
    assert store.next_trial("math", asked_again) == 2
    assert store.begin_trial(wanted(1, tuple(sorted(task.id for task in asked_again)))).number == 2
    assert store.next_trial("math", [Task("something else", "x")]) == 1


def test_what_a_pass_and_a_verdict_have_to_remember_comes_back(store: Store) -> None:
    terms = replace(wanted(), claim="tasks-like-these", statistic="likelihood")
    begun = store.begin_trial(terms)
    assert (begun.claim, begun.statistic) == ("tasks-like-these", "likelihood")
    made = replace(FIRST, gains={IDS[0]: -0.25}, answers={IDS[0]: ("yes", "text_1")}, failed=(2, 1))
    store.add_pass(begun, made)
    ended = replace(OUTCOME, failed=(2, 1), labels={"recalls": {"x": [0.5, 0.25]}})
    store.end_trial(begun, ended)
    (found,) = store.trials("math")
    assert (found.passes, found.outcome) == ((made,), ended)


def test_the_gate_of_a_run_that_has_none_cannot_go_on(store: Store) -> None:
    assert store.trials(run=RUNS[0].id) == ()
    with pytest.raises(StoreError, match="has not begun"):
        store.add_pass(wanted(), FIRST)
    with pytest.raises(StoreError, match="has not begun"):
        store.end_trial(wanted(), OUTCOME)


def test_held_out_tasks_are_known_by_namespace_and_purpose(store: Store) -> None:
    for run in RUNS[:2]:
        store.hold_out(run.id, "validation", reversed(IDS[:3]))
    store.hold_out(RUNS[2].id, "validation", IDS[3:])
    store.hold_out(RUNS[0].id, "test", IDS[3:])
    store.hold_out(RUNS[0].id, "test", IDS[4:])
    assert store.held_out("math", "validation") == {task_set_id(IDS[:3]): IDS[:3], task_set_id(IDS[3:]): IDS[3:]}
    assert store.held_out("math", "test") == {task_set_id(IDS[3:]): IDS[3:]}
    assert store.held_out("other", "test") == {}


def test_each_opening_of_a_test_set_is_remembered(store: Store) -> None:
    test = store.hold_out(RUNS[0].id, "test", IDS[3:])
    for run in RUNS[1:3]:
        store.open_test(run.id, test, 3)
        store.open_test(run.id, test, 2)
    assert [(entry.run, entry.task_set, entry.tasks) for entry in store.openings("math")] == [
        (RUNS[1].id, test, 3),
        (RUNS[2].id, test, 3),
    ]
    assert all(entry.at for entry in store.openings("math"))
    assert store.openings("other") == ()


def test_verify_finds_a_set_that_lost_a_task(store: Store) -> None:
    begun = store.begin_trial(wanted())
    store.close()
    tamper(store, f"DELETE FROM task_sets WHERE task = '{IDS[0]}'")
    with Store(store.path) as again:
        assert again.verify() == (f"task set {begun.task_set}: tasks were added to it, or taken out",)
