"""Calls in the journal: committed before anything is derived from them, and never made again."""

import asyncio

from tests.inprocess import MemoryJournal, Server, completion, refusal, upstream
from tests.model.calls import BODY, KEY, sample
from tfgrpo.records import CallKey, Usage


async def test_what_was_dropped_is_known_again_after_a_replay() -> None:
    journal = MemoryJournal()
    async with upstream(Server(refusal(400, param="logprobs"), completion()), journal=journal) as first:
        await first(BODY, sample(0))
    server = Server(completion())
    async with upstream(server, journal=journal) as resumed:
        assert (await resumed(BODY, sample(0))).text == "yes"
        assert resumed.dropped == first.dropped == {"logprobs": "rejected by fake with 400"}
        await resumed(BODY, sample(1))
    assert [set(BODY) - set(body) for body in server.bodies] == [{"logprobs", "top_logprobs"}]


async def test_a_server_cannot_say_that_something_was_dropped() -> None:
    journal = MemoryJournal()
    for _ in range(2):
        async with upstream(Server(completion(tfgrpo_dropped={"seed": "!"})), journal=journal) as calling:
            await calling(BODY, KEY)
            assert calling.dropped == {}


class SlowJournal(MemoryJournal):
    """Says when it has been handed a response, and commits it when told."""

    def __init__(self) -> None:
        super().__init__()
        self.handed, self.go = asyncio.Event(), asyncio.Event()

    async def record(self, key: CallKey, request: str, response: str, usage: Usage) -> None:
        self.handed.set()
        await self.go.wait()
        await super().record(key, request, response, usage)


async def test_nothing_is_derived_from_a_response_before_it_is_committed() -> None:
    journal = SlowJournal()
    async with upstream(Server(completion()), journal=journal) as calling:
        call = asyncio.create_task(calling(BODY, KEY))
        await journal.handed.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not call.done()
        assert calling.usage == Usage()
        journal.go.set()
        assert (await call).text == "yes"
        assert calling.usage == Usage(1, 7, 2)


async def test_a_committed_call_is_not_repeated_and_counts_again() -> None:
    journal, server = MemoryJournal(), Server(completion("once"))
    async with upstream(server, journal=journal) as calling:
        first = await calling(BODY, KEY)
    async with upstream(server, journal=journal) as resumed:
        again = await resumed(BODY, KEY)
        assert resumed.usage == first.usage
    assert (again.text, again.message, again.usage) == (first.text, first.message, first.usage)
    assert len(server.requests) == 1
    assert [usage for _, _, usage in journal.kept.values()] == [Usage(1, 7, 2)]


async def test_every_call_of_a_run_is_committed_under_its_own_key() -> None:
    journal, server = MemoryJournal(), Server(completion())
    keys = [sample(0), sample(1), CallKey("run_1", "rollout", 1, "task_1", 0), CallKey("run_1", "contrast")]
    async with upstream(server, journal=journal) as calling:
        await asyncio.gather(*(calling(BODY, key) for key in keys))
    assert set(journal.kept) == set(keys)
    assert len({request for request, _, _ in journal.kept.values()}) == 1


async def test_a_call_outside_of_any_run_is_not_committed() -> None:
    journal = MemoryJournal()
    async with upstream(Server(completion()), journal=journal) as calling:
        await calling(BODY, CallKey("", "chat"))
        await calling.get("/models", CallKey("", "probe"))
    assert journal.kept == {}
