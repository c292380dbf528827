"""The arm of random training examples: as long as the learned prior, balanced, and none where none can be shown."""

import asyncio
from pathlib import Path

import pytest

from tests.evaluation.test_arms import EXACT, LEARNED, Notes
from tests.evaluation.test_measure import SOURCES, measured
from tfgrpo.evaluation.few_shot_arm import USUAL_SHOTS, few_shot_prior
from tfgrpo.experiences.variants import example
from tfgrpo.records import Demonstration, Experience, Prior, Task, TokenBias
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.surfaces.chat import prior_tokens, token_estimate

TASKS = tuple(Task(f"message {n}", ("billing", "sales", "technical")[n % 3]) for n in range(30))


def of(learned: Prior, tasks: tuple[Task, ...] = TASKS, seed: int = 0) -> Prior | str:
    return asyncio.run(few_shot_prior(tasks, learned, EXACT, Settings(), seed=seed, count=token_estimate))


@pytest.mark.parametrize("words", [10, 60, 200, 5_000])
def test_it_takes_no_more_tokens_than_the_learned_prior_and_as_many_as_fit(words: int) -> None:
    learned = Prior((Experience("word " * words),))
    found, most = of(learned), prior_tokens(learned, token_estimate)
    assert isinstance(found, Prior)
    assert prior_tokens(found, token_estimate) <= most
    assert prior_tokens(found, token_estimate) > most - 40 or len(found.demonstrations) == len(TASKS)


def test_answers_take_turns_and_another_seed_draws_others() -> None:
    found, other = of(Prior()), of(Prior(), seed=1)
    assert isinstance(found, Prior) and isinstance(other, Prior)
    answers = [entry.answer for entry in found.demonstrations]
    assert {answers.count(answer) for answer in set(answers)} <= {2, 3}
    assert found.id != other.id


def test_where_the_learned_prior_adds_no_tokens_there_are_a_few() -> None:
    found = of(Prior(biases=(TokenBias(7, b"billing", 1.0, 3.0, 4),), tokenizer="words"))
    assert isinstance(found, Prior)
    assert len(found.demonstrations) == USUAL_SHOTS
    assert not found.biases


def test_why_there_is_none_is_said() -> None:
    assert of(Prior(), (Task("message"),)) == "no training task has an answer that earns the full reward as it stands"
    long = tuple(Task("message " * 200 + str(n), "billing") for n in range(3))
    assert "not even one training example fits into the" in str(of(LEARNED, long))


async def test_it_is_measured_beside_the_others_on_tasks_that_it_does_not_show(tmp_path: Path) -> None:
    shown = tuple(example(task) for task in SOURCES)
    learned = Prior(demonstrations=tuple(entry for entry in shown if isinstance(entry, Demonstration)))
    found = await measured(tmp_path / "t.db", learned, shown=SOURCES)
    assert list(found.means) == ["frozen", "few-shot", "learned"]
    assert list(found.differences) == ["learned - frozen", "learned - few-shot", "few-shot - frozen"]
    first = found.rollouts["few-shot"][0]
    assert [message["role"] for message in first.messages[:3]] == ["system", "user", "assistant"]
    with Store(tmp_path / "t.db") as store:
        (entry,) = store.runs()
        assert entry.run.settings["few_shot"] == [task.id for task in SOURCES]


async def test_without_examples_the_arm_is_left_out_and_it_is_said(tmp_path: Path) -> None:
    observer = Notes()
    found = await measured(tmp_path / "t.db", LEARNED, observer=observer, shown=(Task("no answer"),))
    assert list(found.means) == ["frozen", "learned"]
    assert "the arm `few-shot` is left out: no training task has an answer" in observer.notes[0]
