"""The distiller rests after so many unusable answers in a step, whatever the order in which groups land."""

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.routing import HARM, NOISE, TASKS, distilling, run
from tfgrpo.learning.experiences import RESTS_AFTER, Rest
from tfgrpo.learning.result import LearningResult
from tfgrpo.records import ChatBody, message_text
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel

NAMES = [f"task_{number}" for number in range(20)]
ASKING = ("instruction", "written", "contrast", "answer", "summarise", "merge")
SETTINGS = Settings(steps=2, group_size=4, token_prior=False, demonstrations=False, rest_tasks=False)


async def asked(fails: set[str], seed: int, tries: int) -> list[str]:
    """The tasks that the distiller is asked about where those of `fails` fail with all their tries, landing in a random
    order."""
    rest, chance, found = Rest(tries), random.Random(seed), list[str]()
    rest.expect(0, NAMES[:12])

    async def landed(task: str, wait: int) -> None:
        for _ in range(wait):
            await asyncio.sleep(0)
        if allowed := await rest.allows(task):
            found.append(task)
        rest.ended(task, tries if allowed and task in fails else 0)

    for names in (NAMES[:12], NAMES[12:]):
        if names[0] != NAMES[0]:
            rest.expect(0, names)
        await asyncio.gather(*(landed(task, chance.randrange(30)) for task in names))
    return sorted(found, key=NAMES.index)


@pytest.mark.parametrize("tries", [1, 3])
@pytest.mark.parametrize("fails", [set(), set(NAMES), set(NAMES[::2]), set(NAMES[3:7]), set(NAMES[10:16])])
async def test_who_is_left_out_does_not_depend_on_who_lands_first(fails: set[str], tries: int) -> None:
    before = [tries * sum(one in fails for one in NAMES[: (place + 1) // 2]) for place in range(len(NAMES))]
    wanted = [task for task, failed in zip(NAMES, before, strict=True) if failed < RESTS_AFTER]
    for seed in range(10):
        assert await asked(fails, seed, tries) == wanted


async def test_a_new_step_is_a_new_chance_and_giving_up_lets_nothing_wait() -> None:
    rest = Rest(1, before=1)
    rest.expect(0, NAMES)
    for name in NAMES[: RESTS_AFTER - 1]:
        rest.ended(name, 1)
    assert await rest.allows(NAMES[RESTS_AFTER])
    assert not await rest.allows(NAMES[2 * RESTS_AFTER - 3]), "those that it looks at, and one before the step"
    rest.expect(1, NAMES)
    assert await rest.allows(NAMES[2 * RESTS_AFTER - 2])
    rest.give_up()
    assert not await rest.allows(NAMES[-1])


def mute(body: ChatBody) -> str | Answer:
    texts = "\n".join(message_text(message) for message in body["messages"])
    return "I think it went well." if "<attempts>" in texts else distilling({})(body)


async def test_nine_groups_of_a_good_distiller_are_asked_about_at_once_and_ever_more() -> None:
    rest = Rest(1)
    rest.expect(0, NAMES)
    turns = [asyncio.ensure_future(rest.allows(name)) for name in NAMES]
    await asyncio.sleep(0)
    assert sum(turn.done() for turn in turns) == 9
    for name in NAMES[:2]:
        rest.ended(name, 0)
    await asyncio.sleep(0)
    assert sum(turn.done() for turn in turns) == 13
    rest.give_up()
    await asyncio.gather(*turns)


def echoing(body: ChatBody) -> str | Answer:
    """SIMULATED: says what the task says, in the form that is asked for."""
    texts = "\n".join(message_text(message) for message in body["messages"])
    if "<attempts>" not in texts:
        return distilling({})(body)
    return json.dumps([{"operation": "ADD", "text": "First say in a few general words what such a task is about."}])


def silent(body: ChatBody) -> str | Answer:
    """SIMULATED: answers tasks, and whoever asks it for a text gets another useless one each time."""
    texts = "\n".join(message_text(message) for message in body["messages"])
    return f"No. {len(texts)}" if any(tag in texts for tag in ("<attempts>", "<tasks>")) else distilling({})(body)


@pytest.mark.parametrize(("distiller", "race"), [(mute, True), (echoing, True), (silent, True), (silent, False)])
async def test_a_distiller_of_no_use_is_asked_a_dozen_times_a_step_at_most(
    tmp_path: Path, distiller: Callable[[ChatBody], str | Answer], race: bool
) -> None:
    learned = await run(ScriptedModel(distiller), tmp_path / "t.db", replace(SETTINGS, race=race))
    with Store(tmp_path / "t.db") as store:
        calls = sum(spent.calls for stage, spent in store.spent_by_stage(learned.run.id).items() if stage in ASKING)
    assert RESTS_AFTER * SETTINGS.steps <= calls <= 22, "twelve in the first step, of which nine before it; then ten"
    (note,) = (line for line in learned.notes if "step 2: after 5 unusable answers the distiller rested" in line)
    assert "more group" in note
    assert any("step 1: after 5" in line for line in learned.notes)


async def test_what_was_asked_in_vain_before_the_first_step_counts_in_it(tmp_path: Path) -> None:
    learned = await run(ScriptedModel(silent), tmp_path / "t.db", SETTINGS)
    first, second = (len(step.undistilled) for step in learned.steps)
    assert first == 1 < second, "two instructions and the texts from the tasks had come to nothing"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> LearningResult:
    """What a run comes to that nothing interrupts."""
    return asyncio.run(run(ScriptedModel(mute), tmp_path_factory.mktemp("whole") / "t.db", SETTINGS))


@pytest.mark.parametrize("calls", [30, 60, 75, 100])
async def test_a_resumed_run_rests_where_it_rested(tmp_path: Path, whole: LearningResult, calls: int) -> None:
    count = [0]

    def cut(body: ChatBody) -> str | Answer:
        count[0] += 1
        return mute(body) if count[0] <= calls else Answer("no", status=401)

    with pytest.raises(Exception, match="401"):
        await run(ScriptedModel(cut), tmp_path / "cut.db", SETTINGS)
    resumed = await run(ScriptedModel(mute), tmp_path / "cut.db", SETTINGS)
    assert (resumed.prior.id, resumed.fates, resumed.steps) == (whole.prior.id, whole.fates, whole.steps)
    assert len(TASKS) > RESTS_AFTER


async def test_what_waits_is_tried_in_the_same_run_when_a_place_becomes_free(tmp_path: Path) -> None:
    harmful = {HARM: -0.3, NOISE: -0.3}
    few = Settings(steps=4, group_size=6, trial_experiences=1, proposals=2, token_prior=False, race=False)
    await run(ScriptedModel(distilling(harmful, base=0.6)), tmp_path / "t.db", few)
    with Store(tmp_path / "t.db") as store:
        verdicts = [
            [decision.verdict for _, decision in store.history("default", status.experience.id).decisions]
            for status in store.experiences("default")
        ]
    assert ["on trial", "retired"] in verdicts
    assert ["waiting", "on trial"] in [each[:2] for each in verdicts]
