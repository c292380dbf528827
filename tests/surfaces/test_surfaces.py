"""Each surface: how a prior enters a request, what stays as it is, what a response tells."""

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tables import each
from tfgrpo.records import Backend, Demonstration, Experience, Prior, TokenBias
from tfgrpo.surfaces.chat import prior_text
from tfgrpo.surfaces.routes import SURFACES
from tfgrpo.surfaces.surface import LeftOut, Manner, Surface, Told, left_out
from tfgrpo.surfaces.whole_text import whole_text

BY_NAME = {surface.name: surface for surface in SURFACES}
BIASES = (TokenBias(7, b"a", 2.0, 3.0, 4),)
PRIOR = Prior((Experience("Be brief."),), BIASES, demonstrations=(Demonstration("1 + 1?", "2"),))
TEXT = prior_text(PRIOR)
ALL = whole_text(PRIOR, [])
SHOWN = [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]
ASKED = {"role": "user", "content": "hi"}
SYSTEM = {"role": "developer", "content": "s"}
BLOCK = {"type": "text", "text": "s"}
KEPT = {**BLOCK, "cache_control": {"type": "ephemeral"}}
OURS = {"type": "text", "text": TEXT}
WITH_TOOLS = Demonstration(
    (
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "function": {"name": "look", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "sunny"},
    ),
    "Sunny.",
)


def entered(name: Any, body: dict[str, Any], prior: Prior = PRIOR, manner: Manner | None = None) -> dict[str, Any]:
    surface = BY_NAME[name]
    assert surface.fits(body)
    before = copy.deepcopy(body)
    sent = dict(surface.enter(body, prior, manner or Manner()))
    assert body == before
    return sent


@each(
    ("body", "expected"),
    [
        ({"input": "hi"}, {"instructions": TEXT, "input": [*SHOWN, ASKED]}),
        ({"input": [ASKED]}, {"instructions": TEXT, "input": [*SHOWN, ASKED]}),
        ({"input": "hi", "instructions": " s "}, {"instructions": f" s \n\n{TEXT}", "input": [*SHOWN, ASKED]}),
        ({"input": [SYSTEM, ASKED]}, {"input": [{**SYSTEM, "content": f"s\n\n{TEXT}"}, *SHOWN, ASKED]}),
        (
            {"input": [{**SYSTEM, "content": [{"type": "input_text", "text": "s"}]}, ASKED]},
            {
                "input": [
                    {**SYSTEM, "content": [{"type": "input_text", "text": "s"}, {"type": "input_text", "text": TEXT}]},
                    *SHOWN,
                    ASKED,
                ]
            },
        ),
        (
            {"input": [SYSTEM, ASKED], "instructions": "i"},
            {"instructions": f"i\n\n{TEXT}", "input": [SYSTEM, *SHOWN, ASKED]},
        ),
        (
            {"input": "go on", "previous_response_id": "resp_1"},
            {"instructions": TEXT, "input": "go on", "previous_response_id": "resp_1"},
        ),
        (
            {"input": [{"type": "function_call_output", "call_id": "c", "output": "3"}], "previous_response_id": "r"},
            {
                "instructions": TEXT,
                "input": [{"type": "function_call_output", "call_id": "c", "output": "3"}],
                "previous_response_id": "r",
            },
        ),
        ({"input": "hi", "conversation": "conv_1"}, {"instructions": ALL, "input": "hi", "conversation": "conv_1"}),
        ({"prompt": {"id": "p"}}, {"instructions": TEXT, "prompt": {"id": "p"}}),
    ],
)
def test_a_response_has_the_text_in_its_instructions_on_every_turn(body: Any, expected: Any) -> None:
    assert entered("responses", body) == expected


def test_a_response_without_a_system_role_has_the_text_in_the_first_turn_of_a_user() -> None:
    sent = entered("responses", {"input": "hi"}, Prior((Experience("Be brief."),)), Manner(system_role=False))
    assert sent == {"input": [{"role": "user", "content": f"{TEXT}\n\nhi"}]}


def test_what_examples_have_of_tools_is_told_in_words_where_they_are_shown_as_turns_of_text() -> None:
    sent = entered("responses", {"input": "hi"}, Prior(demonstrations=(WITH_TOOLS,)))
    assert sent["input"][:2] == [
        {"role": "user", "content": "user: Weather?\nassistant: calls look({})\ntool: sunny"},
        {"role": "assistant", "content": "Sunny."},
    ]


@each(
    ("system", "expected"),
    [
        (None, TEXT),
        ("s", f"s\n\n{TEXT}"),
        ([BLOCK], [BLOCK, OURS]),
        ([BLOCK, KEPT, BLOCK], [BLOCK, OURS, KEPT, BLOCK]),
        ([KEPT, BLOCK, KEPT], [KEPT, BLOCK, OURS, KEPT]),
        ([KEPT], [OURS, KEPT]),
    ],
)
def test_a_message_to_anthropic_has_the_text_before_the_last_breakpoint_of_its_system(
    system: Any, expected: Any
) -> None:
    body = {"max_tokens": 9, "messages": [ASKED]} | ({"system": system} if system else {})
    assert entered("messages", body) == {"max_tokens": 9, "messages": [*SHOWN, ASKED], "system": expected}


def test_an_example_with_an_empty_turn_is_not_shown_to_anthropic() -> None:
    sent = entered("messages", {"messages": [ASKED]}, Prior(demonstrations=(Demonstration("a", " "),)))
    assert sent == {"messages": [ASKED]}


def test_a_completion_has_the_token_prior_alone() -> None:
    assert entered("completions", {"prompt": "hi"}) == {"prompt": "hi", "logit_bias": {"7": 2}}
    assert entered("completions", {"prompt": "hi", "logit_bias": {"7": 1}})["logit_bias"] == {"7": 1}


def test_a_decision_has_the_text_in_the_instructions_of_each_question() -> None:
    parts = [{"type": "input_text", "text": "s"}]
    questions = [{"type": "predicate", "instructions": "s", "name": "n"}, {"type": "score", "instructions": parts}]
    sent = entered("decisions", {"input": "hi", "questions": questions})
    assert sent == {
        "input": "hi",
        "questions": [
            {"type": "predicate", "instructions": f"s\n\n{ALL}", "name": "n"},
            {"type": "score", "instructions": [*parts, {"type": "input_text", "text": ALL}]},
        ],
    }
    assert "user: 1 + 1?\nassistant: 2" in ALL


POOL = tuple(Demonstration(f"what of {animal}?", animal) for animal in ("cats", "dogs", "birds"))
BODIES: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "dogs, please"}]},
    "responses": {"input": "dogs, please"},
    "messages": {"messages": [{"role": "user", "content": [{"type": "text", "text": "dogs, please"}]}]},
    "completions": {"prompt": "dogs, please"},
    "decisions": {"input": "dogs, please", "questions": [{"type": "predicate", "instructions": "?"}]},
}


@pytest.mark.parametrize("name", [name for name in BODIES if name != "completions"])
def test_the_nearest_example_is_that_of_what_is_asked(name: str) -> None:
    sent = str(entered(name, BODIES[name], Prior(demonstrations=POOL, nearest=1)))
    assert "what of dogs?" in sent
    assert "what of cats?" not in sent


fields = st.dictionaries(
    st.from_regex(r"x_[a-z]{1,8}", fullmatch=True), st.integers() | st.text() | st.none(), max_size=4
)


@given(st.sampled_from(SURFACES), fields, fields)
def test_fields_that_nobody_knows_pass_through(
    surface: Surface, unknown: dict[str, Any], inner: dict[str, Any]
) -> None:
    body = {**BODIES[surface.name], **unknown}
    for held in ("messages", "questions"):
        if held in body:
            body[held] = [{**entry, **inner} for entry in body[held]]
    sent = entered(surface.name, body)
    assert {name: sent[name] for name in unknown} == unknown
    for held in ("messages", "questions"):
        if held in body:
            assert {name: sent[held][-1][name] for name in inner} == inner
    changed = {name for name in sent if sent[name] != body.get(name)}
    assert changed <= {"messages", "logit_bias", "input", "instructions", "system", "questions"}
    assert entered(surface.name, body, Prior()) == body


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "messages",
                    "input",
                    "instructions",
                    "system",
                    "prompt",
                    "questions",
                    "role",
                    "content",
                    "output",
                    "usage",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(anything)
def test_no_body_and_no_response_is_a_crash(value: Any) -> None:
    for surface in SURFACES:
        if surface.fits(value):
            surface.enter(value, PRIOR)
            surface.enter(value, Prior(PRIOR.experiences, demonstrations=POOL, nearest=1), Manner(system_role=False))
            surface.enter(value, Prior((Experience("[on turn 1] Be brief."), Experience("[on says a] b"))))
        assert isinstance(surface.told(value), Told)


@each(
    ("name", "payload", "told"),
    [
        (
            "chat",
            {
                "id": "c",
                "model": "m",
                "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 3, "completion_tokens": 2},
            },
            Told("c", "m", "hi", "stop", 3, 2),
        ),
        (
            "responses",
            {
                "id": "r",
                "model": "m",
                "status": "completed",
                "output": [
                    {"type": "reasoning"},
                    {"type": "message", "content": [{"type": "output_text", "text": "hi"}]},
                ],
                "usage": {"input_tokens": 3, "output_tokens": 2},
            },
            Told("r", "m", "hi", "stop", 3, 2),
        ),
        (
            "responses",
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            Told(finish_reason="length"),
        ),
        ("responses", {"status": "completed", "output": [{"type": "function_call"}]}, Told(finish_reason="tool_calls")),
        (
            "messages",
            {
                "id": "a",
                "model": "m",
                "content": [{"type": "thinking"}, {"type": "text", "text": "hi"}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 2},
            },
            Told("a", "m", "hi", "stop", 7, 2),
        ),
        ("completions", {"choices": [{"text": "hi", "finish_reason": "length"}]}, Told("", "", "hi", "length")),
        (
            "decisions",
            {
                "model": "m",
                "answers": [
                    {"type": "choice", "choice": "BILL"},
                    {"type": "predicate", "probability": 0.5},
                    {"type": "refusal"},
                ],
                "usage": {"input_tokens": 3, "output_tokens": 0},
            },
            Told("", "m", "BILL\n0.5\nrefusal", "", 3, 0),
        ),
    ],
)
def test_a_response_tells_the_same_of_every_surface(name: Any, payload: Any, told: Told) -> None:
    assert BY_NAME[name].told(payload) == told


WAITING = Prior((Experience("[on says refund] Ask for the number."), Experience("Be brief.")))


@pytest.mark.parametrize(
    ("name", "body", "field", "last"),
    [
        ("responses", {"input": "a refund"}, "input", {"role": "user", "content": "a refund\n\nAsk for the number."}),
        (
            "responses",
            {"input": [{"type": "function_call_output", "call_id": "c", "output": "refund"}]},
            "input",
            {"type": "function_call_output", "call_id": "c", "output": "refund\n\nAsk for the number."},
        ),
        (
            "messages",
            {"messages": [{"role": "user", "content": [{**KEPT, "text": "refund"}]}]},
            "messages",
            {
                "role": "user",
                "content": [{**KEPT, "text": "refund"}, {"type": "text", "text": "Ask for the number."}],
            },
        ),
    ],
)
def test_what_waits_for_its_moment_is_said_at_the_end_and_nowhere_else(
    name: str, body: dict[str, Any], field: str, last: dict[str, Any]
) -> None:
    sent = entered(name, body, WAITING)
    assert sent[field][-1] == last
    assert sent.get("instructions", sent.get("system")) == TEXT
    calm = entered(name, {field: [{"role": "user", "content": "hello"}]}, WAITING)
    assert "Ask for the number" not in str(calm)


LEARNED = Prior((), (TokenBias(7, b"yes", 1.0, 3.0, 5),), "tokenizer_1")
GOOD = Backend(logit_bias="honoured", tokenizer="tokenizer_1")


@each(
    ("backend", "why"),
    [
        (None, None),
        (GOOD, None),
        (replace(GOOD, logit_bias="unknown"), None),
        (replace(GOOD, tokenizer=""), None),
        (replace(GOOD, logit_bias="rejected"), "rejected"),
        (replace(GOOD, logit_bias="inert"), "inert"),
        (replace(GOOD, tokenizer="tokenizer_2"), "other-tokenizer"),
    ],
)
def test_a_token_prior_is_left_out_only_where_that_is_known(backend: Backend | None, why: LeftOut | None) -> None:
    assert left_out(LEARNED, backend) == why
    assert left_out(Prior(), backend) is None
