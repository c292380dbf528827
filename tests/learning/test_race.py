"""What the distiller writes before the first step: instructions that race, and texts that are on trial at once."""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.routing import TASKS, TOPICS, plan, run, simulated, upstream
from tfgrpo.errors import StoreError, UpstreamError
from tfgrpo.experiences.variants import FOLLOWERS, PROPOSERS, RaceSoFar, proposed
from tfgrpo.learning.result import LearningResult
from tfgrpo.learning.run import carry_out
from tfgrpo.observer import Silent
from tfgrpo.priors.importing import import_prior
from tfgrpo.priors.portable import Portable
from tfgrpo.priors.serving import roll_back, use
from tfgrpo.prompts import template
from tfgrpo.records import ChatBody, Decision, Demonstration, Experience, Frame, Prior, Run, Variant, message_text
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.surfaces.chat import prior_tokens, token_count
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


async def test_one_example_makes_no_set_which_is_said(tmp_path: Path) -> None:
    settings = replace(SETTINGS, demonstrations=True, steps=1)
    with Store(tmp_path / "t.db") as store:
        async with upstream(ScriptedModel(obedient), store, settings) as calls:
            learned = await carry_out(plan(settings, TASKS[:1]), store, calls, Silent())
    assert "race: one example makes no set, for no task is shown its own" in learned.notes


def unable(known: RaceSoFar) -> Iterator[Variant]:
    yield Variant("Say it in one word.", source="half of what it proposes")
    raise LookupError("no idea")


async def unable_later(known: RaceSoFar) -> list[Variant]:
    assert known.groups, "the first step is over"
    raise LookupError("no idea of that either")


async def slow(known: RaceSoFar) -> list[Variant]:
    await asyncio.sleep(0)
    return [Variant("Name the queue.", source="thought about")]


async def test_a_proposer_that_raises_is_said_and_costs_no_rollout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfgrpo.learning.race.PROPOSERS", (unable, slow, *PROPOSERS))
    monkeypatch.setattr("tfgrpo.learning.race.FOLLOWERS", (unable_later, *FOLLOWERS))
    monkeypatch.setattr("tfgrpo.store.Store.explored_variants", broken_store)
    learned = await run(ScriptedModel(obedient), tmp_path / "t.db", replace(SETTINGS, demonstrations=True))
    assert [note for note in learned.notes if "would propose is left out" in note] == [
        "race: what unable would propose is left out: LookupError: no idea",
        "race: what explored would propose is left out: ValueError: not a variant",
        "race: what unable_later would propose is left out: LookupError: no idea of that either",
    ]
    sources = {arm["source"] for arm in learned.race[0]["arms"]}
    assert {"frozen", "written 1", "thought about"} <= sources
    assert "half of what it proposes" not in sources
    assert len(learned.steps) == 2


def broken_store(store: Store, run: str) -> Variant:
    raise ValueError("not a variant")


async def test_a_proposer_whose_store_or_upstream_is_gone_ends_the_run() -> None:
    for gone in (StoreError("the disk is full"), UpstreamError("no such model")):

        def lost(known: RaceSoFar, gone: Exception = gone) -> list[Variant]:
            raise gone

        with pytest.raises(type(gone)):
            await proposed((lost,), RaceSoFar((), SETTINGS), print)


@pytest.fixture(scope="module", params=[obedient, broken])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Script, LearningResult]:
    """What answers, and what a run comes to that nothing interrupts."""
    path = tmp_path_factory.mktemp("whole") / "t.db"
    return request.param, asyncio.run(run(ScriptedModel(request.param), path, SETTINGS))


@pytest.mark.parametrize("calls", [4, 9, 40, 100])
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
    later = model if calls == 4 else obedient  # by then all is written, or noted as failed
    resumed = await run(ScriptedModel(later), tmp_path / "cut.db", SETTINGS)
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


HELPFUL = "When a message names an invoice, look for the sum in it before you say anything at all about it."


def shown_much(body: ChatBody) -> str:
    """A SIMULATED policy that is right more often with each example, and with what it writes of the tasks."""
    said = "\n".join(message_text(message) for message in body["messages"])
    if "<tasks>" in said or "<attempts>" in said:
        return json.dumps([{"operation": "ADD", "text": HELPFUL}]) if "<attempts>" not in said else "[]"
    shots = sum(message["role"] == "assistant" for message in body["messages"])
    last = message_text(body["messages"][-1])
    right = next((label for topic, label in TOPICS.items() if topic in last), "billing")
    return right if body.get("seed", 0) % 100 < 15 + 10 * min(shots, 4) + 40 * (HELPFUL in said) else "The message"


@pytest.mark.parametrize("most", [100, 400])
async def test_a_prior_says_no_more_than_its_tokens_with_what_won_the_race(tmp_path: Path, most: int) -> None:
    settings = Settings(steps=3, token_prior=False, rest_tasks=False, prior_tokens=most)
    learned = await run(ScriptedModel(shown_much), tmp_path / "t.db", settings)
    assert learned.fates["kept"] == 1
    assert learned.prior.demonstrations
    assert prior_tokens(learned.prior, token_count(None)) <= most
    left_out = any(note.startswith("1 kept experience left out: with what won the race") for note in learned.notes)
    assert (len(learned.prior.experiences), left_out) == ((0, True) if most == 100 else (1, False))


IMPORTED_TEXT = "When a message names a thing, answer with one word of three."


def knowing(body: ChatBody) -> str:
    """A SIMULATED policy that is right wherever it is told what was imported, or in one of five answers."""
    said = "\n".join(message_text(message) for message in body["messages"])
    if "<tasks>" in said or "<attempts>" in said:
        return "[]"
    right = next((label for topic, label in TOPICS.items() if topic in said), "billing")
    return right if IMPORTED_TEXT in said or body["seed"] % 5 == 0 else "The message"


def taken_in(path: Path, *priors: Prior) -> None:
    """Import priors into the namespace."""
    with Store(path) as store:
        for prior in priors:
            import_prior(store, "default", Portable(prior, Frame("elsewhere"), "math"), by="ann", source="a file")
            time.sleep(0.002)


@pytest.mark.parametrize("form", ["instruction", "experience"])
async def test_what_was_imported_races_and_wins_where_it_is_the_best(tmp_path: Path, form: str) -> None:
    best = Prior(instruction=IMPORTED_TEXT) if form == "instruction" else Prior((Experience(IMPORTED_TEXT),))
    taken_in(tmp_path / "t.db", Prior(instruction="Say nothing but what you were asked for."), best)
    learned = await run(ScriptedModel(knowing), tmp_path / "t.db", SETTINGS)
    (winner,) = [arm for arm in learned.race[-1]["arms"] if arm["arm"] == learned.race[-1]["winner"]["arm"]]
    assert winner["source"] == "imported"
    assert 0.9 < winner["reward"] <= 1
    assert {arm["source"] for arm in learned.race[0]["arms"]} == {"frozen", "imported", "imported, 2 back"}
    assert (learned.prior.instruction, learned.prior.experiences) == (best.instruction, best.experiences)


async def test_what_is_live_was_rejected_or_says_nothing_does_not_race_as_imported(tmp_path: Path) -> None:
    live, rejected, silent = Prior(instruction=INSTRUCTION), Prior(instruction="Say it in French."), Prior()
    taken_in(tmp_path / "t.db", live, rejected, silent)
    with Store(tmp_path / "t.db") as store:
        use(store, "default", live.id, by="ann", why="good")
        store.set_state("default", rejected.id, "rejected", frame=Frame("fake"), why="worse")
    learned = await run(ScriptedModel(obedient), tmp_path / "t.db", SETTINGS)
    sources = {arm["source"] for arm in learned.race[0]["arms"]}
    assert not any("imported" in source for source in sources)
    assert "written 1" in sources, "which says what the live prior does"


async def test_a_resumed_run_races_what_had_been_imported_and_was_live_when_it_began(tmp_path: Path) -> None:
    def before(path: Path) -> None:
        taken_in(path, Prior(instruction="Be of help."), Prior(instruction=IMPORTED_TEXT))
        with Store(path) as store:
            use(store, "default", Prior(instruction="Be of help.").id, by="ann", why="good")

    before(tmp_path / "whole.db")
    before(tmp_path / "cut.db")
    whole, count = await run(ScriptedModel(knowing), tmp_path / "whole.db", SETTINGS), [0]

    def cut(body: ChatBody) -> str | Answer:
        count[0] += 1
        return knowing(body) if count[0] <= 40 else Answer("no", status=401)

    with pytest.raises(UpstreamError):
        await run(ScriptedModel(cut), tmp_path / "cut.db", SETTINGS)
    later = Prior(instruction="Say it in French.")
    taken_in(tmp_path / "cut.db", later)
    with Store(tmp_path / "cut.db") as store:
        use(store, "default", later.id, by="ann", why="better")
    resumed = await run(ScriptedModel(knowing), tmp_path / "cut.db", SETTINGS)
    assert (resumed.prior.id, resumed.race) == (whole.prior.id, whole.race)
    assert {"live", "imported"} <= {arm["source"] for arm in resumed.race[0]["arms"]}


async def test_an_imported_experience_that_a_person_retires_meanwhile_is_not_served(tmp_path: Path) -> None:
    taken_in(tmp_path / "t.db", Prior((Experience(IMPORTED_TEXT), Experience("When it is late, be short."))))
    count = [0]

    def overseen(body: ChatBody) -> str:
        count[0] += 1
        if count[0] == 60:
            with Store(tmp_path / "t.db") as store:
                store.add_decisions("default", [Decision(Experience(IMPORTED_TEXT).id, "retired", "no", by="ann")])
        return knowing(body)

    learned = await run(ScriptedModel(overseen), tmp_path / "t.db", SETTINGS)
    assert IMPORTED_TEXT not in [one.text for one in learned.prior.experiences]
    assert learned.race[-1]["winner"]["arm"] == next(
        arm["arm"] for arm in learned.race[-1]["arms"] if arm["source"] == "imported"
    )


def helped(body: ChatBody) -> str:
    """A SIMULATED policy that is right wherever it is told what is live when the run begins."""
    said = "\n".join(message_text(message) for message in body["messages"])
    return knowing({**body, "messages": [{"role": "user", "content": said.replace("Be of help.", IMPORTED_TEXT)}]})


@pytest.mark.parametrize("by", ["person", "another prior"])
async def test_what_was_live_wins_no_race_for_nothing_where_it_is_live_no_longer(tmp_path: Path, by: str) -> None:
    live, count = Prior(instruction="Be of help.", template=template("prior").version), [0]
    taken_in(tmp_path / "t.db", live)
    with Store(tmp_path / "t.db") as store:
        use(store, "default", live.id, by="ann", why="good")

    def cut(body: ChatBody) -> str | Answer:
        count[0] += 1
        return helped(body) if count[0] <= 40 else Answer("no", status=401)

    with pytest.raises(UpstreamError):
        await run(ScriptedModel(cut), tmp_path / "t.db", SETTINGS)
    other = Prior(instruction="Say it in French.")
    taken_in(tmp_path / "t.db", *([other] if by == "another prior" else []))
    with Store(tmp_path / "t.db") as store:
        if by == "person":
            roll_back(store, "default", by="ann", why="it hurts")
        else:
            use(store, "default", other.id, by="ann", why="new")
    learned = await run(ScriptedModel(helped), tmp_path / "t.db", SETTINGS)
    assert learned.candidate is not None
    assert learned.candidate.instruction == live.instruction
    assert learned.promotion is not None
    assert learned.promotion.state == ("rejected" if by == "person" else "ungated")
    assert (learned.prior.instruction == live.instruction) is (by == "another prior")
