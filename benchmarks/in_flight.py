"""What a thousand rollouts in flight cost the learner: processor time a rollout, and memory at most.

    python -m benchmarks.in_flight [--flying 1000] [--seconds 1.0] [--rounds 3] [--tokens 8] [--listed 20]

A server in a process of its own answers each call after so many seconds, with as many tokens and log-probabilities of
the likeliest alternatives a token (0: none). The learner's own executor makes the rollouts, scores them and journals
them, as in `learn`. The first round, in which connections are opened, is told apart.
"""

import argparse
import asyncio
import cProfile
import json
import pstats
import resource
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from tfgrpo.model.upstream import Upstream
from tfgrpo.records import Backend, Frame, Prior, Run, Task
from tfgrpo.rollouts.executor import ChatExecutor
from tfgrpo.rollouts.group import concurrently
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.rollouts.rewards.reward import score
from tfgrpo.settings import Settings
from tfgrpo.store import Store


def answer(tokens: int, listed: int) -> bytes:
    """A chat completion with so many tokens, and so many alternatives for each."""

    def token(number: int, place: int) -> dict[str, object]:
        text = f" word{number}"
        return {"token": text, "logprob": -0.1 - number / 7 - place / 11, "bytes": [*text.encode()], "id": number + 3}

    content = [
        {**token(place, place), "top_logprobs": [token(place + other, place) for other in range(listed)]}
        for place in range(tokens)
    ]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "billing"},
        "finish_reason": "stop",
        "logprobs": {"content": content} if listed else None,
    }
    usage = {"prompt_tokens": 200, "completion_tokens": tokens, "total_tokens": 200 + tokens}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    raw = json.dumps(body, separators=(",", ":")).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(raw), raw)


class _Answering(asyncio.Protocol):
    """One connection: every request is answered alike after a while."""

    def __init__(self, told: bytes, seconds: float) -> None:
        self._told, self._seconds, self._got = told, seconds, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, found, body = self._got.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        if found and len(body) >= size:
            self._got = b""
            asyncio.get_running_loop().call_later(self._seconds, self._transport.write, self._told)


def serve(told: bytes, seconds: float, ready: Connection) -> None:
    """Answer until the process is ended."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Answering(told, seconds), "127.0.0.1", 0, backlog=4_096)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def spent() -> float:
    """Processor seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def rounds(url: str, path: Path, given: argparse.Namespace) -> list[tuple[float, float]]:
    """Wall and processor seconds of each round."""
    frame, reward = Frame("m", "Route it."), load_reward("exact")
    backend = Backend("vllm", logprobs=given.listed > 0, token_ids=True)
    tasks = [Task(f"message {number} of a customer", "billing") for number in range(given.flying)]
    settings = Settings(concurrency=given.flying, call_timeout=60.0)
    found = []
    with Store(path) as store:
        store.add_tasks(tasks)
        run, _ = store.begin(Run("learn", "default", frame, {}, tuple(task.id for task in tasks), "exact", None))
        async with Upstream(url, settings=settings, journal=store) as upstream:
            call = ChatExecutor(
                upstream, frame, backend, run=run.id, stage="rollout", seed=0, top_logprobs=given.listed
            )

            prior = Prior()

            async def made(task: Task, step: int) -> None:
                rollout = await score(reward, await call(task, prior, step, 0))
                assert rollout.reward == 1.0, rollout.error

            for step in range(given.rounds + 1):
                began, used = time.perf_counter(), spent()
                await concurrently(made(task, step) for task in tasks)
                found.append((time.perf_counter() - began, spent() - used))
    return found


def main() -> None:
    """Print what rollouts cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flying", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--listed", type=int, default=20)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    told = answer(given.tokens, given.listed)
    here, there = get_context("spawn").Pipe()
    server = get_context("spawn").Process(target=serve, args=(told, given.seconds, there), daemon=True)
    server.start()
    profile = cProfile.Profile()
    try:
        url = f"http://127.0.0.1:{here.recv()}/v1"
        with tempfile.TemporaryDirectory() as folder:
            if given.profile:
                profile.enable()
            found = asyncio.run(rounds(url, Path(folder) / "tfgrpo.db", given))
            profile.disable()
    finally:
        server.terminate()
    for number, (wall, used) in enumerate(found):
        each = 1e6 * used / given.flying
        print(f"round {number}: {wall:.2f} s, processor {used:.2f} s, {each:.0f} us a rollout")
    wall, used = (sum(part) for part in zip(*found[1:], strict=True))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    each = 1e6 * used / given.flying / given.rounds
    share = used / given.rounds / max(given.seconds, 1e-9)
    print(
        f"{given.flying:,} in flight, {len(told):,} bytes an answer: {each:.0f} us of processor a rollout, which is "
        f"{share:.0%} of a core where an answer takes {given.seconds:g} s; a round took {wall / given.rounds:.1f} s; "
        f"{memory:.0f} MB"
    )
    if given.profile:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(60)


if __name__ == "__main__":
    main()
