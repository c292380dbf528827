"""`tfgrpo explore` from the shell, on the store room and a SIMULATED model; and what cannot be explored is said."""

import asyncio
import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from benchmarks.early import ROOM, simulated
from benchmarks.early_worlds import tasks_of_room
from tests.cli.shell import one_line, tfgrpo, works
from tests.routing import served
from tfgrpo.cli.explore import _settings
from tfgrpo.learning.wanted_exploration import WantedExploration
from tfgrpo.model.endpoints import Endpoint, Endpoints
from tfgrpo.observer import Silent
from tfgrpo.records import Frame, Rollout
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.tasks.read import tasks_of
from tfgrpo.testing import ScriptedModel, StoreRoom

SMALL = ("--states", "2", "--alternatives", "2", "--turns", "6")
BROKEN = """
from dataclasses import replace
from tfgrpo.records import Observation
from tfgrpo.testing import StoreRoom

class Strict(StoreRoom):
    def step(self, action):
        return {"press": StoreRoom.step(self, action)}.get(action) or 1 / 0

class Silent(StoreRoom):
    def step(self, action):
        return replace(StoreRoom.step(self, action), reward=None)

class Lavish(StoreRoom):
    def step(self, action):
        return replace(StoreRoom.step(self, action), reward="much")

class Deaf:
    def reset(self, task):
        return Observation("You are here.")

class Over(StoreRoom):
    def reset(self, task):
        return replace(StoreRoom.reset(self, task), over=True)

def failing():
    raise OSError("no display")

class Dead(Deaf):
    def reset(self, task):
        raise OSError("no display")
    def step(self, action):
        return None
"""


@pytest.fixture
def at(folder: Path) -> tuple[str, ...]:
    lines = [{"input": task.prompt, **task.metadata} for task in tasks_of_room(16)]
    Path("tasks.jsonl").write_text("\n".join(map(json.dumps, lines)))
    Path("system.txt").write_text(ROOM.system)
    Path("worlds.py").write_text(BROKEN)
    return ("tasks.jsonl", "--model", "fake", "--system", "system.txt")


def test_what_is_kept_is_put_on_trial_under_a_persons_name_and_learned_from_by_the_agent_of_the_docs(
    at: tuple[str, ...],
) -> None:
    with served(ScriptedModel(simulated).app) as url:
        there = (*at, "--base-url", url, "--environment", "tfgrpo.testing:StoreRoom")
        found = json.loads(works("explore", *there, *SMALL, "--add", "--by", "Ada", "--json").stdout)
        page = (Path(__file__).parents[2] / "docs" / "neighbours.md").read_text()
        program = page.partition("```python\n# room_agent.py\n")[2].partition("```")[0]
        Path("room_agent.py").write_text(program)
        acting = ("--agent", "room_agent:act", "--reward", "room_agent:earned", "--model", "fake", "--base-url", url)
        tfgrpo("learn", at[0], *acting, "--steps", "1", "--group-size", "2", "--max-calls", "400")
    kept = {text["text"] for text in found["texts"] if text["kept"]}
    assert kept
    assert found["together"][0] > 0
    assert 0 < found["reward"] < 1
    acting = found["acting"]
    assert acting["kept"] == pytest.approx(acting["frozen"] + acting["gain"][0])
    assert acting["gain"][0] > 0
    with Store("tfgrpo.db") as store:
        offered = store.experiences("default")
        groups = store.groups(store.runs("default")[-1].run.id)
        ((raced, tokens),) = store.variants(store.runs("default")[0].run.id)
    shown = [one for one in found["seen"] if one["kept"]]
    assert sum(one["transitions"] for one in shown) == len(raced.demonstrations) > 0
    assert tokens > 0
    assert {status.experience.text for status in offered} <= kept
    made = [rollout for group in groups for rollout in group.rollouts]
    assert all(rollout.error is None for rollout in made)
    assert 0 < sum(rollout.reward or 0 for rollout in made) < len(made)
    assert {len(rollout.included) > 0 for rollout in made} == {True, False}, "what was explored is on trial"
    assert any("This is the state:" in str(rollout.messages) for rollout in made), "and races"
    assert {status.decision.by for status in offered if status.decision} >= {"Ada"}


def test_an_exploration_goes_on_where_it_ended_and_is_a_run_like_others(at: tuple[str, ...]) -> None:
    model = ScriptedModel(simulated)
    with served(model.app) as url:
        there = ("explore", *at, "--base-url", url, "--environment", "tfgrpo.testing:StoreRoom", *SMALL)
        assert tfgrpo(*there, "--max-calls", "100").exit_code == 3
        asked = len(model.requests)
        again = works(*there, "--json")
        made = len(model.requests) - asked
        anew = works(*there, "--fresh", "--json")
        assert len(model.requests) - asked - made >= made + 90
    assert "going on with run_" in again.stderr
    assert json.loads(again.stdout)["texts"] == json.loads(anew.stdout)["texts"]
    (first, second) = json.loads(works("runs", "list", "--json").stdout)
    assert {first["status"], second["status"]} == {"finished"}
    shown = works("runs", "show", first["id"]).stdout
    assert "(explore in default" in shown
    assert "help to predict what follows" in shown
    assert "Tasks that taught nothing earn " in shown
    assert works("report", first["id"], "--output", "page.html")


class Counting(Silent):
    """What is told of how far it is: by stage, how many rollouts there will be, and how many landed."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, list[str]]] = []

    def stage(self, name: str, rollouts: int, groups: int = 0) -> None:
        self.told.append((name, rollouts, []))

    def landed(self, rollout: Rollout) -> None:
        self.told[-1][2].append(rollout.task.id)


def test_how_far_it_is_is_told(at: tuple[str, ...]) -> None:
    watching, frame = Counting(), Frame("fake", ROOM.system)
    with served(ScriptedModel(simulated).app) as url, Store("t.db") as store:
        there, settings = Endpoints(Endpoint(url, "fake")), Settings()
        tasks = tasks_of(at[0]).tasks
        wanted = WantedExploration(tasks, "room", StoreRoom, frame, there, settings, turns=6, states=2, alternatives=2)
        asyncio.run(wanted.explored(store, "default", watch=lambda spent: nullcontext(watching)))
    assert [name for name, _, _ in watching.told] == ["explore", "predict", "judge", "hindsight", "act"]
    assert all(total == len(landed) for _, total, landed in watching.told)
    (_, explored, _), (_, predicted, _), (_, judged, _), _, (_, acted, _) = watching.told
    assert acted == 2 * 3 * 4  # with and without what is kept, three rollouts of the four tasks that judge
    assert explored == 16
    assert predicted > 16
    assert judged > 0


def test_the_embedded_model_has_one_conversation_at_a_time_and_short_proposals() -> None:
    local, elsewhere = (Endpoints(Endpoint(url, "m")) for url in ("local", "http://127.0.0.1:9/v1"))
    assert _settings(elsewhere, 3, None) == Settings(seed=3)
    assert _settings(elsewhere, 0, 5).concurrency == _settings(local, 0, 5).concurrency == 5
    assert _settings(local, 0, None).concurrency == 1
    assert _settings(local, 0, None).distiller_tokens == 128


def test_what_cannot_be_explored_is_one_line(at: tuple[str, ...]) -> None:
    few = Path("few.jsonl")
    few.write_text("".join(f"{line}\n" for line in Path("tasks.jsonl").read_text().splitlines()[:3]))
    with served(ScriptedModel(simulated).app) as url:
        there = (*at[1:], "--base-url", url)
        room = ("--environment", "tfgrpo.testing:StoreRoom")
        one_line(tfgrpo("explore", str(few), *there, *room), "3 tasks to explore from; there must be at least 12")
        one_line(tfgrpo("explore", at[0], *there, *room, "--states", "0"), "--states is 0; it must be at least 1")
        broke = tfgrpo("explore", at[0], *there, *room, "--max-calls", "20")
        told = broke.stderr.strip()
        assert broke.exit_code == 3
        assert "(20 spent) before all was explored, so no text was judged; what was done is kept" in told
        assert "a larger ceiling goes on from there" in told
        for name, words in (
            ("worlds", "it must be module:function"),
            ("worlds:None_", "has no None_"),
            ("worlds:Deaf", "makes Deaf, which has no step()"),
            ("worlds:failing", "--environment worlds:failing failed: OSError: no display"),
            ("worlds:Dead", "no transition was seen: the environment failed at reset(): OSError: no display"),
            ("worlds:Over", "no transition was seen: the environment is over at reset() of every task; give"),
        ):
            one_line(tfgrpo("explore", at[0], *there, "--environment", name), words)
        one_line(
            tfgrpo("explore", at[0], *there, *room, "--step-timeout", "0"), "--step-timeout is 0; it must be above"
        )
        strict = works("explore", at[0], *there, *SMALL, "--environment", "worlds:Strict").stdout
        silent = works("explore", at[0], *there, *SMALL, "--environment", "worlds:Silent").stdout
        lavish = tfgrpo("explore", at[0], *there, *SMALL, "--environment", "worlds:Lavish")
        one_line(lavish, "reward is None, or a number from 0 to 1, not 'much' (step(")
    assert "no observation carried a reward" in silent
    assert "reward of tasks" not in silent
    assert "points of agreement" in strict or "nothing is kept" in strict
    assert "no observation carried a reward" in strict
    assert "actions failed, the first one: the environment failed at step(" in strict
