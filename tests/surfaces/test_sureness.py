"""How sure a model was of its last answer: read from log-probabilities, remembered, and heeded by triggers."""

import json
import math

import pytest

from tests.tables import each
from tfgrpo.errors import InputError
from tfgrpo.model.events import events
from tfgrpo.records import JSON, Experience, Message, Prior
from tfgrpo.surfaces.chat import with_prior
from tfgrpo.surfaces.sureness import RememberedAnswers, sureness_of
from tfgrpo.surfaces.surface import PLAIN, Sureness
from tfgrpo.surfaces.triggers import trigger_of, waits_for_sureness

ASKED: Message = {"role": "user", "content": "Where is it?"}
CALLS: JSON = [{"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"id": 5}'}}]
ANSWER: Message = {"role": "assistant", "content": "I look there.", "tool_calls": CALLS}
FOUND: Message = {"role": "tool", "tool_call_id": "1", "content": "nothing"}


def listed(*chances: float) -> JSON:
    """A token of which the alternatives have these probabilities."""
    told = [{"token": str(place), "logprob": math.log(chance)} for place, chance in enumerate(chances)]
    return {**told[0], "top_logprobs": told}


def response(*tokens: JSON) -> JSON:
    """The whole answer with these tokens listed."""
    choice = {"index": 0, "message": ANSWER, "finish_reason": "tool_calls", "logprobs": {"content": list(tokens)}}
    return {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice]}


def test_entropy_and_margin_are_means_over_the_last_tokens() -> None:
    one = sureness_of([listed(0.5, 0.25)])
    assert one is not None
    assert one.entropy == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(4))  # the rest is one token
    assert one.margin == pytest.approx(0.25)
    sure, unsure = listed(0.98, 0.01), listed(0.4, 0.4)
    assert sureness_of([unsure] * 30 + [sure] * 16) == sureness_of([sure])
    mixed = sureness_of([sure, unsure])
    assert mixed is not None
    assert mixed.margin == pytest.approx((0.97 + 0) / 2)


@each("told", [None, [], "x", [{"logprob": -1}], [{"top_logprobs": [{"logprob": -1}]}], [None]])
def test_what_lists_no_two_tokens_tells_nothing(told: JSON) -> None:
    assert sureness_of(told) is None


@pytest.mark.parametrize("streams", [False, True])
def test_an_answer_is_known_again_by_what_was_said(streams: bool) -> None:
    told = response(listed(0.4, 0.4))
    content = b"".join(events(told, usage=True)).decode() if streams else json.dumps(told)
    answers = RememberedAnswers()
    heard = answers.hear([ASKED], content)
    again: Message = {"refusal": None, **ANSWER}  # as an SDK writes it back
    assert heard is not None
    assert answers.before([{"role": "system", "content": "s"}, ASKED, again, FOUND]) == heard
    assert answers.before([{**ASKED, "content": "And that?"}, again, FOUND]) is None
    assert answers.before([ASKED]) is None
    answers.hear([], content)  # of a journal, which does not tell the request
    assert answers.before([{**ASKED, "content": "And that?"}, again, FOUND]) == heard


FAR = json.dumps(
    {"choices": [{"message": {}, "logprobs": {"content": [{"top_logprobs": [{"logprob": -(10**400)}] * 2}]}}]}
)


@each("content", ["", "{", "[]", '{"choices": []}', "data: {", "data: 5", '{"choices": [5]}', FAR])
def test_what_is_no_answer_is_no_error(content: str) -> None:
    assert RememberedAnswers().hear([ASKED], content) is None


@pytest.mark.parametrize("strange", [{"tool_calls": 5}, {"role": ["user"]}])
def test_an_answer_to_a_strange_message_is_no_error(strange: Message) -> None:
    assert RememberedAnswers().hear([{**ASKED, **strange}], json.dumps(response(listed(0.5, 0.25)))) is None


def test_what_waits_for_log_probabilities_is_said_where_they_are_known() -> None:
    prior = Prior((Experience("[on entropy above .5] Look again."), Experience("[on margin below 0.1] Count.")))
    body = {"messages": [ASKED, ANSWER, FOUND]}
    assert waits_for_sureness(prior)
    assert with_prior(body, prior) == body

    def said(entropy: float, margin: float) -> str:
        manner = PLAIN._replace(sureness=Sureness(entropy, margin))
        return str(with_prior(body, prior, manner)["messages"][-1]["content"])

    assert said(0.5, 0.1) == "nothing"
    assert said(0.6, 0.1) == "nothing\n\nLook again."
    assert said(0.6, 0.05) == "nothing\n\nLook again.\nCount."


@each("told", ["entropy", "entropy .5", "entropy above", "entropy above x", "margin below 2"])
def test_a_threshold_must_be_one(told: str) -> None:
    with pytest.raises(InputError, match=r"is no trigger: write .*\[on entropy above .9\]"):
        trigger_of(f"[on {told}] Stop.")
