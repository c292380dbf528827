"""Experiences that wait for a moment: when they are said, where, and how often that is."""

import pytest

from tfgrpo.errors import InputError
from tfgrpo.records import JSON, Experience, Message, Prior
from tfgrpo.surfaces.chat import with_prior
from tfgrpo.surfaces.triggers import always_on, fire_rate, rate_told, trigger_of

ASKED = {"role": "user", "content": "Book the room."}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "book"}}]}
AGAIN = {"role": "assistant", "content": None, "tool_calls": [{"id": "2", "function": {"name": "book"}}]}
OTHER = {"role": "assistant", "content": "I look for a room."}
ERROR = {"role": "tool", "tool_call_id": "1", "content": '{"error": "room 5 not found"}'}
DONE = {"role": "tool", "tool_call_id": "1", "content": '{"room": 5}'}
SYSTEM = {"role": "system", "content": "You book rooms."}
ROUND = {"role": "assistant", "content": "I will try it once more now. " * 3}

ALWAYS, READ = Experience("When booking, be brief."), Experience("[on tool error] Read the error before you go on.")
PRIOR = Prior((ALWAYS, READ), template="template_1")


@pytest.mark.parametrize(
    ("told", "messages", "fires"),
    [
        ("tool error", [ASKED, CALL, ERROR], True),
        ("tool error", [ASKED, CALL, DONE], False),
        ("tool error", [{"role": "user", "content": "There is an error."}], False),
        ("tool error", [ASKED, CALL, ERROR, OTHER], False),
        ("tool error", [ASKED, CALL, {**DONE, "content": "x" * 700 + " error"}], False),
        ("repetition", [ASKED, CALL, ERROR, AGAIN, ERROR], True),
        ("repetition", [ASKED, CALL, ERROR, OTHER, ASKED], False),
        ("repetition", [ASKED, ROUND, ASKED], True),
        ("repetition", [ASKED], False),
        ("turn 2", [ASKED, CALL, DONE], False),
        ("turn 2", [ASKED, CALL, DONE, OTHER, ASKED], True),
        ("says The Room", [ASKED], True),
        ("says the roo", [ASKED], False),
        ("says room 5", [ASKED, CALL, DONE], True),
        (r"matches room [0-9]+|flat \d", [ASKED, CALL, DONE], False),
        (r"matches room\W+[0-9]+|flat \d", [ASKED, CALL, DONE], True),
        ("matches ^book", [ASKED, CALL, DONE], False),
        ("matches ^BOOK.*room", [ASKED], True),
        ("like .6 book the room please", [ASKED], True),
        ("like .8 book me a flight", [ASKED], False),
        ("like 0.01 book me a flight", [ASKED], True),
    ],
)
def test_a_trigger_fires_at_its_moment_alone(told: str, messages: list[Message], fires: bool) -> None:
    found = trigger_of(f"[on {told}] Stop.")
    assert found is not None
    assert (found[0].fires(messages), found[1]) == (fires, "Stop.")


def test_what_waits_is_said_at_the_end_of_the_last_message_and_nowhere_else() -> None:
    calm = with_prior({"messages": [SYSTEM, ASKED]}, PRIOR)["messages"]
    failed = with_prior({"messages": [SYSTEM, ASKED, CALL, ERROR]}, PRIOR)["messages"]
    assert calm[0] == failed[0]  # what caches keep is the same
    assert ALWAYS.text in calm[0]["content"]
    assert "Read the error" not in calm[0]["content"] + calm[1]["content"]
    assert failed[-1] == {**ERROR, "content": f"{ERROR['content']}\n\nRead the error before you go on."}
    assert failed[1:-1] == [ASKED, CALL]
    parts: JSON = [{"type": "text", "text": "an error", "cache_control": {"type": "ephemeral"}}]  # and is kept as it is
    listed = with_prior({"messages": [ASKED, CALL, {**ERROR, "content": parts}]}, PRIOR)["messages"]
    assert listed[-1]["content"] == [*parts, {"type": "text", "text": "Read the error before you go on."}]


def test_a_prior_that_only_waits_changes_nothing_until_then() -> None:
    waiting = Prior((READ,))
    body = {"messages": [SYSTEM, ASKED]}
    assert with_prior(body, waiting) == body
    assert always_on(waiting).experiences == ()
    assert always_on(Prior((ALWAYS,))) == Prior((ALWAYS,))


@pytest.mark.parametrize(
    "told",
    [
        "tol error",
        "turn",
        "turn 0",
        "turn x",
        "says",
        "says ...",
        "turn ²",
        "like",
        "like me",
        "like .4",
        "like 2 this one",
        "like 0.0 this one",
    ],
)
def test_brackets_that_name_no_trigger_are_an_error_and_in_a_prior_words_like_others(told: str) -> None:
    text = f"[on {told}] Stop."
    with pytest.raises(InputError, match=r"is no trigger: write \[on tool error\]"):
        trigger_of(text)
    said = with_prior({"messages": [SYSTEM, ASKED]}, Prior((Experience(text),), template="t"))["messages"]
    assert text in said[0]["content"]
    assert trigger_of("Stop [on turn 2] now.") is None
    with pytest.raises(InputError, match=r"\[on tool error\] says nothing: write behind the brackets"):
        trigger_of("[on tool error] ")


def test_a_pattern_that_cannot_be_used_says_why() -> None:
    with pytest.raises(
        InputError, match=r"\[on matches a\(\] has no pattern that can be used: a bracket is not closed"
    ):
        trigger_of("[on matches a(] Stop.")
    found = trigger_of(r"[on matches [\]] Stop.] Stop.")
    assert found is not None
    assert found[0].argument == r"[\]] Stop."


def test_a_rate_counts_the_answers_of_the_model_and_is_told_in_words() -> None:
    found = trigger_of("[on tool error] Stop.")
    assert found is not None
    calls: list[Message] = [ASKED, CALL, ERROR, AGAIN, DONE, OTHER]
    assert fire_rate(found[0], [calls, [ASKED, OTHER]]) == (1, 4)
    assert rate_told(1, 4) == "it fires at 1 of 4 turns (25%)"
    assert "never fires" in rate_told(0, 4)
    assert "always-on experience" in rate_told(3, 4)
    assert rate_told(0, 0) == "no turn was taken"
