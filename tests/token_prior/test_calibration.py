"""A token prior for one way to prompt: what its tokens stand for, what it would earn, and where nothing can be told."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tfgrpo.records import Backend, Rollout, Task, TokenTrace
from tfgrpo.token_prior.calibration import ArmFit, Heats, branches, fitted_arm, options
from tfgrpo.token_prior.choice import folds

LABELS = ("keep", "drop", "ask")
PIECES = {0: b"keep", 1: b"drop", 2: b"ask", 3: b" Well", 4: b'{"label": "', 5: b"<end>"}
TASKS = tuple(Task(f"item {number}", LABELS[number % 3]) for number in range(24))


def logits(task: Task, lean: Sequence[float]) -> NDArray[np.float64]:
    """Of the three labels and of `Well`: the model knows the answer, and leans."""
    known = 2.0 * np.array([label == task.answer for label in LABELS])
    return np.asarray(np.array([*known, 1.0]) + np.array([*lean, 0.0]))


def sampled(
    lean: Sequence[float],
    *,
    arm: str = "a",
    each: int = 4,
    biases: Mapping[int, float] | None = None,
    temperature: float = 0.7,
    told_after: bool = False,
    begins: tuple[int, ...] = (),
) -> list[tuple[Rollout, Mapping[int, float]]]:
    """Rollouts of a SIMULATED policy at all tasks; `begins` are tokens that every answer begins with."""
    drawn, biases = np.random.default_rng(7), dict(biases or {})
    applied = np.array([biases.get(token, 0.0) for token in range(4)])
    made: list[tuple[Rollout, Mapping[int, float]]] = []
    for task in TASKS:
        plain = logits(task, lean)
        chances = np.exp((plain + applied) / temperature)
        told = (plain + applied) / temperature if told_after else plain
        told = told - np.logaddexp.reduce(told)
        for sample in range(each):
            token = int(drawn.choice(4, p=chances / chances.sum()))
            order = [token, *range(4)]
            before = [[first, *[-1] * 4] for first in begins]
            ids = np.array([*before, order, [5, *[-1] * 4]])
            logs = np.array([[0.0, *[-np.inf] * 4] for _ in before] + [list(told[order]), [0.0, *[-np.inf] * 4]])
            text = b"".join(PIECES[part] for part in (*begins, token)).decode()
            right = float(text.removeprefix('{"label": "') == task.answer)
            rollout = Rollout(task, 0, sample, "", text=text, reward=right, variant=arm)
            made.append((replace(rollout, trace=TokenTrace(ids, logs, PIECES)), biases))
    return made


def worth(text: str, task: Task) -> float:
    return float(text.removeprefix('{"label": "') == task.answer)


def fit(
    made: Sequence[tuple[Rollout, Mapping[int, float]]],
    backend: Backend | None = None,
    *,
    temperature: float = 0.7,
    production: float = 0.7,
    start: Mapping[int, float] | None = None,
    cap: float = 4.0,
) -> ArmFit | None:
    given = branches(made, backend or Backend(), temperature, start)
    meant = options(given, TASKS, worth)
    assert meant is not None
    parts = folds({task.id: task.answer for task in TASKS}, 0)
    return fitted_arm("a", given, meant, parts, Heats(temperature, production), cap=cap)


def earned(lean: Sequence[float], found: ArmFit, temperature: float) -> float:
    """What the policy really earns under the biases."""
    biases = {entry.token: entry.bias for entry in found.biases}
    moved = np.array([biases.get(token, 0.0) for token in range(4)])
    chances = [np.exp((logits(task, lean) + moved) / temperature) for task in TASKS]
    return float(
        np.mean([each[LABELS.index(str(task.answer))] / each.sum() for task, each in zip(TASKS, chances, strict=True)])
    )


@pytest.mark.parametrize("production", [0.7, 0.05])
def test_an_arm_that_leans_is_set_upright_and_valued_as_it_then_is(production: float) -> None:
    lean = (3.0, -1.0, 0.0)
    found = fit(sampled(lean), production=production)
    assert found and found.gain > 0.2
    moved = {entry.piece: entry.bias for entry in found.biases}
    assert moved[b"drop"] - moved[b"keep"] == pytest.approx(4.0, abs=0.8)
    assert moved[b"ask"] - moved[b"keep"] == pytest.approx(3.0, abs=0.8)
    assert np.mean(list(found.values.values())) == pytest.approx(earned(lean, found, production), abs=0.05)


def test_where_nothing_leans_and_labels_are_all_that_is_said_little_is_gained() -> None:
    found = fit(sampled((4.0, 4.0, 4.0)))
    assert found and abs(found.gain) < 0.02


def test_what_was_sampled_under_biases_and_told_with_them_gives_the_same_fit() -> None:
    lean, biases = (3.0, -1.0, 0.0), {0: -1.0, 1: 1.0}
    plain = fit(sampled(lean, biases=biases, temperature=1.0), temperature=1.0)
    told = sampled(lean, biases=biases, temperature=1.0, told_after=True)
    after = fit(told, Backend(includes_bias=True), temperature=1.0)
    assert plain and after
    assert [entry.bias for entry in after.biases] == pytest.approx([entry.bias for entry in plain.biases], abs=1e-3)


def test_answers_may_share_their_beginning() -> None:
    found = fit(sampled((3.0, -1.0, 0.0), begins=(4,)))
    assert found and {entry.piece for entry in found.biases} <= {b"keep", b"drop", b"ask"}
    assert found.gain > 0.2


def test_what_a_run_began_with_is_what_biases_are_added_to_and_must_gain_on() -> None:
    lean, upright = (3.0, -1.0, 0.0), {0: -3.0, 1: 1.0}
    made, whole = sampled(lean, biases=upright), fit(sampled(lean))
    found = fit(made, start=upright)
    assert found and whole and found.gain < whole.gain - 0.2
    alone, added = ({entry.token: entry.bias for entry in one.biases} for one in (whole, found))
    assert added[1] + 1.0 - (added[0] - 3.0) == pytest.approx(alone[1] - alone[0], abs=0.3)
    assert np.mean(list(found.values.values())) == pytest.approx(np.mean(list(whole.values.values())), abs=0.05)


def test_a_lean_so_strong_that_nearly_all_answers_are_one_label_is_no_beginning_that_they_share() -> None:
    cases: list[tuple[float, tuple[int, ...]]] = [(4.8, ()), (4.8, (4,)), (9.0, ())]
    for lean, begins in cases:
        made = sampled((lean, 0.5, 0.5), each=8, begins=begins)
        share = np.mean([one.text.endswith("keep") for one, _ in made])
        assert 0.95 < share < 1 or (lean == 9 and share == 1)
        found = fit(made)
        assert found and found.gain > 0.2
        assert [entry.piece for entry in found.biases if entry.bias < 0] == [b"keep"]


def test_labels_that_begin_alike_are_not_taken_for_worthless() -> None:
    """Where half of the labels begin with one token, pushing it down would cost what they earn."""
    names = {"ask": "keep on"}
    tasks = tuple(replace(task, answer=names.get(str(task.answer), task.answer)) for task in TASKS)
    drawn = np.random.default_rng(3)
    made = []
    for one, biases in sampled((0.0, 0.0, -4.0)):
        task = tasks[TASKS.index(one.task)]
        text = "keep on" if one.text == "keep" and drawn.random() < 0.5 else one.text
        made.append((replace(one, task=task, text=text, reward=float(text == task.answer)), biases))
    found = options(branches(made, Backend(), 0.7), tasks, lambda text, task: float(text == task.answer))
    assert found is not None
    kept = found.of_token[0]
    for task in tasks:
        assert (0 < found.rewards[task.id][kept] < 1) == (task.answer != "drop")


def test_what_is_claimed_is_what_biases_within_their_cap_earn() -> None:
    lean = (2.0, 2.0, -9.0)
    found = fit(sampled(lean))
    assert found and max(entry.bias for entry in found.biases) == 4.0
    assert np.mean(list(found.values.values())) == pytest.approx(earned(lean, found, 0.7), abs=0.02)


def test_what_is_not_listed_is_worth_nothing_and_is_not_forgotten() -> None:
    def without_talk(one: Rollout) -> Rollout:
        assert one.trace is not None
        logs = one.trace.logprobs.copy()
        logs[0, 1:][one.trace.ids[0, 1:] == 3] = -np.inf
        return replace(one, trace=replace(one.trace, logprobs=logs))

    whole = sampled((0.0, 0.0, 0.0), temperature=1.0)
    made = [(without_talk(one), biases) for one, biases in whole]
    given = branches(made, Backend(), 1.0)
    assert all(np.exp(one.tail[0] + one.tail[1]) == pytest.approx(1 - np.exp(one.logs).sum()) for one in given.made)
    fits = [fit(one, temperature=1.0) for one in (whole, made)]
    first, second = (np.mean(list(one.values.values())) for one in fits if one)
    assert second == pytest.approx(first, abs=0.01)


def test_many_different_answers_are_no_labels_and_cost_no_scoring() -> None:
    tasks = tuple(Task(f"item {number}", f"answer {number}") for number in range(60))
    made = [(replace(one, task=tasks[at % 60]), biases) for at, (one, biases) in enumerate(sampled((3.0, -1.0, 0.0)))]

    def asked(text: str, task: Task) -> float:
        raise AssertionError(f"{text!r} was scored for {task.id}")

    assert options(branches(made, Backend(), 0.7), tasks, asked) is None


def test_of_free_texts_and_of_few_tasks_nothing_is_told() -> None:
    made = sampled((3.0, -1.0, 0.0))
    free = [(replace(one, text=f"{one.text} {one.task.id}"), biases) for one, biases in made]
    assert options(branches(free, Backend(), 0.7), TASKS, worth) is None
    few = {task.id for task in TASKS[:7]}
    assert fit([(one, biases) for one, biases in made if one.task.id in few]) is None


def test_an_arm_that_earns_other_rewards_than_its_first_words_say_is_left_as_it_is() -> None:
    made = sampled((3.0, 1.0, 1.0))
    worthless = [(replace(one, reward=0.0), biases) for one, biases in made]
    assert fit(worthless) is None


def test_what_is_claimed_keeps_to_the_largest_bias_that_is_allowed() -> None:
    lean = (3.0, -1.0, 0.0)
    free, held = fit(sampled(lean)), fit(sampled(lean), cap=0.5)
    assert free and held
    assert max(abs(entry.bias) for entry in held.biases) <= 0.5
    assert held.gain < free.gain
