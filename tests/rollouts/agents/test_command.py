"""Programs as agents, in real processes and over real HTTP."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from tests.inprocess import MemoryJournal
from tests.rollouts.agents.made import (
    PRINTS,
    PRIOR,
    SDK,
    URLLIB,
    Program,
    always,
    rolled,
    tool_user,
)
from tfgrpo.errors import InputError
from tfgrpo.records import (
    Task,
    message_text,
)
from tfgrpo.rollouts.agents import check_inputs
from tfgrpo.rollouts.agents.agent import ModelAddress
from tfgrpo.rollouts.agents.command import environment
from tfgrpo.settings import Settings
from tfgrpo.testing import ScriptedModel


async def test_a_program_is_biased_and_recorded_with_its_tool_calls_and_results(
    program: Program,
) -> None:
    model = ScriptedModel(tool_user)
    rollout = await rolled(program(SDK), model)
    assert rollout.error is None
    assert rollout.text == 'billing, found: {"word": "charge"}'
    roles = [message["role"] for message in rollout.messages]
    assert roles == ["system", "user", "assistant", "tool", "assistant"]
    assert rollout.messages[2]["tool_calls"][0]["function"]["name"] == "look_up"
    assert (rollout.prior, rollout.included) == (PRIOR.id, (PRIOR.experiences[0].id,))
    assert rollout.usage.calls == 2
    assert len(model.requests) == 2
    for body in model.requests:
        assert body["model"] == "fake"
        assert PRIOR.experiences[0].text in message_text(body["messages"][0])
        assert body["logit_bias"] == {"1": 2.0}
        assert (body["temperature"], body["top_p"], body["top_k"], body["top_logprobs"]) == (0.9, 1.0, 0, 5)
    assert len({body["seed"] for body in model.requests}) == 2


async def test_a_program_without_any_library_is_biased_and_recorded(program: Program) -> None:
    model = always()
    rollout = await rolled(program(PRINTS), model)
    assert (rollout.text, rollout.error) == ("billing", None)
    assert [message["role"] for message in rollout.messages] == ["system", "user", "assistant"]
    assert "logit_bias" in model.requests[0]


async def test_a_task_is_one_argument_and_no_shell_reads_it(program: Program, tmp_path: Path) -> None:
    evil = f"$(touch {tmp_path}/owned); `touch {tmp_path}/owned` 'a' \"b\" {{input}} \\ \n* é 漢"
    model = always()
    rollout = await rolled(program(URLLIB + "print(repr(sys.argv[1:]))"), model, task=Task(evil))
    assert rollout.text == repr([evil])
    assert not (tmp_path / "owned").exists()
    both = program(URLLIB + "print(repr(sys.argv[1:]))", "--ask={input} 'two words'")
    assert (await rolled(both, model, task=Task("a b"))).text == repr(["--ask=a b", "two words"])


async def test_a_task_of_any_length_is_handed_over_in_a_file(program: Program) -> None:
    told = "{input} \0 {input_file} é 漢 " + "x" * 300_000
    reads = program(URLLIB + "print(open(sys.argv[1], encoding='utf-8').read() == " + repr(told) + ")", "{input_file}")
    assert (await rolled(reads, always(), task=Task(told))).text == "True"
    check_inputs(reads, [Task(told)])
    for text, why in ((told, "it has 300,0"), ("a\0b", "it holds a null byte")):
        with pytest.raises(InputError, match=rf"cannot be an argument: {why}.*write \{{input_file\}} in place of"):
            check_inputs(program(PRINTS), [Task("a"), Task(text)])


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
    """Whether all of these processes end; a minute is for machines that stand still."""
    left, deadline = [int(pid) for pid in pids.read_text().split()], time.monotonic() + 60
    while any(map(alive, left)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(map(alive, left))


async def test_a_program_that_never_ends_is_killed_with_its_children(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIDS", str(pids := tmp_path / "pids"))
    agent = program(SLEEPS + "time.sleep(600)")
    for seconds in (1, 5, 50):  # until it has begun in time
        rollout = await rolled(agent, always(), Settings(agent_timeout=seconds))
        assert rollout.error == f"the agent gave no answer within {seconds} s (--agent-timeout)"
        if pids.exists() and " " in pids.read_text():
            break
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
