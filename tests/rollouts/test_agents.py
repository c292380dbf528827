"""Programs and functions as agents, in real processes and over real HTTP, against a scripted upstream."""

import asyncio
import json
import os
import shlex
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from tests import own_agents
from tests.inprocess import MemoryJournal, upstream
from tests.routing import ADVICE, HARM, NOISE, SMALL, TASKS, WORDS, distilling, plan, talkative
from tests.routing import upstream as stored_upstream
from tfgrpo.errors import BudgetEnded, InputError, ModelError, UpstreamError
from tfgrpo.learning.result import LearningResult
from tfgrpo.learning.run import learn
from tfgrpo.model.budget import Budget, Ceiling
from tfgrpo.model.journal import Journal
from tfgrpo.observer import Silent
from tfgrpo.records import (
    Backend,
    CallKey,
    ChatBody,
    Experience,
    Frame,
    Message,
    Prior,
    Reply,
    Rollout,
    Task,
    TokenBias,
    TokenTrace,
    Usage,
    message_text,
)
from tfgrpo.rollouts.agents import Agent, CommandAgent, FunctionAgent, load_agent
from tfgrpo.rollouts.agents.agent import ModelAddress, last_words
from tfgrpo.rollouts.agents.command import environment
from tfgrpo.rollouts.agents.session import Call, Session, Terms, read_request
from tfgrpo.rollouts.agents.trajectory import joined, trajectory
from tfgrpo.rollouts.executor import Executor
from tfgrpo.rollouts.maker import executors
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel, SimulatedPolicy

TASK = Task("Which queue? My card was charged twice.", "billing")
PRIOR = Prior((Experience("When asked for a queue, answer with its name."),), (TokenBias(1, b"billing", 2.0, 3.0, 4),))
BACKEND = Backend("llama.cpp", "honoured", token_ids=True, logprobs=True)
FRAME = Frame("fake", temperature=0.9)
URLLIB = """
import json, os, sys, urllib.request
def ask(messages, **more):
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    headers = {"content-type": "application/json", "authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
    body = {"model": os.environ["TFGRPO_MODEL"], "messages": messages, **more}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as response:
        return response.read().decode()
said = json.loads(ask([{"role": "user", "content": sys.argv[1]}]))["choices"][0]["message"]["content"]
"""
PRINTS = URLLIB + "print(said)"
SDK = """
import sys, openai
client = openai.OpenAI()
tools = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
messages = [{"role": "system", "content": "Use the tool."}, {"role": "user", "content": sys.argv[1]}]
while True:
    reply = client.chat.completions.create(model="default", messages=messages, tools=tools).choices[0].message
    messages.append(reply)
    if not reply.tool_calls:
        break
    for call in reply.tool_calls:
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "found: " + call.function.arguments})
print("thinking aloud", file=sys.stderr)
print(reply.content)
"""
STREAMING = """
import sys, openai
client = openai.OpenAI()
asked = dict(model="default", messages=[{"role": "user", "content": sys.argv[1]}], stream=True)
parts, usage = [], None
for chunk in client.chat.completions.create(**asked, stream_options={"include_usage": True}):
    usage = chunk.usage or usage
    parts += [choice.delta.content or "" for choice in chunk.choices]
assert len(parts) > 2 and usage.completion_tokens == 3, (parts, usage)
print("".join(parts))
"""


class Program(Protocol):
    """Makes an agent of the source of a Python program."""

    def __call__(self, source: str, words: str = "{input}", /) -> Agent: ...


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """An agent of the source of a Python program."""

    def made(source: str, words: str = "{input}") -> Agent:
        path = tmp_path / f"agent {abs(hash(source))}.py"
        path.write_text(source, encoding="utf-8")
        return CommandAgent(f"{shlex.quote(sys.executable)} {shlex.quote(str(path))} {words}")

    return made


@pytest.fixture(autouse=True)
def released() -> Iterator[None]:
    own_agents.RUNS.clear()
    own_agents.release.clear()
    yield
    own_agents.release.set()


@asynccontextmanager
async def rolling(
    agent: Agent,
    model: ScriptedModel,
    settings: Settings | None = None,
    *,
    journal: Journal | None = None,
    budget: Budget | None = None,
    backend: Backend = BACKEND,
) -> AsyncIterator[Executor]:
    settings = settings or Settings()
    journal = journal or MemoryJournal()
    async with (
        upstream(model.app, journal=journal, settings=settings, budget=budget) as calls,
        executors(agent, calls, settings, journal) as make,
    ):
        yield make(FRAME, backend, run="run_1", stage="rollout", seed=3, top_logprobs=5)


async def rolled(
    agent: Agent,
    model: ScriptedModel,
    settings: Settings | None = None,
    *,
    task: Task = TASK,
    prior: Prior = PRIOR,
    journal: Journal | None = None,
    budget: Budget | None = None,
) -> Rollout:
    async with rolling(agent, model, settings, journal=journal, budget=budget) as executor:
        return await executor(task, prior, 2, 5)


def always(answer: str | Answer = "billing") -> ScriptedModel:
    return ScriptedModel(lambda _: answer)


def tool_user(body: ChatBody) -> str | Answer:
    """Calls a tool once, then answers with what it found."""
    results = [message for message in body["messages"] if message["role"] == "tool"]
    if results:
        return f"billing, {results[-1]['content']}"
    function = {"name": "look_up", "arguments": '{"word": "charge"}'}
    return Answer("", tool_calls=[{"id": "call_1", "type": "function", "function": function}])


async def test_a_program_is_biased_and_recorded_with_its_tool_calls_and_results(
    program: Program,
) -> None:
    model = ScriptedModel(tool_user)
    rollout = await rolled(program(SDK), model)
    assert rollout.error is None
    assert rollout.text == 'billing, found: {"word": "charge"}'
    roles = [message["role"] for message in rollout.messages]
    assert roles == ["system", "system", "user", "assistant", "tool", "assistant"]
    assert rollout.messages[3]["tool_calls"][0]["function"]["name"] == "look_up"
    assert (rollout.prior, rollout.included) == (PRIOR.id, (PRIOR.experiences[0].id,))
    assert rollout.usage.calls == 2
    assert len(model.requests) == 2
    for body in model.requests:
        assert body["model"] == "fake"
        assert PRIOR.experiences[0].text in message_text(body["messages"][1])
        assert body["logit_bias"] == {"1": 2.0}
        assert (body["temperature"], body["top_p"], body["top_k"], body["top_logprobs"]) == (0.9, 1.0, 0, 5)
    assert len({body["seed"] for body in model.requests}) == 2


async def test_a_program_without_any_library_is_biased_and_recorded(program: Program) -> None:
    model = always()
    rollout = await rolled(program(PRINTS), model)
    assert (rollout.text, rollout.error) == ("billing", None)
    assert [message["role"] for message in rollout.messages] == ["system", "user", "assistant"]
    assert "logit_bias" in model.requests[0]


async def test_streamed_calls_are_answered_with_events(program: Program) -> None:
    model = always("billing it is")
    rollout = await rolled(program(STREAMING), model)
    assert (rollout.text, rollout.error) == ("billing it is", None)
    assert "stream" not in model.requests[0]
    assert "stream_options" not in model.requests[0]


async def test_a_task_is_one_argument_and_no_shell_reads_it(program: Program, tmp_path: Path) -> None:
    evil = f"$(touch {tmp_path}/owned); `touch {tmp_path}/owned` 'a' \"b\" {{input}} \\ \n* é 漢"
    model = always()
    rollout = await rolled(program(URLLIB + "print(repr(sys.argv[1:]))"), model, task=Task(evil))
    assert rollout.text == repr([evil])
    assert not (tmp_path / "owned").exists()
    both = program(URLLIB + "print(repr(sys.argv[1:]))", "--ask={input} 'two words'")
    assert (await rolled(both, model, task=Task("a b"))).text == repr(["--ask=a b", "two words"])


async def test_the_upstreams_key_does_not_reach_a_program(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-0123456789")
    monkeypatch.setenv("COPY_OF_IT", "sk-very-secret-0123456789")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    rollout = await rolled(program(URLLIB + "print(json.dumps(dict(os.environ)))"), always())
    assert "very-secret" not in rollout.text
    assert json.loads(rollout.text)["OPENAI_BASE_URL"].startswith("http://127.0.0.1:")


def test_a_program_calls_past_any_proxy_and_keeps_the_rest_of_its_environment() -> None:
    given = {"OPENAI_API_KEY": "", "PATH": "/bin", "NO_PROXY": "intra"}
    made = environment(given, ModelAddress("http://127.0.0.1:1/x/v1", "m"))
    assert (made["PATH"], made["NO_PROXY"], made["no_proxy"]) == ("/bin", "intra,127.0.0.1", "intra,127.0.0.1")
    assert (made["OPENAI_BASE_URL"], made["TFGRPO_MODEL"]) == ("http://127.0.0.1:1/x/v1", "m")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (URLLIB + "sys.exit('no luck\\n' + 'x' * 9999 + ' at the very end')", "ended with code 1: …"),
        (URLLIB + "sys.exit(3)", "ended with code 3: it said nothing on standard error"),
        (URLLIB + "print(os.environ['SOME_TOKEN'], file=sys.stderr); sys.exit(1)", "ended with code 1: ***"),
        (URLLIB + "print('Authorization: Bearer abc.def', file=sys.stderr); sys.exit(1)", "Authorization: Bearer ***"),
        (URLLIB + "os.kill(os.getpid(), 9)", "was ended by signal 9"),
        (URLLIB, "the program printed no answer"),
        (URLLIB + "print('x' * 2**20, 'y')", "more than 1,048,576 bytes"),
        ("print('billing')", "made no model call"),
        ("import sys; sys.exit(1)", "ended with code 1"),
    ],
    ids=["crash", "code", "secret", "bearer", "signal", "nothing", "too much", "no call", "at once"],
)
async def test_a_program_that_fails_is_a_rollout_with_an_error(
    program: Program, source: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "0123456789")
    rollout = await rolled(program(source), always())
    assert rollout.error is not None
    assert why in rollout.error
    assert len(rollout.error) < 400
    assert "\n" not in rollout.error
    assert rollout.text == ""


@pytest.mark.parametrize("text", ["a\0b", "x" * 200_000])
async def test_a_task_that_no_argument_can_hold_is_a_rollout_with_an_error(program: Program, text: str) -> None:
    assert "cannot be started" in ((await rolled(program(PRINTS), always(), task=Task(text))).error or "")


SLEEPS = (
    URLLIB
    + """
import subprocess, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open(os.environ["PIDS"], "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
"""
)


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits for its parent to notice its end does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pids: Path) -> bool:
    """Whether all of these processes end within a few seconds."""
    left, deadline = [int(pid) for pid in pids.read_text().split()], time.monotonic() + 10
    while any(map(alive, left)) and time.monotonic() < deadline:
        os.sched_yield()
    return not any(map(alive, left))


async def test_a_program_that_never_ends_is_killed_with_its_children(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIDS", str(pids := tmp_path / "pids"))
    agent = program(SLEEPS + "time.sleep(600)")
    rollout = await rolled(agent, always(), Settings(agent_timeout=3.0))
    assert rollout.error == "the agent gave no answer within 3 s (--agent-timeout)"
    assert rollout.usage.calls == 1
    assert gone(pids)


async def test_children_that_outlive_their_program_are_ended_and_hold_nothing_up(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIDS", str(pids := tmp_path / "pids"))
    rollout = await rolled(program(SLEEPS + "print(said)"), always())
    assert (rollout.text, rollout.error) == ("billing", None)
    assert gone(pids)


async def test_a_rollout_that_is_cancelled_kills_its_program(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIDS", str(pids := tmp_path / "pids"))
    journal = MemoryJournal()
    work = asyncio.create_task(rolled(program(SLEEPS + "time.sleep(600)"), always(), journal=journal))
    while not (pids.exists() and " " in pids.read_text()):
        await asyncio.sleep(0.01)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert gone(pids)
    assert [key.stage for key in journal.kept] == ["rollout"], "its call is kept, and no outcome"


@pytest.mark.parametrize("name", ["route", "route_async"])
async def test_a_function_is_given_a_biased_and_recorded_client(name: str) -> None:
    model = ScriptedModel(lambda body: "billing" if "first" not in message_text(body["messages"][-1]) else "hm")
    rollout = await rolled(FunctionAgent(f"tests.own_agents:{name}"), model)
    assert (rollout.text, rollout.error) == ("billing", None)
    assert all("logit_bias" in body and body["temperature"] == 0.9 for body in model.requests)
    assert rollout.usage.calls == len(model.requests)
    assert [message["role"] for message in rollout.messages][:3] == ["system", "user", "assistant"]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("returns_none", "the agent returned None, which is no answer"),
        ("returns_client", "the agent returned a OpenAI; an answer is a text, or JSON"),
        (
            "calls_nobody",
            "the agent made no model call at its base URL (OPENAI_BASE_URL, or the client that it is given)",
        ),
        ("crashes", "the agent failed: ValueError: no luck with ***"),
        ("stuck", "the agent gave no answer within 0.5 s (--agent-timeout)"),
        ("stuck_async", "the agent gave no answer within 0.5 s (--agent-timeout)"),
    ],
)
async def test_a_function_that_fails_is_a_rollout_with_an_error(name: str, error: str) -> None:
    rollout = await rolled(FunctionAgent(f"tests.own_agents:{name}"), always(), Settings(agent_timeout=0.5))
    assert rollout.error == error


async def test_an_answer_may_be_json() -> None:
    assert (await rolled(FunctionAgent("tests.own_agents:returns_object"), always())).text == '{"label":"billing"}'


async def test_what_an_agent_asks_after_its_time_is_refused() -> None:
    model, agent = always(), FunctionAgent("tests.own_agents:stuck")
    async with rolling(agent, model, Settings(agent_timeout=0.5)) as executor:
        await executor(TASK, PRIOR, 0, 0)
        own_agents.release.set()
        while len(own_agents.RUNS) < 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
    assert len(model.requests) == 1


OTHER_ROUTES = (
    URLLIB
    + """
import urllib.error
base, seen = os.environ["OPENAI_BASE_URL"], []
chat, nan = "/chat/completions", b'{"messages": [{"role": "user", "content": NaN}]}'
for path, body in [("/models", None), ("/embeddings", b"{}"), (chat, b"no"), (chat, b"{}"), (chat, nan)]:
    try:
        with urllib.request.urlopen(urllib.request.Request(base + path, body)) as response:
            seen.append(json.load(response)["data"][0]["id"])
    except urllib.error.HTTPError as error:
        seen.append([error.code, json.load(error)["error"]["code"]])
print(json.dumps(seen))
"""
)


async def test_what_is_no_chat_completion_is_refused_with_a_reason(program: Program) -> None:
    rollout = await rolled(program(OTHER_ROUTES), always())
    assert json.loads(rollout.text) == ["fake", [404, "not_recorded"], *[[400, "bad_request"]] * 3]
    assert rollout.usage.calls == 1


FALLS_BACK = """
import sys, openai
client = openai.OpenAI()
try:
    client.chat.completions.create(model="default", messages=[{"role": "user", "content": "too long"}])
except openai.BadRequestError:
    pass
reply = client.chat.completions.create(model="default", messages=[{"role": "user", "content": sys.argv[1]}])
print(reply.choices[0].message.content)
"""


async def test_a_call_that_fails_is_the_agents_to_deal_with(program: Program) -> None:
    def script(body: ChatBody) -> str | Answer:
        return Answer("too long", status=400) if "too long" in str(body["messages"]) else "billing"

    model = ScriptedModel(script)
    rollout = await rolled(program(FALLS_BACK), model)
    assert (rollout.text, rollout.error) == ("billing", None)
    assert len(model.requests) == 2, "what failed for good is not tried again"


async def test_another_model_of_an_agents_gets_no_token_prior(program: Program) -> None:
    model = always()
    rollout = await rolled(program(PRINTS.replace('os.environ["TFGRPO_MODEL"]', '"other"')), model)
    assert rollout.error is None
    (body,) = model.requests
    assert body["model"] == "other"
    assert "logit_bias" not in body
    assert "logprobs" not in body
    assert PRIOR.experiences[0].text in str(body["messages"])


async def test_an_upstream_that_can_answer_nothing_stops_the_run_and_the_agent(
    program: Program,
) -> None:
    model = always(Answer("no", status=401))
    with pytest.raises(UpstreamError, match="refuses the key"):
        await rolled(program(PRINTS), model)
    with pytest.raises(UpstreamError, match="refuses the key"):
        await rolled(FunctionAgent("tests.own_agents:route"), model)


async def test_a_spent_budget_stops_the_run(program: Program) -> None:
    with pytest.raises(BudgetEnded):
        await rolled(program(SDK), ScriptedModel(tool_user), budget=Budget(Ceiling(calls=1)))


async def test_no_more_agents_run_at_once_than_calls_may(program: Program, tmp_path: Path) -> None:
    counted = (
        f"""
import os, time
folder = {str(tmp_path)!r}
open(os.path.join(folder, f"running-{{os.getpid()}}"), "w").close()
most = len([name for name in os.listdir(folder) if name.startswith("running-")])
"""
        + PRINTS
        + """
time.sleep(0.2)
os.remove(os.path.join(folder, f"running-{os.getpid()}"))
sys.stdout = sys.stderr = None
"""
    )
    agent = program(counted.replace("print(said)", "print(most)"))
    async with rolling(agent, always(), Settings(concurrency=2)) as executor:
        made = await asyncio.gather(*(executor(TASK, PRIOR, 0, sample) for sample in range(6)))
    assert {rollout.text for rollout in made} <= {"1", "2"}


# Journal and resume


async def test_a_finished_rollout_is_not_made_again(program: Program) -> None:
    journal, model = MemoryJournal(), ScriptedModel(tool_user)
    first = await rolled(program(SDK), model, journal=journal)
    second = await rolled(program(SDK), model, journal=journal)
    assert len(model.requests) == 2
    assert replace(second, trace=None) == replace(first, trace=None)


async def test_a_rollout_that_failed_may_be_made_again() -> None:
    journal, agent, model = MemoryJournal(), FunctionAgent("tests.own_agents:crashes"), always()
    first = await rolled(agent, model, journal=journal)
    second = await rolled(agent, model, journal=journal)
    assert (second.error, second.usage) == (first.error, first.usage)
    assert (len(own_agents.RUNS), len(model.requests)) == (2, 1)


class Cut(MemoryJournal):
    """Was killed before any rollout was over."""

    async def record(self, key: CallKey, request: str, response: str, usage: Usage) -> None:
        if not key.stage.endswith("outcome"):
            await super().record(key, request, response, usage)


async def test_an_unfinished_rollout_replays_the_calls_that_it_makes_again(program: Program) -> None:
    journal, model = Cut(), ScriptedModel(tool_user)
    first = await rolled(program(SDK), model, journal=journal)
    second = await rolled(program(SDK), model, journal=journal)
    assert len(model.requests) == 2
    assert replace(second, trace=None) == replace(first, trace=None)


async def test_an_agent_that_asks_something_else_after_a_crash_goes_its_own_way(
    program: Program,
) -> None:
    fickle = (
        URLLIB
        + """
messages = [{"role": "user", "content": sys.argv[1]}, {"role": "assistant", "content": said}]
for turn in range(2):
    messages += [{"role": "user", "content": f"sure, {os.getpid()}?"}]
    said = json.loads(ask(messages))["choices"][0]["message"]["content"]
    messages += [{"role": "assistant", "content": said}]
print(said)
"""
    )
    journal, model = Cut(), always()
    for calls in (3, 5, 7):
        rollout = await rolled(program(fickle), model, journal=journal)
        assert (rollout.text, rollout.error) == ("billing", None)
        assert [message["role"] for message in rollout.messages] == ["system", *["user", "assistant"] * 3]
        assert len(model.requests) == calls, "the first call of each rollout is the same, and made once"


async def test_the_same_question_asked_twice_is_sampled_twice(program: Program) -> None:
    model = ScriptedModel(lambda body: str(body["seed"]))
    journal = Cut()
    twice = program(PRINTS.replace("print(said)", "print(said, ask([{'role': 'user', 'content': sys.argv[1]}]))"))
    await rolled(twice, model, journal=journal)
    assert len({body["seed"] for body in model.requests}) == 2
    await rolled(twice, model, journal=journal)
    assert len(model.requests) == 2


# Learning


async def learned(
    agent: Agent, model: ScriptedModel, path: Path, settings: Settings, *, tasks: Sequence[Task] = TASKS
) -> LearningResult:
    with Store(path) as store:
        async with stored_upstream(model, store, settings) as calls:
            wanted = replace(plan(settings, tuple(tasks)), agent=agent, frame=Frame("fake"))
            return await learn(wanted, store, calls, Silent())


async def test_a_token_prior_is_learned_from_an_agents_calls(tmp_path: Path) -> None:
    agent = FunctionAgent("tests.own_agents:route")
    settings = Settings(steps=3, group_size=8, concurrency=8, experiences=False)
    model = ScriptedModel(SimulatedPolicy(WORDS, talkative))
    found = await learned(agent, model, tmp_path / "t.db", settings)
    biases = {entry.piece.decode(): entry.bias for entry in found.prior.biases}
    assert biases["The"] < -0.5
    assert found.steps[-1].mean_reward > found.steps[0].mean_reward
    with Store(tmp_path / "t.db") as store:
        assert store.run(found.run.id).settings["agent"] == "tests.own_agents:route"
        assert len(store.groups(found.run.id)) == 3 * len(TASKS)


async def test_experiences_are_tried_and_measured_on_an_agent_and_resume_as_if_never_cut(tmp_path: Path) -> None:
    settings = Settings(steps=3, group_size=8, proposals=3, token_prior=False)
    agent = FunctionAgent("tests.own_agents:route")
    script = distilling({ADVICE: 0.45, HARM: -0.35, NOISE: 0.0})
    whole = await learned(agent, ScriptedModel(script), tmp_path / "whole.db", settings)
    runs, count = len(own_agents.RUNS), [0]
    assert [experience.text for experience in whole.prior.experiences] == [ADVICE]

    def cut(body: ChatBody) -> str | Answer:
        count[0] += 1
        return script(body) if count[0] <= 150 else Answer("no", status=401)

    with pytest.raises(UpstreamError):
        await learned(agent, ScriptedModel(cut), tmp_path / "cut.db", settings)
    finished = len(own_agents.RUNS) - runs
    resumed = await learned(agent, ScriptedModel(script), tmp_path / "cut.db", settings)
    assert (resumed.prior.id, resumed.fates, resumed.steps) == (whole.prior.id, whole.fates, whole.steps)
    assert len(own_agents.RUNS) - runs - finished < runs - 50, "what was over is not made again"


async def test_a_step_in_which_every_agent_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"every attempt of step 1 failed; the first one: .* made no model call"):
        await learned(FunctionAgent("tests.own_agents:calls_nobody"), always(), tmp_path / "t.db", SMALL)


async def test_no_token_prior_is_learned_for_an_agent_without_log_probabilities(tmp_path: Path) -> None:
    from tests.toy import tokenizer

    model = ScriptedModel(SimulatedPolicy(WORDS, talkative, logprobs=False))
    settings = replace(SMALL, steps=1)
    with Store(tmp_path / "t.db") as store:
        async with stored_upstream(model, store, settings) as calls:
            calls.tokenizer = tokenizer(WORDS)
            wanted = replace(plan(settings), agent=FunctionAgent("tests.own_agents:route"))
            found = await learn(wanted, store, calls, Silent())
    assert not found.prior.biases
    assert any("no token prior" in note for note in found.notes)


# Pieces


@pytest.mark.parametrize(
    ("function", "command", "why"),
    [
        ("tests.own_agents:route", "prog {input}", "give one of them"),
        ("prog.py", None, "must be module:function; a program goes with --command"),
        ("tests.own_agents:nothing", None, "has no nothing"),
        ("tests.nowhere:route", None, "cannot import"),
        ("tests.own_agents:RUNS", None, "is not a function"),
        ("tests.rollouts.test_agents:alive", None, "it must take 2 arguments, a client and the task"),
        (None, "prog 'unclosed {input}", "No closing quotation"),
        (None, "cat", "write {input} where the task goes"),
        (None, "", "write {input}"),
        (None, "no-such-program {input}", "there is no program 'no-such-program'"),
    ],
)
def test_what_names_no_agent_is_refused_before_anything_is_spent(
    function: str | None, command: str | None, why: str
) -> None:
    with pytest.raises(InputError, match=why.replace("{", r"\{")):
        load_agent(function, command)


def test_no_agent_is_none() -> None:
    assert load_agent(None, None) is None


def call(messages: Sequence[Message], text: str, trace: TokenTrace | None = None, **more: object) -> Call:
    said = {"role": "assistant", "content": text, **more}
    return Call(0, "", tuple(messages), Reply(text, said, "stop", Usage(1, 1, 1), trace))


def said(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def test_conversations_are_told_apart_and_each_message_stands_once() -> None:
    one, two = [said("user", "plan")], [said("user", "search")]
    calls = [
        call(one, "a plan", refusal=None),
        call(two, "a result"),
        call([*one, said("assistant", "a plan"), said("user", "go on")], "the end"),
    ]
    told_once = [message_text(message) for message in trajectory(calls, Prior(), "the end")]
    assert told_once == ["plan", "a plan", "go on", "the end", "search", "a result", "the end"]
    assert [message_text(message) for message in trajectory(calls[:1], Prior(), "a plan ")] == ["plan", "a plan"]
    assert trajectory([], Prior(), None) == ()


def test_traces_of_unequal_width_are_joined_as_one() -> None:
    narrow = TokenTrace(np.array([[1, 2]]), np.array([[-0.1, -2.0]]), {1: b"a", 2: b"b"})
    wide = TokenTrace(np.array([[3, 4, 5]]), np.array([[-0.2, -1.0, -3.0]]), {3: b"c", 4: b"d", 5: b"e"})
    both = joined([narrow, None, wide])
    assert both is not None
    assert both.ids.tolist() == [[1, 2, -1], [3, 4, 5]]
    assert both.logprobs.tolist() == [[-0.1, -2.0, -np.inf], [-0.2, -1.0, -3.0]]
    assert sorted(both.pieces) == [1, 2, 3, 4, 5]
    assert joined([None]) is None


@pytest.mark.parametrize("content", [b"", b"[]", b'{"messages": []}', b'{"messages": ["a"]}', b"\xff", b'{"a": NaN}'])
def test_a_body_that_is_no_chat_request_is_no_request(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_request(content)


def test_half_a_surrogate_pair_in_a_request_becomes_a_question_mark() -> None:
    body = read_request(b'{"messages": [{"role": "user", "content": "a\\ud800b"}]}')
    assert body["messages"][0]["content"] == "a?b"


async def test_a_call_under_biases_of_the_agents_own_teaches_no_token() -> None:
    policy = SimulatedPolicy(WORDS, talkative)
    async with upstream(ScriptedModel(policy).app) as calls:
        session = Session(Terms(calls, FRAME, BACKEND, 0, 5), Prior(), CallKey("run_1", "rollout"))
        asked = {"model": "fake", "messages": [said("user", "invoice")]}
        plain, own = await session.complete(asked), await session.complete({**asked, "logit_bias": {"2": 1}})
        session.close()
    assert "logprobs" not in plain["choices"][0]
    assert "logprobs" not in own["choices"][0]
    assert [one.reply.trace is None for one in session.calls] == [False, True]


async def test_an_agent_that_asks_for_log_probabilities_gets_them() -> None:
    async with upstream(ScriptedModel(SimulatedPolicy(WORDS, talkative)).app) as calls:
        session = Session(Terms(calls, FRAME, BACKEND, 0, 2), Prior(), CallKey("run_1", "rollout"))
        asked = {"messages": [said("user", "invoice")], "logprobs": True, "top_logprobs": 4}
        whole = await session.complete(asked)
        session.close()
    assert len(whole["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 4


def test_what_an_agent_says_of_its_failure_keeps_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_PASSWORD", "correct horse")
    text = "at https://me:pw@host with sk-proj-abcdefghijkl, ghp_0123456789abc, correct horse and more"
    assert last_words(text) == "at https://***@host with ***, ***, *** and more"
    assert last_words("a" * 100_000) == "…" + "a" * 300
