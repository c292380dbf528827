"""A reward behind a URL: what is sent, what comes back, and what does not."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from tests.rollouts.scoring import saying
from tfgrpo.records import Rollout
from tfgrpo.rollouts.rewards.built_in import load_reward, reward_of
from tfgrpo.rollouts.rewards.reward import score
from tfgrpo.rollouts.rewards.url import URLReward

Answer = tuple[int, str, str]
"""Status, body and further headers."""


@asynccontextmanager
async def serving(*answers: Answer) -> AsyncIterator[tuple[str, list[tuple[str, str]]]]:
    """A server that gives one answer after the other, the last one for ever; its URL, and what it was sent."""
    asked: list[tuple[str, str]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.split(":")[1]) for line in head.lower().split("\r\n") if line.startswith("content-length")
        )
        asked.append((head, (await reader.readexactly(length)).decode()))
        status, body, headers = answers[min(len(asked), len(answers)) - 1]
        raw = body.encode()
        writer.write(
            f"HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {len(raw)}\r\n{headers}\r\n".encode() + raw
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/score", asked


async def scored(url: str) -> Rollout:
    reward = load_reward(url)
    assert isinstance(reward, URLReward)
    return await score(replace(reward, pause=0.001), saying("four", 4))


@pytest.mark.parametrize(
    ("body", "reward", "feedback"),
    [
        ('{"reward": 0.5}', 0.5, ""),
        ('{"reward": 1, "feedback": "good"}', 1.0, "good"),
        ("0.25", 0.25, ""),
        ('{"reward": true}', 1.0, ""),
    ],
)
async def test_the_rollout_is_sent_and_its_reward_comes_back(body: str, reward: float, feedback: str) -> None:
    async with serving((200, body, "")) as (url, asked):
        found = await scored(url)
    assert (found.reward, found.feedback, found.error) == (reward, feedback, None)
    ((head, sent),) = asked
    told = json.loads(sent)
    assert head.startswith("POST /score ")
    assert (told["rollout"]["text"], told["task"]["answer"], told["task"]["input"]) == ("four", 4, "the question")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, "", ""), "the answer is not JSON"),
        ((200, "<html>", ""), "the answer is not JSON"),
        ((200, '{"score": 1}', ""), 'the answer has no number "reward"'),
        ((200, '{"reward": "1"}', ""), 'the answer has no number "reward"'),
        ((200, '{"reward": 1.5}', ""), "is 1.5; it must be a number from 0 to 1"),
        ((200, '{"reward": NaN}', ""), "is nan; it must be a number"),
        ((200, '{"reward": [1]}', ""), "is [1]; it must be a number"),
        ((200, "[" * 100_000, ""), "the answer is not JSON"),
        ((200, "1" * 1_100_000, ""), "the answer is longer than 1,000,000 bytes"),
        ((404, "no such thing", ""), "it answered 404: no such thing"),
        ((500, "", ""), "it answered 500"),
        ((503, "", ""), "it answered 503, 4 times"),
        ((307, "", "Location: http://example.invalid/\r\n"), "it redirects to another host (example.invalid)"),
        ((307, "", "Location: /other\r\n"), "it redirects in a circle"),
    ],
)
async def test_any_other_answer_spoils_the_rollout_alone(answer: Answer, said: str) -> None:
    async with serving(answer) as (url, _):
        found = await scored(url)
    assert found.reward is None
    assert said in str(found.error)
    assert "\n" not in str(found.error)


async def test_an_overloaded_server_is_asked_again_and_a_redirect_at_home_followed() -> None:
    async with serving((503, "", ""), (307, "", "Location: /there\r\n"), (200, "1", "")) as (url, asked):
        assert (await scored(url)).reward == 1.0
    assert [head.split()[1] for head, _ in asked] == ["/score", "/score", "/there"]


async def test_no_connection_is_tried_again_and_told() -> None:
    async with serving((200, "1", "")) as (url, _):
        pass
    assert "no answer (ConnectError), 4 times" in str((await scored(url)).error)


async def test_a_password_is_sent_and_never_shown() -> None:
    async with serving((404, "", "")) as (url, asked):
        secret = url.replace("http://", "http://me:hunter2@") + "?key=sk-1"
        found = await scored(secret)
        assert reward_of(secret, "tasks.jsonl")[1] == url
    assert "authorization" in asked[0][0].lower()
    assert "hunter2" not in str(found.error)
    assert "sk-1" not in str(found.error)
