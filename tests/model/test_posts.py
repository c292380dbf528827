"""Calls over connections of our own, against servers that answer in every way that a server can."""

import asyncio
import gzip
import json
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from tests.certificates import certificate
from tests.model.calls import BODY, sample
from tfgrpo.errors import ModelError, TfgrpoError, UpstreamError
from tfgrpo.model import connection, pace
from tfgrpo.model.budget import Budget, Ceiling
from tfgrpo.model.pace import asked_once
from tfgrpo.model.upstream import Upstream
from tfgrpo.records import Frame, Run
from tfgrpo.settings import Settings
from tfgrpo.store import Store

_FINE = json.dumps({"choices": [{"message": {"role": "assistant", "content": "yes"}}]}).encode()


def told(status: str, body: bytes = b"{}", **headers: str) -> bytes:
    """An answer as its bytes."""
    lines = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


FINE = told("200 OK", _FINE)
_TIMES = 4
SILENT = b""
"""In place of an answer: none, and the connection stays."""


@asynccontextmanager
async def answering(
    answers: Sequence[bytes], tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that gives these answers, one a request, the last one from then on; its base URL, and what was asked.

    It closes a connection after what is no whole answer.
    """
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                asked.append(head + await reader.readexactly(size))
                answer = answers[min(len(asked), len(answers)) - 1]
                writer.write(answer)
                if not answer.endswith((b"}", b" ")) and answer is not SILENT:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http{'s' if tls else ''}://localhost:{port}/v1", asked


@pytest.mark.parametrize(
    "answers",
    [
        [FINE],
        [b"HTTP/1.1 100 Continue\r\n\r\n" + FINE],
        [told("429 Too Many Requests", retry_after="0.01"), FINE],
        [told("429 Too Many Requests", content_encoding="br", retry_after="0"), FINE],
        [told("503 Service Unavailable", retry_after="0"), told("500 Oh", retry_after="0"), FINE],
        [told("200 OK", b'{"error": {"message": "overloaded", "code": 503}}', retry_after="0"), FINE],
        [told("307 Temporary Redirect", location="/v1/chat/completions"), FINE],
        [told("200 OK", b" " * 300_000 + _FINE)],
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n " % (len(_FINE), _FINE)],
        [b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + _FINE + b"\n"],
        [told("200 OK", _FINE, content_encoding="utf-8")],
        [b"HTTP/1.1 200 OK\r\nContent-Length: %d" % len(_FINE) + FINE[15:]],
        [told("200 OK", gzip.compress(_FINE) + b" ", content_encoding="gzip, identity")],
    ],
)
async def test_a_server_that_answers_in_the_end_is_understood(answers: Sequence[bytes]) -> None:
    async with answering(answers) as (url, asked), Upstream(url, api_key="sk-key") as calling:
        assert (await calling(BODY, sample(0))).text == "yes"
    head, _, body = asked[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert b"authorization: Bearer sk-key" in head
    assert json.loads(body) == BODY
    assert len(asked) == len(answers)


async def test_a_refusal_whose_words_nobody_can_read_is_asked_again_by_the_sdks_client_too() -> None:
    refused = [
        told("502 Bad Gateway", b"<html> }", content_encoding=packed, retry_after="0") for packed in ("gzip", "br")
    ]
    async with (
        answering([*refused, FINE]) as (url, asked),
        Upstream(url.replace("//", "//name:word@"), api_key="sk-key") as calling,
    ):
        assert (await calling(BODY, sample(0))).text == "yes"
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"nonsense\r\n\r\n", "what it says is no HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\ncontent-length: 2\r\n\r\n{}", "no HTTP .*Content-Length"),
        (told("200 OK", transfer_encoding="chunked"), "no HTTP .*Content-Length"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n{", "the connection was closed"),
        (SILENT, "did not answer within 0.2 s"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n{}", "did not answer within 0.2 s"),
        (told("200 OK", content_encoding="br"), "packed as br"),
        (b"HTTP/1.1 101 Switch\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", "what it says is no HTTP"),
        (told("400 Bad Request", b'{"error": {"message": "too long"}}'), "answered 400: too long"),
        (told("401 Unauthorized"), "answered 401: it refuses the key"),
    ],
)
async def test_a_server_that_does_not_is_told_in_one_line(answer: bytes, words: str, steady: None) -> None:
    settings = Settings(call_retries=0, call_timeout=0.2 if "0.2 s" in words else 60)
    async with answering([answer]) as (url, _), Upstream(url, api_key="sk-key", settings=settings) as calling:
        with pytest.raises(TfgrpoError, match=words) as caught:
            await calling(BODY, sample(0))
        assert "sk-key" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "words", "times"),
    [
        (told("307 Moved", location="http://127.0.0.2/v1"), "cannot reach .* another host, 127.0.0.2, which is not", 2),
        (told("308 Moved", location="/v1/chat/completions"), "cannot reach .* redirects", 22),
        (told("200 OK", b"x" * 10_000), "that cannot be read: more than 9,000 bytes; is --base-url right", 1),
        (told("200 OK", b"no gzip }", content_encoding="gzip"), "that cannot be read: not what it says it is", 1),
    ],
)
async def test_what_an_endpoint_does_each_time_alike_is_an_error_at_once(
    answer: bytes, words: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MOST_OF_ONE", 9_000)
    async with answering([FINE, answer]) as (url, asked), Upstream(url, api_key="sk-key") as calling:
        await calling(BODY, sample(0))
        with pytest.raises(ModelError, match=words) as caught:
            await calling(BODY, sample(1))
        assert "\n" not in str(caught.value)
    assert len(asked) == 1 + times, "and not made again"


async def test_a_server_that_leaves_before_it_has_read_all_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    long = {**BODY, "messages": [{"role": "user", "content": "x" * 20_000_000}]}
    with socket.create_server(("127.0.0.1", 0)) as server:

        def leave() -> None:
            for _ in range(_TIMES):
                one, _ = server.accept()
                one.recv(1000)
                one.close()

        leaving = Thread(target=leave)
        leaving.start()
        for number in range(_TIMES):
            async with Upstream(f"http://127.0.0.1:{server.getsockname()[1]}/v1") as calling:
                with pytest.raises(UpstreamError, match="the connection was closed"):
                    await calling(long, sample(number))
        leaving.join()
    assert not caplog.records


async def test_a_header_that_would_end_its_line_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1\n")
    async with answering([FINE]) as (url, asked), Upstream(url) as calling:
        with pytest.raises(UpstreamError, match="the header openai-organization holds the end of a line"):
            await calling(BODY, sample(0))
    assert not asked


async def test_a_connection_that_breaks_off_between_answers_costs_one_retry() -> None:
    async with (
        answering([FINE, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{\n", FINE]) as (url, asked),
        Upstream(url) as calling,
    ):
        for number in range(2):
            assert (await calling(BODY, sample(number))).text == "yes"
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("hedge", "measures", "once_more"),
    [(None, False, True), (0.0, False, False), (None, True, False), (0.1, True, False)],
)
async def test_a_stalled_call_is_made_once_more_unless_that_is_turned_off_or_it_measures(
    monkeypatch: pytest.MonkeyPatch, steady: None, hedge: float | None, measures: bool, once_more: bool, tmp_path: Path
) -> None:
    monkeypatch.setattr(pace, "_SURELY", 0.1)
    settings, budget = Settings(call_retries=0, call_timeout=0.5, hedge=hedge), Budget(Ceiling(calls=100))
    with Store(tmp_path / "tfgrpo.db") as store:
        async with (
            answering([*[FINE] * 40, SILENT, FINE]) as (url, asked),
            Upstream(url, api_key="sk-key", settings=settings, budget=budget, journal=store) as calling,
        ):
            run, _ = store.begin(Run("learn", "default", Frame("m"), {}, (), "exact", None))
            for number in range(40):
                await calling(BODY, replace(sample(number), run=run.id))
            each = calling.usage.tokens // 40
            with asked_once(measures):
                last = asyncio.create_task(calling(BODY, replace(sample(40), run=run.id)))  # as who else asks there
            if once_more:
                assert (await last).text == "yes"
            else:
                with pytest.raises(ModelError, match="did not answer"):
                    await last
            assert store.spent(run.id) == calling.usage, "and a resumed run knows"
            again = Upstream(url, api_key="sk-key", journal=store)
            for number in range(40 + once_more):
                await again(BODY, replace(sample(number), run=run.id))
            assert again.usage == calling.usage, "from what it is told by the journal, too"
    assert budget.spent.tokens == each * (40 + 2 * once_more), "the call that was ended may have to be paid for"
    assert len(asked) == 41 + once_more
    assert budget.spent.calls == 41 + once_more, "each counts against the ceiling"
    assert calling.usage.calls == 40 + 2 * once_more


async def test_a_stalled_call_fails_where_every_place_is_taken_by_one_that_waits_like_it(steady: None) -> None:
    settings = Settings(call_retries=0, call_timeout=0.3, hedge=0.1, concurrency=2)
    async with answering([FINE, SILENT]) as (url, asked), Upstream(url, api_key="sk-key", settings=settings) as calling:
        await calling(BODY, sample(0))
        both = asyncio.gather(*(calling(BODY, sample(number)) for number in (1, 2)), return_exceptions=True)
        failed = await asyncio.wait_for(both, 60)
    assert [str(error)[-40:] for error in failed] == [str(failed[0])[-40:]] * 2
    assert "did not answer" in str(failed[0])
    assert len(asked) == 3


async def test_a_call_made_once_more_is_not_tried_again_and_a_wait_that_was_asked_for_is_no_stall(steady: None) -> None:
    settings = Settings(call_timeout=2.0, hedge=0.4)
    later = told("429 Too Many Requests", retry_after_ms="600")
    async with (
        answering([FINE, later, FINE, SILENT, later, FINE]) as (url, asked),
        Upstream(url, api_key="sk-key", settings=replace(settings, call_timeout=0.6, call_retries=1)) as calling,
    ):
        await calling(BODY, sample(0))
        await calling(BODY, sample(1))
        assert len(asked) == 3, "refused, waited for, and made: not once more"
        await calling(BODY, sample(2))
    assert len(asked) == 6, "silent, once more and refused, and once the first one was given up its next try"


async def test_the_certificate_of_a_server_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = certificate(tmp_path)
    offers = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    offers.load_cert_chain(own)
    async with answering([FINE], offers) as (url, _):
        async with Upstream(url) as calling:
            with pytest.raises(UpstreamError, match="cannot reach localhost"):
                await calling(BODY, sample(0))
        trusting = ssl.create_default_context(cafile=own)
        monkeypatch.setattr(connection, "_trusted", lambda environment: trusting)
        async with Upstream(url) as calling:
            assert (await calling(BODY, sample(0))).text == "yes"


async def test_what_is_lost_after_an_answer_fails_the_call_alone(steady: None) -> None:
    settings = Settings(call_retries=0, call_timeout=0.2)
    async with answering([FINE, SILENT]) as (url, _), Upstream(url, settings=settings) as calling:
        await calling(BODY, sample(0))
        with pytest.raises(ModelError, match="did not answer") as caught:
            await calling(BODY, sample(1))
        assert not isinstance(caught.value, UpstreamError)
