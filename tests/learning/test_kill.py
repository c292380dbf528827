"""`kill -9` at each kind of moment of one run, from start to end; benchmarks/kill.py does it a hundred times."""

import json

import pytest

from benchmarks.kill import MOMENTS, Outcome, run_killed, uninterrupted
from tests.forked import forked
from tests.inprocess import MemoryJournal, Server, upstream
from tfgrpo.model.library import http
from tfgrpo.records import CallKey


@pytest.fixture(scope="module")
def whole() -> Outcome:
    return uninterrupted()


@pytest.mark.slow
def test_a_run_that_nobody_kills_learns_experiences_and_a_token_prior_that_pass_the_gate(whole: Outcome) -> None:
    """The run that those with kills are held against, in a process as theirs are."""
    assert whole.result["experiences"] > 0
    assert whole.result["biases"] > 0
    assert (whole.result["state"], whole.result["gate"]["verdict"]) == ("live", "promoted")


@pytest.mark.slow
def test_a_run_killed_at_every_kind_of_moment_ends_as_if_it_had_not_been(whole: Outcome) -> None:
    """Seven processes one after the other, each kill takes one; only those of `whole` and of the first are started as a
    shell does."""
    kills = run_killed(whole, MOMENTS, seed=5, start=forked)
    assert [kill.moment for kill in kills] == list(MOMENTS)


async def test_a_resumed_run_finds_its_calls_when_the_upstream_has_another_port() -> None:
    journal, key = MemoryJournal(), CallKey("run_0", "probe /tokenize")
    server = Server(http.Response(200, json={"tokens": [1]}))
    for port in (8001, 8002):
        async with upstream(server, url=f"http://127.0.0.1:{port}/v1", journal=journal) as calls:
            assert await calls.post("/tokenize", {"content": "text"}, key) == {"tokens": [1]}
    assert [json.loads(request.content) for request in server.requests] == [{"content": "text"}]
