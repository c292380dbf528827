"""Agents of Harbor: each rollout is a trial of Harbor's in a sandbox of its own, and its verifier says what it earned.

Harbor runs as a program, since it may need another Python than this package does. What it wrote of the trial is read
from `result.json`; its verifier's rewards are the answer, which the reward `harbor` reads.
"""

import asyncio
import json
import math
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import BinaryIO
from urllib.parse import parse_qsl

from ...errors import AgentError, InputError
from ...records import JSON, Task
from ...tasks.harbor import HARBOR, harbor_folder, harbor_program
from ...text import shortened
from .agent import ModelAddress, WorkerLost, last_words
from .command import environment

_CLEANING = 4.0
"""Seconds that Harbor has to take its sandbox down once it is told to end."""
_TAIL = 4_096


class HarborAgent:
    """An agent that Harbor knows (`harbor:terminus-2`), or one of the user's (`harbor:module:Class`).

    `?env=NAME` says where its sandboxes run; by default that is docker, here. It finds its model as any program does,
    so it has to make its calls from this machine, as terminus-2 does: a sandbox cannot reach the endpoint.
    """

    def __init__(self, given: str) -> None:
        """Raises InputError for what names no agent, and where there is no Harbor."""
        self.name = given
        agent, _, query = given.removeprefix(HARBOR).partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
        if not agent or agent.startswith("-") or options.keys() - {"env"} or not options.get("env", "docker"):
            raise InputError(f"--agent {shortened(given)}: it looks like harbor:terminus-2 or harbor:NAME?env=daytona")
        self._program = harbor_program()
        self._options = ["--agent", agent, "--env", options.get("env", "docker")]

    def check(self, task: Task) -> None:
        """Raises InputError for a task that is none of Harbor's."""
        harbor_folder(task)

    async def __call__(self, task: Task, place: ModelAddress) -> JSON:
        """What the verifier says; AgentError where it says nothing that counts, WorkerLost where the sandbox failed."""
        with TemporaryDirectory(prefix="tfgrpo-harbor-") as folder, TemporaryFile() as said:
            command = [self._program, "trial", "start", "--path", str(harbor_folder(task)), "--trials-dir", folder]
            command += [*self._options, "--model", f"openai/{place.model}"]
            code = await _ran(command, environment(os.environ, place), said)
            found = [path for path in Path(folder).glob("*/result.json") if path.is_file()]
            if not found:
                said.seek(max(0, said.seek(0, os.SEEK_END) - _TAIL))
                words = last_words(said.read().decode("utf-8", "replace"))
                raise AgentError(f"harbor ended with code {code} and no result: {words or 'it said nothing'}")
            try:
                result = json.loads(found[0].read_text(encoding="utf-8"))
            except (ValueError, OSError, RecursionError) as error:
                raise AgentError(f"harbor ended with code {code}, and its result is cut off") from error
            if not isinstance(result, dict):
                raise AgentError(f"harbor ended with code {code}, and its result is none")
            return verified_trial(result)


def verified_trial(result: Mapping[str, JSON]) -> JSON:
    """What a trial's `result.json` says of it: its rewards, and the failure in spite of which they count."""
    told = result.get("exception_info")
    failure: Mapping[str, JSON] = told if isinstance(told, Mapping) else {}
    why = last_words(f"{failure.get('exception_type')}: {failure.get('exception_message')}") if failure else ""
    verdict = result.get("verifier_result")
    rewards = verdict.get("rewards") if isinstance(verdict, Mapping) else None
    missing = _missing_reward(rewards) if isinstance(rewards, Mapping) else ""
    if isinstance(rewards, Mapping) and rewards and not missing and result.get("reward_valid", True):
        return {"rewards": dict(rewards), **({"failure": why} if why else {})}
    if _is_sandboxs(failure):
        raise WorkerLost(f"the sandbox failed: {why}")
    raise AgentError(f"the verifier gave no reward: {why or missing or 'nothing says why'}")


def _missing_reward(rewards: Mapping[str, JSON]) -> str:
    """Why the reward that counts, named so or the only one, is none; empty where it is a number."""
    named = "reward" if "reward" in rewards else next(iter(rewards)) if len(rewards) == 1 else None
    value = rewards[named] if named else 0.0
    counts = isinstance(value, int | float) and math.isfinite(value)
    return "" if counts else f"{named} is {shortened(json.dumps(value), 100)}"


def _is_sandboxs(failure: Mapping[str, JSON]) -> bool:
    """Whether it is no fault of the agent's, by Harbor's own account: it would try again, and not grade."""
    policy = failure.get("policy")
    return isinstance(policy, Mapping) and bool(policy.get("should_retry")) and not policy.get("should_grade")


async def _ran(command: Sequence[str], env: Mapping[str, str], said: BinaryIO) -> int:
    """The exit code. One that is cancelled may take its sandbox down first: that is no child of its."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=said, stderr=said, env=env, start_new_session=True
        )
    except OSError as error:
        raise AgentError(f"harbor cannot be started: {error.strerror}") from error
    try:
        return await process.wait()
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _CLEANING)
        raise
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
