"""Reading what servers answer: a paid answer is never lost to odd figures beside it."""

import json
import math

import numpy as np
import pytest

from tests.tables import each
from tfgrpo.errors import ModelError
from tfgrpo.model.replies import parse_reply, parse_trace, parse_vectors, parted
from tfgrpo.records import JSON, Usage


def response(message: JSON = None, **more: JSON) -> str:
    """A completion's text; `more` goes into its choice, save `usage`."""
    payload = {"usage": more.pop("usage")} if "usage" in more else {}
    choice = {"message": message or {"role": "assistant", "content": "yes"}, "finish_reason": "stop", **more}
    return json.dumps({"choices": [choice], **payload})


def token(number: JSON, logprob: JSON = -0.5, text: str = "t", **more: JSON) -> dict[str, JSON]:
    return {"id": number, "token": text, "logprob": logprob, "bytes": list(text.encode()), **more}


@each(
    ("message", "text"),
    [
        ({"role": "assistant", "content": "a\nb"}, "a\nb"),
        ({"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}, ""),
        ({"role": "assistant"}, ""),
        ({"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "a\nb"),
        ({"role": "assistant", "content": "\U0001f642"}, "\U0001f642"),
    ],
)
def test_the_message_is_kept_whole_and_its_text_read(message: JSON, text: str) -> None:
    reply = parse_reply(response(message))
    assert (reply.text, reply.message, reply.finish_reason, reply.trace) == (text, message, "stop", None)


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    """No request could carry it on, and no id be made of it."""
    reply = parse_reply(response({"role": "assistant", "content": "a\ud83d!", "refusal": "\udc00"}, usage={}))
    assert reply.text == "a?!"
    assert reply.message == {"role": "assistant", "content": "a?!", "refusal": "?"}


@each(
    ("usage", "spent"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}, Usage(1, 3, 4)),
        ({"prompt_tokens": 3}, Usage(1, 3, 0)),
        ({"prompt_tokens": None, "completion_tokens": -1}, Usage(1, 0, 0)),
        ({"prompt_tokens": math.inf, "completion_tokens": "4"}, Usage(1, 0, 0)),
        ({"prompt_tokens": 10**30}, Usage(1, 0, 0)),
        ({}, Usage(1)),
        (None, Usage(1)),
        ("lots", Usage(1)),
    ],
)
def test_usage_may_be_missing_or_odd(usage: JSON, spent: Usage) -> None:
    assert parse_reply(response(usage=usage)).usage == spent


def test_a_response_without_usage_is_one_call() -> None:
    assert parse_reply(response()).usage == Usage(1)


@each(
    "text",
    [
        "",
        "<html>",
        "null",
        "[]",
        "3",
        "{}",
        '{"choices": null}',
        '{"choices": []}',
        '{"choices": {}}',
        '{"choices": ["yes"]}',
        '{"choices": [{}]}',
        '{"choices": [{"message": null}]}',
        '{"choices": [{"message": "yes"}]}',
        "[" * 100_000,
    ],
)
def test_what_is_no_completion_is_one_short_line(text: str) -> None:
    with pytest.raises(ModelError, match=r"^not a chat completion: ") as caught:
        parse_reply(text)
    assert len(str(caught.value)) < 150


def test_a_trace_holds_the_sampled_token_first_and_then_the_others() -> None:
    second = token(8, -0.1, "né", top_logprobs=[token(8, -0.1, "né"), token(9, -3.0, "x")])
    first = token(4, -2.0, "a", top_logprobs=[token(5, -0.2, "b"), token(4, -2.0, "a"), token(6, -4.0, "c")])
    trace = parse_trace([first, second])
    assert trace is not None
    np.testing.assert_array_equal(trace.ids, [[4, 5, 6], [8, 9, -1]])
    np.testing.assert_array_equal(trace.logprobs, [[-2.0, -0.2, -4.0], [-0.1, -3.0, -np.inf]])
    assert trace.pieces == {4: b"a", 5: b"b", 6: b"c", 8: "né".encode(), 9: b"x"}


def test_a_trace_is_the_same_whichever_way_it_is_read() -> None:
    plain = [
        token(
            4 + place, -0.5, "a", top_logprobs=[token(number, -0.5 - number, "b") for number in (3 + place, 4 + place)]
        )
        for place in range(3)
    ]
    odd = [*plain, token(9, -1.0, "c", top_logprobs=[])]  # fewer alternatives than at the others
    quick, slow = parse_trace(plain), parse_trace(odd)
    assert quick is not None and slow is not None
    np.testing.assert_array_equal(quick.ids, slow.ids[:3])
    np.testing.assert_array_equal(quick.logprobs, slow.logprobs[:3])
    assert quick.pieces == {number: piece for number, piece in slow.pieces.items() if number != 9}
    assert quick.ids.tolist() == [[4, 3], [5, 4], [6, 5]]


def test_what_is_listed_at_one_position_is_not_taken_for_that_of_another() -> None:
    first = token(5, -0.5, top_logprobs=[token(5, -0.5), token(6, -2.0), token(7, -3.0)])
    trace = parse_trace([first, token(7, -4.0, top_logprobs=[token(8, -0.1)])])  # as many as of 2 positions with 2
    assert trace is not None
    assert trace.ids.tolist() == [[5, 6, 7], [7, 8, -1]]


def test_a_token_that_is_named_by_its_id_at_one_place_is_spelled_as_at_another() -> None:
    named = token(4, -0.1, "token_id:4", top_logprobs=[token(4, -0.1, "a")])
    trace = parse_trace([token(3, -0.1, "b", top_logprobs=[token(3, -0.1, "b")]), named])
    assert trace is not None
    assert trace.pieces == {3: b"b", 4: b"a"}


def test_an_id_that_repeats_counts_once() -> None:
    trace = parse_trace([token(4, -1.0, "a", top_logprobs=[token(4, -9.0, "z"), token(5, -2.0), token(5, -3.0)])])
    assert trace is not None
    np.testing.assert_array_equal(trace.ids, [[4, 5]])
    np.testing.assert_array_equal(trace.logprobs, [[-1.0, -2.0]])
    assert trace.pieces[4] == b"a"


@each(
    ("given", "read"),
    [(-math.inf, -math.inf), (-9999.0, -math.inf), (-(10**400), -math.inf), (0.0004, 0.0), (0, 0.0), (-3, -3.0)],
)
def test_a_log_probability_is_read_as_one(given: JSON, read: float) -> None:
    trace = parse_trace([token(4, given)])
    assert trace is not None
    assert trace.logprobs.tolist() == [[read]]


BAD_LOGPROBS = [math.nan, math.inf, 0.5, 10**400, None, "-0.5", [-0.5]]
BAD_IDS = [None, "4", 4.0, True, -1, 2**22, 2**63]


@each("bad", [*(token(4, one) for one in BAD_LOGPROBS), *(token(one) for one in BAD_IDS), "4", None])
def test_an_unusable_alternative_is_left_out_and_an_unusable_sample_loses_its_position(bad: JSON) -> None:
    good = token(7, -1.0, top_logprobs=[bad, token(8, -2.0)])
    sampled = {**bad, "top_logprobs": [token(8, -2.0)]} if isinstance(bad, dict) else bad
    trace = parse_trace([sampled, good])
    assert trace is not None
    np.testing.assert_array_equal(trace.ids, [[7, 8]])
    assert parse_trace([sampled]) is None


def test_bytes_need_not_be_text() -> None:
    trace = parse_trace([token(4, bytes=[0xF0, 0x9F], token="\ufffd")])
    assert trace is not None
    assert trace.pieces == {4: b"\xf0\x9f"}


@each("given", [None, [300], [-1], ["a"], "abc", 10**12, {"a": 1}])
def test_bytes_that_are_none_leave_the_tokens_text(given: JSON) -> None:
    trace = parse_trace([token(4, bytes=given, token="é")])
    assert trace is not None
    assert trace.pieces == {4: "é".encode()}


@each(
    "logprobs",
    [
        None,
        {},
        {"content": None},
        {"content": []},
        {"content": "t"},
        "t",
        {"content": [{"token": "t", "logprob": -0.5, "bytes": [116], "top_logprobs": []}]},
        {"content": [{"id": 4, "logprob": -0.5, "top_logprobs": "t", "bytes": 5}, None, []]},
        {"content": [token(4, None), token(5, math.nan)]},
    ],
)
def test_log_probabilities_without_use_never_lose_the_answer(logprobs: JSON) -> None:
    reply = parse_reply(response(logprobs=logprobs))
    assert reply.text == "yes"
    assert reply.trace is None or reply.trace.ids.tolist() == [[4]]


def embeddings(*vectors: JSON, **more: JSON) -> str:
    return json.dumps({"data": [{"index": place, "embedding": each} for place, each in enumerate(vectors)], **more})


def test_vectors_come_in_the_order_of_the_texts_whatever_the_order_sent() -> None:
    sent = {"data": [{"index": 1, "embedding": [0, 1]}, {"index": 0, "embedding": [1, 0.5]}]}
    found = parse_vectors(json.dumps({**sent, "usage": {"prompt_tokens": 7, "total_tokens": 7}}), 2)
    assert found.vectors == ((1.0, 0.5), (0.0, 1.0))
    assert found.usage == Usage(1, 7, 0)
    assert parse_vectors(embeddings([1], [2]), 2).usage == Usage(1)


@each(
    "response",
    [
        "no JSON",
        "[]",
        "{}",
        json.dumps({"data": None}),
        json.dumps({"data": [{"embedding": [1.0]}]}),
        json.dumps({"choices": []}),
        embeddings([1.0]),
        embeddings([1.0], [1.0, 2.0]),
        embeddings([], []),
        embeddings([1.0], [math.nan]),
        embeddings([1.0], [math.inf]),
        embeddings([1.0], [None]),
        embeddings([1.0], "AACAPw=="),
        embeddings([1.0], 2.0),
    ],
)
def test_what_is_no_vector_for_each_of_two_texts_is_an_error(response: str) -> None:
    with pytest.raises(ModelError, match="no embeddings"):
        parse_vectors(response, 2)


@pytest.mark.parametrize(
    ("texts", "total", "each"),
    [
        (["yes"] * 4, 4, [1, 1, 1, 1]),
        (["a rather long answer of some words"] * 2, 17, [9, 8]),
        (["a rather long answer of some words"] * 4, 8, [8, 8, 8, 8]),
    ],
)
def test_the_tokens_of_several_answers_are_told_apart(texts: list[str], total: int, each: list[int]) -> None:
    choices = [{"message": {"role": "assistant", "content": text}} for text in texts]
    usage = {"prompt_tokens": 5, "completion_tokens": total}
    found = [parse_reply(one) for one in parted(json.dumps({"choices": choices, "usage": usage}))]
    assert [reply.usage.completion_tokens for reply in found] == each
    assert [reply.usage.prompt_tokens for reply in found] == [5] + [0] * (len(texts) - 1)
