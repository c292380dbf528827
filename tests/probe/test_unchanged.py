"""Whether an upstream is taken for another one: silence tells nothing."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from typing import Any

from tests.inprocess import MemoryJournal, upstream
from tfgrpo.probe.backend import probe
from tfgrpo.probe.unchanged import what_changed
from tfgrpo.testing import ScriptedModel, SimulatedPolicy

POLICY = SimulatedPolicy(("Blue", "Red", "<|im_end|>", "Green", "Mauve"), lambda prompt: [2.0, 1.0, -4.0, 0.0, -2.0])
MODEL = ScriptedModel(POLICY, owner="llamacpp")


def silent(model: ScriptedModel) -> Callable[..., Awaitable[None]]:
    """The model behind something that knows chat alone."""

    async def app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http" and not scope["path"].endswith("/chat/completions"):
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await model.app(scope, receive, send)

    return app


async def changed(then: Callable[..., Awaitable[None]], now: Callable[..., Awaitable[None]]) -> str:
    journal = MemoryJournal()
    async with upstream(then, journal=journal) as calling:
        backend = await probe(calling, "fake", run="run_1")
    async with upstream(now, journal=journal) as calling:
        kept = len(journal.kept)
        found = await what_changed(calling, backend, "fake", "run_1")
        assert len(journal.kept) == kept
        return found


async def test_a_route_that_is_silent_then_or_now_is_no_sign_of_another_server() -> None:
    for then, now in ((MODEL.app, MODEL.app), (MODEL.app, silent(MODEL)), (silent(MODEL), MODEL.app)):
        assert await changed(then, now) == ""
    other = replace(MODEL, tokenizer=lambda text: [1])
    assert await changed(MODEL.app, other.app) == "its tokenizer is another"
    assert "by other software" in await changed(MODEL.app, replace(MODEL, owner="vllm").app)
