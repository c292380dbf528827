"""Calls of an upstream, and the errors that they end in."""

import pytest

from tests.inprocess import URL, Server, upstream
from tfgrpo.errors import TfgrpoError
from tfgrpo.records import CallKey, ChatBody
from tfgrpo.settings import Settings

KEY = CallKey("run_1", "rollout", 0, "task_1", 0)
BODY: ChatBody = {
    "model": "fake",
    "messages": [{"role": "user", "content": "Where is my invoice?"}],
    "temperature": 0.7,
    "top_p": 1.0,
    "seed": 5,
    "max_tokens": 8,
    "logit_bias": {"7": 1.5},
    "logprobs": True,
    "top_logprobs": 20,
}
SECRET = "sk-very-secret-0123456789"


def sample(number: int) -> CallKey:
    """The place of one of several calls."""
    return CallKey("run_1", "rollout", 0, "task_1", number)


async def failure(server: Server, *, key: str | None = SECRET, url: str = URL, calls: int = 1) -> TfgrpoError:
    """The error of the last of that many calls."""
    async with upstream(server, key=key, url=url, settings=Settings(call_retries=0)) as calling:
        for number in range(calls - 1):
            await calling(BODY, sample(number))
        with pytest.raises(TfgrpoError) as caught:
            await calling(BODY, KEY)
    return caught.value
