"""Groups that could not be distilled, and rollouts that failed, when a run is resumed."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.inprocess import MemoryJournal
from tests.routing import ADVICE, HARM, TASKS, distilling, run
from tfgrpo.errors import ModelError, UpstreamError
from tfgrpo.experiences.step_notes import DistillerTry, StepNotes, TakenIn
from tfgrpo.learning.result import LearningResult
from tfgrpo.records import ChatBody, message_text
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.testing import Answer, Script, ScriptedModel

SETTINGS = Settings(steps=3, group_size=6, proposals=2, token_prior=False, demonstrations=False, rest_tasks=False)
PROSE = "I think it went well."


async def test_what_is_noted_is_found_again() -> None:
    journal = MemoryJournal()
    log, again = StepNotes(journal, "run_1"), StepNotes(journal, "run_1")
    assert await log.taken_in(0) is None
    first = await log.next_try(0, "task_1")
    assert first == DistillerTry(0, "task_1", 0)
    await log.fail(first, "prose")
    assert await again.failure(first) == "prose"
    assert await again.next_try(0, "task_1") == first.next == DistillerTry(0, "task_1", 1)
    assert await again.next_try(0, "task_2") == DistillerTry(0, "task_2", 0)
    what = TakenIn({"task_1": 0, "task_2": 3}, (DistillerTry(0, "task_9", 2),))
    await log.take_in(1, what)
    assert await again.taken_in(1) == await log.taken_in(1) == what


def is_distilling(body: ChatBody) -> bool:
    return "<attempts>" in "\n".join(message_text(message) for message in body["messages"])


def failing(script: Script, on: Callable[[str], bool], answer: str | Answer = PROSE) -> Script:
    """The script, but its distiller fails for what `on` says of the request's text."""

    def failed(body: ChatBody) -> str | Answer:
        text = "\n".join(message_text(message) for message in body["messages"])
        return answer if is_distilling(body) and on(text) else script(body)

    return failed


def cut(script: Script, calls: int) -> ScriptedModel:
    """The script until so many calls have been answered."""
    count = [0]

    def limited(body: ChatBody) -> str | Answer:
        count[0] += 1
        return script(body) if count[0] <= calls else Answer("no", status=401)

    return ScriptedModel(limited)


HONEST = distilling({ADVICE: 0.4, HARM: -0.3})
EVERY_STEP = 6 * len(TASKS)


async def cut_at(calls: int, script: Script, path: Path) -> None:
    with pytest.raises(UpstreamError):
        await run(cut(script, calls), path, SETTINGS)


async def whole_run(script: Script, path: Path) -> LearningResult:
    return await run(ScriptedModel(script), path, SETTINGS)


REFUSED = Answer("overloaded", status=422)


@pytest.fixture(scope="module")
def uncut(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Script, LearningResult]:
    """What answers, so that a third of the groups cannot be distilled, and what a run comes to that nothing cuts."""
    script = failing(HONEST, lambda text: "invoice" in text, request.param)
    return script, asyncio.run(whole_run(script, tmp_path_factory.mktemp("whole") / "t.db"))


@pytest.mark.parametrize(("uncut", "calls"), [(PROSE, 30), (PROSE, 190), (REFUSED, 110)], indirect=["uncut"])
async def test_a_deterministic_run_ends_as_if_it_had_not_been_cut(
    tmp_path: Path, uncut: tuple[Script, LearningResult], calls: int
) -> None:
    script, whole = uncut
    assert sum(len(step.undistilled) for step in whole.steps) > 0
    assert ADVICE in [experience.text for experience in whole.prior.experiences]
    await cut_at(calls, script, tmp_path / "cut.db")
    resumed = await whole_run(script, tmp_path / "cut.db")
    assert (resumed.prior.id, resumed.fates, resumed.steps) == (whole.prior.id, whole.fates, whole.steps)


async def test_a_group_that_failed_in_the_step_under_way_is_distilled_again_in_it(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    await cut_at(EVERY_STEP + 8, MUTE, path)
    with Store(path) as store:
        (entry,) = store.runs()
        noted = store.spent(entry.run.id).calls
    learned = await whole_run(HONEST, path)
    assert learned.resumed
    assert learned.usage.calls > noted
    assert learned.steps[0].undistilled == ()
    assert learned.steps[0].proposed > 0
    assert ADVICE in [experience.text for experience in learned.prior.experiences]


MUTE = failing(HONEST, lambda text: True)


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> LearningResult:
    """What a run comes to in which no group can be distilled."""
    return asyncio.run(whole_run(MUTE, tmp_path_factory.mktemp("mute") / "t.db"))


async def test_a_group_that_failed_in_an_earlier_step_is_distilled_again_in_the_first_new_one(
    tmp_path: Path, counted: LearningResult
) -> None:
    path = tmp_path / "t.db"
    first_step = sum(1 for _ in TASKS) * 6 + 2 * len(counted.steps[0].undistilled) + 5
    assert counted.steps[0].undistilled
    await cut_at(first_step + 20, MUTE, path)
    learned = await whole_run(HONEST, path)
    failed = len(learned.steps[0].undistilled)
    assert failed == len(counted.steps[0].undistilled), "that step is over"
    assert failed == 1, "what came to nothing before the step counts in it"
    assert "step 2: 1 group of earlier steps distilled again, 0 failed" in learned.notes
    with Store(path) as store:
        proposed = {status.experience.text: status.experience.origin for status in store.experiences("default")}
    assert proposed[ADVICE].step == 1


async def test_what_was_distilled_again_is_replayed_by_the_next_run_of_it(
    tmp_path: Path, counted: LearningResult
) -> None:
    path = tmp_path / "t.db"
    await cut_at(EVERY_STEP + 2 * len(counted.steps[0].undistilled) + 25, MUTE, path)
    half = failing(HONEST, lambda text: "offer" in text)
    await cut_at(2 * EVERY_STEP, half, path)
    model = ScriptedModel(HONEST)
    learned = await run(model, path, SETTINGS)
    assert learned.resumed
    with Store(path) as store:
        spent = store.spent(learned.run.id).calls
    again = await run(ScriptedModel(HONEST), path, SETTINGS)
    assert not again.resumed
    assert spent == learned.usage.calls
    assert any("distilled again" in note for note in learned.notes)


def flaky(broken: list[bool]) -> Script:
    """Some rollouts fail while it is broken."""

    def script(body: ChatBody) -> str | Answer:
        if broken[0] and not is_distilling(body) and int(body["seed"]) % 5 == 0:
            return Answer("content policy", status=422)
        return HONEST(body)

    return script


@pytest.mark.parametrize("calls", [60, 100, 200])
async def test_rollouts_that_failed_stay_failed_where_something_was_derived_from_them(
    tmp_path: Path, calls: int
) -> None:
    broken = [True]
    script = flaky(broken)
    path = tmp_path / "t.db"
    await cut_at(calls, script, path)
    with Store(path) as store:
        before = store.groups(store.runs()[0].run.id)
    broken[0] = False
    learned = await whole_run(script, path)
    with Store(path) as store:
        after = {(group.step, group.task.id): group for group in store.groups(learned.run.id)}
    taught = [group for group in before if len({rollout.reward for rollout in group.scored}) > 1]
    assert any(rollout.error for group in taught for rollout in group.rollouts)
    for group in taught:
        assert [one.error for one in after[group.step, group.task.id].rollouts] == [one.error for one in group.rollouts]


async def test_a_step_in_which_every_rollout_failed_is_made_again(tmp_path: Path) -> None:
    broken = [True]

    def script(body: ChatBody) -> str | Answer:
        return (
            Answer("content policy", status=422) if broken[0] and "message" in str(body["messages"]) else HONEST(body)
        )

    with pytest.raises(ModelError):
        await whole_run(script, tmp_path / "t.db")
    broken[0] = False
    assert (await whole_run(script, tmp_path / "t.db")).steps[0].failed == 0
