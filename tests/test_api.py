"""Learning and measuring from Python, as scripts and notebooks do it."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import fields
from inspect import signature
from itertools import count
from pathlib import Path
from typing import Any, cast, get_type_hints

import pytest

import tfgrpo
from tests.routing import TOPICS, WORDS, talkative
from tfgrpo.api import aevaluate, alearn, evaluate, learn, open_store
from tfgrpo.errors import InputError, ModelError, StoreError, TfgrpoError
from tfgrpo.observer import Silent, StepSummary
from tfgrpo.options import LearnOptions, SettingOptions, wanted_learning
from tfgrpo.records import JSON, Prior, Rollout, Task
from tfgrpo.report.results import LearningRun
from tfgrpo.rollouts.rewards.reward import Reward
from tfgrpo.settings import Settings
from tfgrpo.tasks.read import TaskSource
from tfgrpo.testing import Answer, ScriptedModel, SimulatedPolicy, _Receive, _Scope, _Send, serving

DICTS = [
    {"input": f"message {number} about {topic}", "answer": label}
    for number, (topic, label) in enumerate(list(TOPICS.items()) * 4)
]
MORE = [{**task, "input": f"another {task['input']}"} for task in DICTS]


class Told(Silent):
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.rollouts, self.steps, self.notes = list[Rollout](), list[StepSummary](), list[str]()

    def landed(self, rollout: Rollout) -> None:
        self.rollouts.append(rollout)

    def step(self, summary: StepSummary) -> None:
        self.steps.append(summary)

    def note(self, line: str) -> None:
        self.notes.append(line)


def right(rollout: Rollout) -> float:
    return float(rollout.text == rollout.task.answer)


@pytest.fixture
def small(folder: Path, url: str) -> LearnOptions:
    """A quick learning on a simulated policy, in an empty folder; its prior goes live without a gate."""
    return {
        "model": "fake",
        "base_url": url,
        "gate": False,
        "race": False,
        "experiences": False,
        "steps": 2,
        "group_size": 6,
        "observer": Silent(),
    }


@pytest.fixture
def learned(small: LearnOptions) -> Iterator[LearningRun]:
    """What it came to."""
    yield learn(DICTS, **small)


def test_what_is_learned_is_live_and_its_rollouts_are_in_the_store(learned: LearningRun) -> None:
    assert learned.changed
    assert not learned.promoted
    assert learned.why == "learned; no gate has tested it"
    rollouts = learned.rollouts()
    assert len(rollouts) == 2 * 6 * len(DICTS)
    assert [one.step for one in rollouts] == sorted(one.step for one in rollouts)
    assert [one.sample for one in rollouts[:6]] == list(range(6))
    with open_store() as store:
        live = store.live("default")
        assert live is not None
        assert (live.prior, live.state) == (learned.prior, "ungated")


def test_what_the_gate_passes_is_promoted_and_says_why(small: LearnOptions) -> None:
    found = learn(DICTS, **(small | {"gate": True, "validation": MORE, "system": "Route it."}))
    assert found.promoted
    assert found.why.startswith("promoted: the mean effect over these 12 tasks, and over tasks like them, is above")
    assert repr(found).startswith(f"<LearningRun {found.run.id}: live, {found.prior.id} (0 experiences, ")


def test_dicts_tasks_and_files_are_the_same_tasks(folder: Path) -> None:
    import json

    (folder / "tasks.jsonl").write_text("\n".join(json.dumps(task) for task in DICTS))
    objects = [Task(task["input"], task["answer"]) for task in DICTS]
    sources: tuple[TaskSource, ...] = (
        DICTS,
        iter(DICTS),
        objects,
        [*objects[:3], *DICTS[3:]],
        "tasks.jsonl",
        folder / "tasks.jsonl",
    )
    plans = [wanted_learning(source, {"model": "fake", "gate": False}).prepared().plan for source in sources]
    assert all(plan.tasks == tuple(objects) for plan in plans)


async def test_it_is_awaited_or_waited_for_in_a_running_loop(small: LearnOptions) -> None:
    before = asyncio.get_running_loop()
    one = await alearn(DICTS, **small)
    other = learn(DICTS, **(small | {"namespace": "other"}))
    assert one.prior.id == other.prior.id
    assert asyncio.get_running_loop() is before
    assert (await aevaluate(MORE, base_url=small.get("base_url"), repeat=1, observer=Silent())).prior == one.prior


def fast(rollout: Rollout) -> tuple[float, str]:
    return right(rollout), f"said {rollout.text}"


async def slow(rollout: Rollout) -> tuple[float, str]:
    await asyncio.sleep(0)
    return fast(rollout)


@pytest.mark.parametrize("reward", [fast, slow])
def test_a_reward_is_any_function_and_its_feedback_is_kept(small: LearnOptions, reward: Reward) -> None:
    told = Told()
    found = learn(DICTS, **(small | {"reward": reward, "steps": 1, "observer": told}))
    assert found.run.reward == f"{__name__}:{reward.__name__}"  # pyrefly: ignore[missing-attribute]  # it is a function
    assert {one.feedback for one in told.rollouts} == {f"said {one.text}" for one in told.rollouts}
    assert {one.reward for one in told.rollouts} == {0.0, 1.0}


def test_an_observer_is_told_of_each_step(small: LearnOptions) -> None:
    told = Told()
    found = learn(DICTS, **(small | {"observer": told}))
    assert tuple(told.steps) == found.steps
    assert len(told.rollouts) == len(found.rollouts())


def test_without_an_observer_a_display_tells_how_it_goes(
    small: LearnOptions, capfd: pytest.CaptureFixture[str]
) -> None:
    learn([*DICTS, DICTS[0]], **(small | {"steps": 1, "observer": None}))
    out, err = capfd.readouterr()
    assert out == ""
    assert "tasks: 1 repeated task counted once" in err
    assert "step 1/1: mean reward" in err
    assert 'price unknown (price="IN/OUT" states it)' in err


def shout(client: Any, task: Task) -> str:
    said = client.chat.completions.create(model="default", messages=list(task.messages))
    return str(said.choices[0].message.content)


def test_an_agent_may_be_a_function(small: LearnOptions) -> None:
    few: LearnOptions = {"steps": 1, "group_size": 2, "agent": shout, "stop_hopeless": False}
    found = learn(DICTS[:4], **(small | few))
    assert found.run.settings["agent"] == f"{__name__}:shout"
    assert {one.text for one in found.rollouts()} <= set(WORDS)


def test_the_same_call_goes_on_where_a_ceiling_ended_it(small: LearnOptions, model: ScriptedModel) -> None:
    cut = learn(DICTS, **(small | {"max_calls": 100}))
    assert cut.ended is not None
    assert "the budget of 100 calls is used up" in cut.ended
    whole = learn(DICTS, **small)
    assert whole.resumed
    assert whole.run.id == cut.run.id
    assert whole.ended is None
    assert not learn(DICTS, **(small | {"fresh": True})).resumed


def test_a_live_prior_is_measured_by_default_and_any_other_by_name(small: LearnOptions, learned: LearningRun) -> None:
    found = evaluate(MORE, base_url=small.get("base_url"), observer=Silent())
    assert found.prior == learned.prior
    assert found.means["learned"] > found.means["frozen"]
    assert found.difference.low <= found.difference.mean <= found.difference.high
    assert repr(found).startswith(f"<EvaluationRun {learned.prior.id} on 12 tasks: frozen ")
    again = learn(MORE, **(small | {"seed": 1}))
    named: tuple[str | Prior, ...] = (learned.prior, learned.prior.id, learned.prior.id[:12])
    for prior in named:
        less = evaluate([{"input": "an offer"}], base_url=small.get("base_url"), prior=prior, reward=right, repeat=1)
        assert less.prior == learned.prior
    last = evaluate([{"input": "an offer"}], base_url=small.get("base_url"), prior="candidate", reward=right, repeat=1)
    assert last.prior == (again.candidate or again.prior)
    assert "too few tasks for an interval" in repr(last)


def test_a_report_is_written_where_it_is_asked_for(learned: LearningRun, folder: Path) -> None:
    written = learned.report("run.html")
    assert written == Path("run.html")
    assert learned.run.id in (folder / "run.html").read_text()
    with pytest.raises(InputError, match=r"^cannot write no/such/run\.html: "):
        learned.report("no/such/run.html")


def judged(rollout: Rollout) -> None:
    """Forgets its return."""


def wide(one: Rollout, other: Rollout) -> float:
    return 1.0


BAD: dict[str, tuple[JSON, dict[str, JSON], str]] = {
    "no model": (
        DICTS,
        {"model": None},
        'which model? Name it with model, or use base_url="local" for the embedded one',
    ),
    "no tasks": ([], {}, "tasks holds no tasks; one looks like {"),
    "no such file": ("nowhere.jsonl", {}, "cannot read tasks from nowhere.jsonl: No such file"),
    "a number": (7, {}, "tasks must be a path, gym:FAMILY, or a list of dicts or Tasks, and it is int"),
    "a text as an item": (["a"], {}, "tasks, item 1: expected an object with an input, read a"),
    "no input": ([*DICTS, {"words": "a"}], {}, "tasks, item 13: no input; name it input, "),
    "no answer": ([{"input": "a"}], {}, " has no answer, which reward exact needs"),
    "no JSON": ([{"input": "a", "answer": {1, 2}}], {}, "tasks, item 1: a value that JSON cannot carry"),
    "an unknown reward": (DICTS, {"reward": "exakt"}, "there is no reward 'exakt'; did you mean exact?"),
    "a number as reward": (DICTS, {"reward": 1}, "reward is not a function but int"),
    "a reward of two": (DICTS, {"reward": wide}, "reward: it must take one argument, the rollout"),
    "a missing folder": (DICTS, {"store": "no/such/t.db"}, "store no/such/t.db: there is no folder no/such"),
    "an unknown setting": (DICTS, {"stpes": 1}, "there is no option or setting 'stpes'; did you mean steps?"),
    "an unknown option": (DICTS, {"base_ulr": "x"}, "'base_ulr'; did you mean base_url?"),
    "an odd option": (DICTS, {"xyzzy": 1}, "'xyzzy'; docs/python-api.md lists what there is"),
    "a setting out of range": (DICTS, {"group_size": 0}, "setting group_size is 0; it must be a whole number"),
    "an odd recipe": (DICTS, {"recipe": "magic"}, "setting recipe is 'magic'; it must be measured or paper"),
    "too few to decide": (DICTS[:4], {"gate": True}, "or learn without a gate (gate=False)"),
    "a reserved field": (DICTS, {"request": {"model": "x"}}, "request: model cannot be set here"),
    "a hot request": (DICTS, {"request": {"temperature": "hot"}}, "request: temperature is 'hot'; it must be a number"),
    "a request in a file": (DICTS, {"request": "r.json"}, "request: the system prompt is text, and the other fields"),
    "a file in place of a text": (
        DICTS,
        {"system": __file__},
        "test_api.py' is a file here; give the text that is in it",
    ),
    "a validation task without input": (
        DICTS,
        {"gate": True, "validation": [{"x": 1}]},
        "validation, item 1: no input",
    ),
    "no agent": (DICTS, {"agent": "prog"}, "agent prog: write {input} where the task goes"),
    "an agent with a frame": (DICTS, {"agent": shout, "system": "x"}, "system and request shape a plain call"),
    "a ceiling without prices": (DICTS, {"max_usd": 1.0}, 'state it with price="IN/OUT"'),
    "a ceiling of 0": (DICTS, {"max_calls": 0}, "the ceiling on calls is 0; it must be above 0"),
    "a lone key": (DICTS, {"distiller_api_key": "sk-1"}, "(distiller_api_key) goes with distiller_base_url"),
    "a lone embedding": (DICTS, {"embedding_base_url": "x"}, "embedding_base_url goes with embedding_model"),
    "an embedding for nothing": (
        DICTS,
        {"embedding_model": "x", "experiences": False, "demonstrations": False},
        "embedding_model compares experiences and chooses examples, and this run has neither",
    ),
    "a strange distiller": (DICTS, {"distiller_base_url": "http://x/v1"}, "Name it with distiller_model"),
    "an invisible namespace": (DICTS, {"namespace": "a\tb"}, "namespace 'a\\tb': give a name of visible characters"),
}


@pytest.mark.parametrize(("tasks", "given", "words"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_line_and_makes_no_store(folder: Path, tasks: JSON, given: JSON, words: str) -> None:
    nowhere: LearnOptions = {"model": "fake", "base_url": "http://127.0.0.1:9/v1", "gate": False}
    with pytest.raises(TfgrpoError) as caught:
        learn(tasks, **(nowhere | given))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("tfgrpo.db").exists()


def test_a_reward_without_a_number_is_told_with_the_task(small: LearnOptions) -> None:
    with pytest.raises(ModelError, match=r"every rollout of step 1 failed; .* that of task .* is None; it must be a"):
        learn(DICTS, **(small | {"reward": cast(Reward, judged)}))  # the types would tell


def test_what_cannot_be_measured_is_one_line(small: LearnOptions) -> None:
    with pytest.raises(StoreError, match=r"^no store at tfgrpo\.db; `tfgrpo learn` makes one"):
        evaluate(DICTS)
    with pytest.raises(StoreError, match=r"^no store at"):
        open_store()
    open_store(create=True).close()
    with pytest.raises(InputError, match="no prior is live, and nothing was learned, in namespace default yet"):
        evaluate(DICTS)
    with pytest.raises(InputError, match="nothing was learned in namespace default yet"):
        evaluate(DICTS, prior="candidate")
    learn(DICTS, **(small | {"steps": 1}))
    with pytest.raises(InputError, match="12 tasks, all used for learning in namespace default"):
        evaluate(DICTS)
    with pytest.raises(InputError, match="repeat is 0; it must be a whole number of at least 1"):
        evaluate(MORE, repeat=0)
    with pytest.raises(StoreError, match="there is no prior zzz in the store"):
        evaluate(MORE, prior="zzz")


def test_a_key_is_in_no_error_and_no_representation(folder: Path) -> None:
    refusing = ScriptedModel(lambda body: Answer("bad key sk-very-secret-1234567890", status=401))
    with serving(refusing.app) as url, pytest.raises(TfgrpoError) as caught:
        learn(DICTS, model="fake", base_url=url, api_key="sk-very-secret-1234567890", gate=False, observer=Silent())
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(wanted_learning(DICTS, {"model": "fake", "api_key": "sk-very-secret-1234567890"}))


PROGRAM = """
import asyncio, sys
import tfgrpo

tasks = [{"input": f"message {number}", "answer": "billing"} for number in range(12)]

async def notebook():
    tfgrpo.learn(tasks, model="fake", base_url=sys.argv[1], gate=False, race=False, experiences=False, concurrency=8)

asyncio.run(notebook())
"""


def test_ctrl_c_in_a_running_loop_keeps_what_was_done(folder: Path) -> None:
    """Sixty requests are answered; where all that may be in flight wait for an answer, it comes."""
    came, many, over = count(1), threading.Event(), threading.Event()

    class Held(ScriptedModel):
        async def app(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
            if (number := next(came)) == 60 + 8:
                many.set()
            while number > 60 and not over.is_set():
                await asyncio.sleep(0.01)
            await super().app(scope, receive, send)

    with serving(Held(SimulatedPolicy(WORDS, talkative)).app) as url:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
        command = [sys.executable, "-c", PROGRAM, url]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        assert many.wait(60)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        over.set()
    assert stderr.rstrip().endswith("KeyboardInterrupt")
    with open_store() as store:
        (entry,) = store.runs()
        assert entry.run.status == "interrupted"
        assert store.spent(entry.run.id).calls >= 30


def test_every_setting_is_an_option_of_its_type() -> None:
    assert get_type_hints(SettingOptions) == get_type_hints(Settings)
    assert [field.name for field in fields(Settings)] == list(SettingOptions.__annotations__)


def test_help_shows_every_option(folder: Path) -> None:
    shown = signature(learn).parameters
    assert set(LearnOptions.__annotations__) - set(SettingOptions.__annotations__) == set(shown) - {"tasks", "settings"}
    assert (learn.__name__, evaluate.__name__) == ("learn", "evaluate")
    assert learn.__doc__ == alearn.__doc__
    assert tfgrpo.learn is learn


@pytest.mark.model
def test_the_embedded_model_learns_from_a_few_lines(folder: Path) -> None:
    words = ["yes", "no"] * 3
    tasks = [
        {"input": f"Say {word} and nothing else, for the {n}th time.", "answer": word} for n, word in enumerate(words)
    ]
    few: LearnOptions = {"steps": 1, "group_size": 2, "experiences": False, "race": False, "request": {"max_tokens": 4}}
    local: LearnOptions = {"base_url": "local", "reward": "contains", "gate": False, "observer": Silent()}
    found = learn(tasks, **(few | local))
    assert found.run.frame.model == "smollm2-135m-instruct"
    assert len(found.rollouts()) == 2 * len(tasks)
    assert any(one.reward for one in found.rollouts())
