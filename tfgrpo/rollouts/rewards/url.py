"""A reward behind a URL: each rollout is sent there as JSON, and its reward comes back."""

import asyncio
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from ...errors import InputError, RewardError
from ...records import JSON, Rollout, Task
from ...text import shortened
from .reward import BuiltInReward

if TYPE_CHECKING:
    import ssl

    from ...model.library import http

URL_SECONDS = 60.0
"""How long one answer may take."""
URL_TRIES = 4
"""Of one rollout, where no connection comes about or the server is overloaded."""
_MOST_BYTES = 1_000_000
_OVERLOADED = frozenset({429, 502, 503, 504})
_MOVED = frozenset({307, 308})


@dataclass(frozen=True, slots=True)
class URLReward(BuiltInReward):
    """A Reward that POSTs {"task": ..., "rollout": ...}; the answer is {"reward": number, "feedback": text or none}."""

    name: str  # pyrefly: ignore[bad-override]  # read-only here, and nobody sets it
    """The URL without what may be a secret."""
    url: str
    pause: float = 1.0
    """Seconds before the second try; each further one waits twice as long."""

    def check(self, task: Task) -> None:
        """Any task will do."""

    async def __call__(self, rollout: Rollout, /) -> tuple[float, str]:
        """Raises RewardError where no usable answer comes."""
        from ...model.library import http  # the SDK's, which takes long to load

        body, why = as_sent(rollout), ""
        verify = _certificates() if self.url.startswith("https") else False
        async with http.AsyncClient(
            timeout=URL_SECONDS, verify=verify, headers={"accept-encoding": "identity"}
        ) as client:
            for number in range(URL_TRIES):
                if number:
                    await asyncio.sleep(self.pause * 2 ** (number - 1))
                try:
                    async with asyncio.timeout(URL_SECONDS):
                        status, text = await self._posted(client, body)
                except (http.TransportError, TimeoutError) as error:
                    why = f"no answer ({type(error).__name__})"
                    continue
                if status in _OVERLOADED:
                    why = f"it answered {status}"
                    continue
                return self._read(status, text)
        raise RewardError(f"{self.name}: {why}, {URL_TRIES} times")

    async def _posted(self, client: "http.AsyncClient", body: JSON) -> tuple[int, str]:
        """Status and text; a redirect is followed on the same host only."""
        url = self.url
        for _ in range(4):
            async with client.stream("POST", url, json=body, follow_redirects=False) as response:
                if response.status_code not in _MOVED:
                    return response.status_code, await self._text(response)
                there = urljoin(url, response.headers.get("location", ""))
            if urlsplit(there)[:2] != urlsplit(url)[:2]:
                raise RewardError(f"{self.name}: it redirects to another host ({shortened(urlsplit(there).netloc)})")
            url = there
        raise RewardError(f"{self.name}: it redirects in a circle")

    async def _text(self, response: "http.Response") -> str:
        read = bytearray()
        async for part in response.aiter_bytes():
            read += part
            if len(read) > _MOST_BYTES:
                raise RewardError(f"{self.name}: the answer is longer than {_MOST_BYTES:,} bytes")
        return read.decode("utf-8", "replace")

    def _read(self, status: int, text: str) -> tuple[float, str]:
        """The reward in an answer; whether it is in range is for `score` to say."""
        if status != 200:
            raise RewardError(f"{self.name}: it answered {status}: {shortened(text)}")
        try:
            told = json.loads(text)
        except (ValueError, RecursionError):
            raise RewardError(f"{self.name}: the answer is not JSON: {shortened(text)}") from None
        number = told.get("reward") if isinstance(told, dict) else told
        feedback = told.get("feedback") if isinstance(told, dict) else None
        if isinstance(number, str | None):
            raise RewardError(f'{self.name}: the answer has no number "reward": {shortened(text)}')
        return number, feedback if isinstance(feedback, str) else ""


def as_sent(rollout: Rollout) -> JSON:
    """A rollout and its task as JSON."""
    task = rollout.task
    return {
        "task": {"id": task.id, "input": task.input, "answer": task.answer, "metadata": dict(task.metadata)},
        "rollout": {
            "text": rollout.text,
            "messages": [dict(message) for message in rollout.messages],
            "step": rollout.step,
            "sample": rollout.sample,
            "finish_reason": rollout.finish_reason,
        },
    }


@lru_cache
def _certificates() -> "ssl.SSLContext":
    """Read once: it takes 20 ms."""
    import ssl

    return ssl.create_default_context()


def url_reward(name: str) -> URLReward:
    """The reward at a URL; raises InputError for one that is none."""
    try:
        parts = urlsplit(name)
        usable = bool(parts.hostname) and parts.port != 0 and not any(map(str.isspace, name))
    except ValueError:
        parts, usable = None, False
    if parts is None or not usable:
        raise InputError(f"reward {shortened(name)!r} is not a URL; write http://HOST:PORT/PATH")
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    return URLReward(plain, name)
