"""What a request says and what a response answers, as chat messages, whatever the surface."""

from typing import Any

import pytest

from tfgrpo.surfaces.messages import MESSAGES
from tfgrpo.surfaces.responses import RESPONSES
from tfgrpo.surfaces.streamed import streamed
from tfgrpo.surfaces.surface import Surface

CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}
TOOLED = [
    {"role": "system", "content": "s"},
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "let me", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c", "content": "3"},
]
BY_ITEMS: dict[str, Any] = {
    "instructions": "s",
    "input": [
        {"role": "user", "content": "hi"},
        {"type": "reasoning", "summary": []},
        {"type": "message", "role": "assistant", "content": "let me"},
        {"type": "function_call", "call_id": "c", "name": "look", "arguments": '{"a": 1}'},
        {"type": "function_call_output", "call_id": "c", "output": "3"},
    ],
}
BY_BLOCKS: dict[str, Any] = {
    "system": "s",
    "messages": [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "let me"},
                {"type": "tool_use", "id": "c", "name": "look", "input": {"a": 1}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [{"text": "3"}]}]},
    ],
}
OUTPUT: list[dict[str, Any]] = [
    {"type": "message", "id": "m", "content": [{"type": "output_text", "text": "let me"}]},
    {"type": "function_call", "id": "f", "call_id": "c", "name": "look", "arguments": '{"a": 1}'},
]
RESPONSE: dict[str, Any] = {"id": "r", "status": "completed", "output": OUTPUT}
MESSAGE: dict[str, Any] = {"id": "m", "content": BY_BLOCKS["messages"][1]["content"], "stop_reason": "tool_use"}


@pytest.mark.parametrize(("surface", "body"), [(RESPONSES, BY_ITEMS), (MESSAGES, BY_BLOCKS)], ids=["items", "blocks"])
def test_a_conversation_with_tools_is_that_of_chat_messages(surface: Surface, body: dict[str, Any]) -> None:
    assert surface.transcript
    assert surface.transcript(body) == TOOLED


@pytest.mark.parametrize(("surface", "payload"), [(RESPONSES, RESPONSE), (MESSAGES, MESSAGE)], ids=["items", "blocks"])
def test_an_answer_is_the_message_of_an_assistant(surface: Surface, payload: dict[str, Any]) -> None:
    assert surface.answer
    assert surface.answer(payload) == TOOLED[2]
    assert surface.answer({"error": {}}) is None


@pytest.mark.parametrize(
    ("surface", "payload", "first", "last"),
    [
        ("responses", RESPONSE, "response.created", "response.completed"),
        ("responses", {**RESPONSE, "status": "incomplete"}, "response.created", "response.incomplete"),
        ("messages", MESSAGE, "message_start", "message_stop"),
    ],
)
def test_a_whole_answer_is_told_as_events(surface: Any, payload: dict[str, Any], first: str, last: str) -> None:
    told = [event.decode().split("\n")[0].removeprefix("event: ") for event in streamed(surface, payload, {})]
    assert (told[0], told[-1]) == (first, last)
    assert len(told) == (13 if surface == "responses" else 9)
