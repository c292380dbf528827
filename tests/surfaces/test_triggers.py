"""Experiences that wait for a moment: when they are said, where, and how often that is."""

from typing import Any

import pytest

from tests.tables import each
from tfgrpo.errors import InputError
from tfgrpo.evaluation.moment_arms import at_half
from tfgrpo.records import JSON, Experience, Message, Prior, Task
from tfgrpo.surfaces.chat import mean_tokens, prior_tokens, with_prior
from tfgrpo.surfaces.decisions import decision_with_prior
from tfgrpo.surfaces.messages import message_with_prior
from tfgrpo.surfaces.responses import response_with_prior
from tfgrpo.surfaces.triggers import always_on, applies, as_said, said_where, trigger_of

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


@each(
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
        ("asks room BOOK", [ASKED], True),
        ("asks room BOOK", [ASKED, CALL, DONE, OTHER], True),
        ("asks room error", [ASKED, CALL, ERROR], False),
        ("asks room error", [ASKED, OTHER, {"role": "user", "content": [{"type": "text", "text": "an error"}]}], True),
    ],
)
def test_a_trigger_fires_at_its_moment_alone(told: str, messages: list[Message], fires: bool) -> None:
    found = trigger_of(f"[on {told}] Stop.")
    assert found is not None
    assert (found[0].fires(messages), found[1]) == (fires, "Stop.")


@each("said", ["half \ud83d", b"bytes", float("nan"), Prior()])
def test_a_coin_falls_for_what_no_json_holds_too(said: Any) -> None:
    """A caller's messages are as they are: an SDK's calls of tools, halves of characters."""
    messages: list[Message] = [{**CALL, "tool_calls": [said]}, {**DONE, "content": said}]
    always, seldom = (trigger_of(f"[on chance {share}] Stop.") for share in ("1", ".5"))
    assert always is not None
    assert seldom is not None
    assert always[0].fires(messages)
    assert seldom[0].fires(messages) == seldom[0].fires([dict(reversed(list(one.items()))) for one in messages])


def test_half_of_the_moments_of_a_trigger_are_drawn_by_a_coin_that_falls_the_same_way_again() -> None:
    half, whole = trigger_of(at_half(READ.text)), trigger_of(READ.text)
    assert half is not None
    assert whole is not None
    chats = [
        [{"role": "user", "content": f"Book {number}."}, CALL, end] for number in range(200) for end in (ERROR, DONE)
    ]
    fires = [half[0].fires(chat) for chat in chats]
    assert fires == [half[0].fires(chat) for chat in chats]
    assert 75 < sum(fires) < 125
    assert all(whole[0].fires(chat) for chat, fired in zip(chats, fires, strict=True) if fired)
    assert at_half(at_half(READ.text)) == at_half(READ.text)
    sure = trigger_of("[on Half of entropy above .9] Stop.")
    assert sure is not None
    assert sure[0].is_of_sureness
    for told in ("half of asks room", "half of half of turn 2", "half of nothing"):
        with pytest.raises(InputError, match="is no trigger: write"):
            trigger_of(f"[on {told}] Stop.")


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


ROOM, BIKE = Experience("[on asks room] Name the floor."), Experience("[on asks bike] Name the bike's number.")
NARROW = Prior((ALWAYS, ROOM, BIKE), template="template_1")


def test_what_was_asked_for_is_said_where_it_was_asked_in_every_request_and_behind_what_is_the_same() -> None:
    alone = with_prior({"messages": [SYSTEM, ASKED]}, NARROW)["messages"]
    other = {"role": "user", "content": "And a bike."}
    later = with_prior({"messages": [SYSTEM, ASKED, CALL, DONE, OTHER, other]}, NARROW)["messages"]
    assert alone[1] == {**ASKED, "content": "Book the room.\n\nName the floor."}
    assert later[:2] == alone  # which a prompt cache has kept
    assert later[2:5] == [CALL, DONE, OTHER]
    assert later[5] == {**other, "content": "And a bike.\n\nName the bike's number."}
    assert "floor" not in later[0]["content"]
    assert ALWAYS.text in later[0]["content"]


@pytest.mark.parametrize("surface", ["responses", "messages"])
def test_what_was_asked_for_is_said_on_the_surfaces_of_turns_alike(surface: str) -> None:
    if surface == "responses":
        body = response_with_prior({"input": [ASKED]}, NARROW)
        assert ALWAYS.text in body["instructions"]
        assert body["input"] == [{**ASKED, "content": "Book the room.\n\nName the floor."}]
        assert response_with_prior({"input": "A bike"}, NARROW)["input"][0]["content"].endswith("bike's number.")
        return
    done: JSON = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "a bike"}]}
    body = message_with_prior({"messages": [ASKED, {"role": "assistant", "content": "Yes."}, done]}, NARROW)
    assert body["messages"][0] == {**ASKED, "content": "Book the room.\n\nName the floor."}
    assert body["messages"][2] == done  # no user says what a tool does


def test_a_text_without_turns_has_what_was_asked_for_and_its_tokens_are_counted() -> None:
    asked = decision_with_prior({"input": "A bike?", "questions": [{"instructions": "Which?"}]}, NARROW)
    (told,) = (one["instructions"] for one in asked["questions"])
    assert f"- {ALWAYS.text}\n- Name the bike's number." in told
    assert "floor" not in told
    assert as_said(PRIOR, [ASKED, CALL, ERROR]).experiences == (ALWAYS,)
    counts = [mean_tokens(NARROW, [Task(text)], len) for text in ("a bike", "a room", "nothing")]
    assert counts[0] > counts[1] > counts[2] == prior_tokens(Prior((ALWAYS,)), len)
    assert mean_tokens(NARROW, [], len) == prior_tokens(NARROW, len)


def test_a_prior_that_only_waits_changes_nothing_until_then() -> None:
    waiting = Prior((READ,))
    body = {"messages": [SYSTEM, ASKED]}
    assert with_prior(body, waiting) == body
    assert always_on(waiting).experiences == ()
    assert always_on(Prior((ALWAYS,))) == Prior((ALWAYS,))


@each(
    "told",
    [
        "tol error",
        "turn",
        "turn 0",
        "turn x",
        "says",
        "says ...",
        "turn ²",
        "asks",
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
    for told in ("matches a[b", "half of matches a[b", "Half of Matches a[b"):
        with pytest.raises(InputError, match="has no pattern that can be used"):
            trigger_of(f"[on {told}] Stop.")
    found = trigger_of(r"[on matches [\]] Stop.] Stop.")
    assert found is not None
    assert found[0].argument == r"[\]] Stop."
    with pytest.raises(InputError, match="more than 200 characters in its brackets"):
        trigger_of(f"[on matches [{'ab' * 200}]] Stop.")


def test_words_are_looked_for_in_what_users_said_first_and_not_without_end() -> None:
    waiting = Prior((Experience("[on asks zebra] Be kind.", "strategy"),))
    long = [{"role": "user", "content": f"{number} " * 5_000} for number in range(30)]
    zebra = {"role": "user", "content": "A zebra?"}
    assert said_where(waiting, [zebra, *long]) == {0: "Be kind."}
    assert said_where(waiting, [*long[:3], zebra]) == {3: "Be kind."}
    assert said_where(waiting, [*long, zebra]) == {}
    assert not applies("[on asks zebra] Be kind.", [*long, zebra])
