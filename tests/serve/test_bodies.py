"""Bodies of requests as the proxy reads them: nothing is lost, and nothing long is parsed."""

import gzip
import json
import zlib

import orjson
from hypothesis import given
from hypothesis import strategies as st

from tests.tables import each
from tfgrpo.serve.proxy.asked import RequestBody, addressed, read_body
from tfgrpo.serve.proxy.bodies import hollowed
from tfgrpo.serve.unpacking import unpacked

LONG = 'é\\"\n\U0001f600' * 30_000


@each("text", ["x" * 200_000, LONG, "\\" * 200_001, "\u2028" * 99_999])
@each("escaped", [False, True])
def test_a_body_is_whole_again_whatever_is_done_around_its_long_strings(text: str, escaped: bool) -> None:
    body = json.dumps({"a": [text, "short"], "b": text}, ensure_ascii=escaped).encode()
    hollow = hollowed(body)
    if text[0] != "\\":
        assert len(hollow.content) < 100_000
    again = json.loads(hollow.filled(json.dumps({"new": 1, **json.loads(hollow.content)}).encode()) or b"")
    assert again == {"new": 1, "a": [text, "short"], "b": text}


@given(st.binary(max_size=200), st.integers(0, 5))
def test_what_is_no_json_comes_to_no_harm(noise: bytes, times: int) -> None:
    content = noise + b'"' * times + b"x" * 70_000 + noise
    hollow = hollowed(content)
    assert hollow.filled(hollow.content) == content


def test_a_string_that_was_dropped_or_doubled_cannot_be_filled() -> None:
    hollow = hollowed(orjson.dumps({"a": "x" * 70_000}))
    assert hollow.filled(b"{}") is None
    assert hollow.filled(hollow.content * 2) is None


def test_packed_bodies_are_unpacked_as_far_as_they_may_be_long() -> None:
    plain = b'{"model": "m"}'
    assert unpacked(gzip.compress(plain), "gzip", 100) == plain
    assert unpacked(zlib.compress(plain), "deflate", 100) == plain
    assert unpacked(gzip.compress(b"0" * 10_000_000), "gzip", 1_000) is None
    assert unpacked(gzip.compress(plain)[:-9], "gzip", 100) is None
    assert unpacked(plain, "gzip", 100) is None
    assert unpacked(plain, "br", 100) is None


@each(
    ("model", "rest", "named"),
    [
        ("gpt-x@support", "gpt-x", "support"),
        ("claude@20250101", "claude@20250101", None),
        ("a@b@support", "a@b", "support"),
        ("@support", "@support", None),
        ("gpt-x", "gpt-x", None),
    ],
)
def test_a_model_may_name_a_namespace_and_what_is_none_is_its_own(model: str, rest: str, named: str | None) -> None:
    content = json.dumps({"messages": [{"content": '"model": "y@support"'}], "model": model}).encode()
    body = read_body(content, "", 1_000)
    assert body is not None
    found, namespace = addressed(body, {"support", "b"})
    assert (json.loads(found.plain)["model"], namespace) == (rest, named)
    assert found.altered == (named is not None)


def test_a_name_in_what_is_no_json_stays() -> None:
    body = RequestBody(b'"model": "x@support"', b'"model": "x@support"')
    assert addressed(body, {"support"}) == (body, None)
