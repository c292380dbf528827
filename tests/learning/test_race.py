"""What the distiller writes before the first step: instructions that race, and texts that are on trial at once."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.routing import TASKS, TOPICS, plan, run, simulated, upstream
from tfgrpo.errors import UpstreamError
from tfgrpo.experiences.variants import PROPOSERS
from tfgrpo.learning.result import LearningResult
from tfgrpo.learning.run import carry_out
from tfgrpo.observer import Silent
from tfgrpo.records import ChatBody, Demonstration, Frame, Run, Variant, message_text
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.testing import Answer, Script, ScriptedModel

SETTINGS = Settings(steps=2, group_size=6, token_prior=False, demonstrations=False, rest_tasks=False)
INSTRUCTION = "Name what the message is about: one label, lower case, with nothing around it."
TEXT = "When a message is long, look at its last word."


def obedient(body: ChatBody) -> str:
    """Answers right where the instruction is there, and writes it when asked; proposes nothing from rollouts."""
    said = "\n".join(message_text(message) for message in body["messages"])
    if "<tasks>" in said:
        written = json.dumps([{"operation": "ADD", "text": TEXT}])
        return written if "Answer with a JSON list" in said else INSTRUCTION
    if "<attempts>" in said:
        return "[]"
    right = next((label for topic, label in TOPICS.items() if topic in said), "billing")
    return right if INSTRUCTION in said or body["seed"] % 5 == 0 else "The message"


def broken(body: ChatBody) -> str | Answer:
    said = "\n".join(message_text(message) for message in body["messages"])
    return Answer("busy", status=422) if "<tasks>" in said else obedient(body)


async def test_an_instruction_that_works_wins_the_race(tmp_path: Path) -> None:
    learned = await run(ScriptedModel(obedient), tmp_path / "t.db", SETTINGS)
    assert learned.prior.instruction == INSTRUCTION
    assert "written 1" in [arm["source"] for arm in learned.race[0]["arms"]]


async def test_texts_from_the_tasks_alone_are_on_trial_from_the_first_step(tmp_path: Path) -> None:
    learned = await run(ScriptedModel(obedient), tmp_path / "t.db", SETTINGS)
    with Store(tmp_path / "t.db") as store:
        (status,) = store.experiences("default")
        shown = [rollout for group in store.groups(learned.run.id) if group.step == 0 for rollout in group.rollouts]
        spent = store.spent_by_stage(learned.run.id)
    assert (status.experience.text, status.experience.origin.step) == (TEXT, 0)
    assert status.experience.origin.tasks == tuple(task.id for task in TASKS)
    assert 0 < sum(status.experience.id in rollout.included for rollout in shown) < len(shown)
    assert (spent["written"].calls, spent["instruction"].calls) == (1, 2)


async def test_what_could_not_be_written_is_said_and_costs_no_rollout(tmp_path: Path) -> None:
    learned = await run(ScriptedModel(broken), tmp_path / "t.db", SETTINGS)
    assert sum("race: an instruction is left out" in note for note in learned.notes) == 2
    assert any("nothing is on trial in the first step" in note for note in learned.notes)
    assert len(learned.steps) == 2


async def test_what_was_seen_of_an_environment_races_where_an_exploration_has_added_it(tmp_path: Path) -> None:
    seen = Variant(demonstrations=(Demonstration("what follows?", "that", "task_x"),), nearest=1, source="1 seen")
    with Store(tmp_path / "t.db") as store:
        store.add_tasks(TASKS)
        explored, _ = store.begin(Run("explore", "default", Frame("fake"), {}, (TASKS[0].id,), "none"), fresh=True)
        store.add_variants(explored.id, [(seen, 9)])
    without = await run(ScriptedModel(obedient), tmp_path / "t.db", SETTINGS)
    learned = await run(ScriptedModel(obedient), tmp_path / "t.db", replace(SETTINGS, demonstrations=True, steps=1))
    sources = [{arm["source"] for arm in one.race[0]["arms"]} for one in (without, learned)]
    assert ["1 seen" in found for found in sources] == [False, True]


def unable(examples: Sequence[Demonstration], settings: Settings) -> Iterator[Variant]:
    yield Variant("Say it in one word.", source="half of what it proposes")
    raise LookupError("no idea")


async def test_a_proposer_that_raises_is_said_and_costs_no_rollout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfgrpo.learning.race.PROPOSERS", (unable, *PROPOSERS))
    learned = await run(ScriptedModel(obedient), tmp_path / "t.db", SETTINGS)
    assert "race: what unable would propose is left out: LookupError: no idea" in learned.notes
    assert {arm["source"] for arm in learned.race[0]["arms"]} == {"frozen", "written 1"}
    assert len(learned.steps) == 2


@pytest.fixture(scope="module", params=[obedient, broken])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Script, LearningResult]:
    """What answers, and what a run comes to that nothing interrupts."""
    path = tmp_path_factory.mktemp("whole") / "t.db"
    return request.param, asyncio.run(run(ScriptedModel(request.param), path, SETTINGS))


@pytest.mark.parametrize("calls", [9, 40, 100])
async def test_a_resumed_run_has_what_was_written(
    tmp_path: Path, written: tuple[Script, LearningResult], calls: int
) -> None:
    model, whole = written
    count = [0]

    def cut(body: ChatBody) -> str | Answer:
        count[0] += 1
        return model(body) if count[0] <= calls else Answer("no", status=401)

    with pytest.raises(UpstreamError):
        await run(ScriptedModel(cut), tmp_path / "cut.db", SETTINGS)
    resumed = await run(ScriptedModel(obedient), tmp_path / "cut.db", SETTINGS)
    if calls > 9:
        assert (resumed.prior.id, resumed.race, resumed.fates) == (whole.prior.id, whole.race, whole.fates)


async def test_ways_to_prompt_race_as_each_would_be_with_a_token_prior_of_its_own(tmp_path: Path) -> None:
    """The SIMULATED policy knows every label and mostly starts to talk; examples make it talk less, and know less."""
    learned = await run(simulated(), tmp_path / "t.db", Settings(steps=2, group_size=8, experiences=False))
    assert learned.candidate and learned.token_prior
    assert learned.token_prior["choice"]["scope"] == "winner"
    assert {entry.piece.decode() for entry in learned.candidate.biases} == {"billing", "technical", "sales"}
    first = learned.race[-1]["arms"][0]
    assert (first["source"], learned.candidate.demonstrations) == ("frozen", ())
    assert first["reward"] > learned.steps[0].mean_reward + 0.3


async def test_where_no_token_prior_can_act_labels_are_said_in_words_and_that_races(tmp_path: Path) -> None:
    """A model that says billing too often until it is told so; it refuses biases, and gives no log-probabilities."""

    def leaning(body: ChatBody) -> str | Answer:
        if "logit_bias" in body:
            return Answer("logit_bias is not supported", status=400, param="logit_bias")
        said = "\n".join(message_text(message) for message in body["messages"])
        last = message_text(body["messages"][-1])
        right = next((label for topic, label in TOPICS.items() if topic in last), "billing")
        return right if "billing is rarer than it seems" in said or body["seed"] % 3 == 0 else "billing"

    labelled = Frame("fake", "Route it.", labels=("billing", "technical", "sales"))
    settings = Settings(steps=2, group_size=6, experiences=False, rest_tasks=False)
    with Store(tmp_path / "t.db") as store:
        async with upstream(ScriptedModel(leaning), store) as calls:
            learned = await carry_out(replace(plan(settings), frame=labelled), store, calls, Silent())
    assert learned.prior.instruction
    assert learned.prior.instruction.startswith("Answer with one of: billing, technical, sales; say nothing else.")
    assert "labels in words" in [arm["source"] for arm in learned.race[-1]["arms"]]
