"""What adding a prior to a request may and may not change."""

import copy
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tables import each
from tfgrpo.records import JSON, Demonstration, Experience, Frame, Prior, Snapshot, TokenBias
from tfgrpo.surfaces.chat import (
    is_system,
    merge_bias,
    prior_for,
    prior_text,
    render_experiences,
    token_estimate,
    with_prior,
)
from tfgrpo.surfaces.surface import Manner, shown_demonstrations, turns

EXPERIENCES = (Experience("Answer with one word."), Experience("Use {{braces}} and \\frac{1}{2} as they are."))
BIASES = (TokenBias(1, b"a", 2.0, 3.0, 4), TokenBias(2, b"b", -1.5, 3.0, 4))
PRIOR = Prior(EXPERIENCES, BIASES, "tokenizer_1")
ASKED = {"role": "user", "content": "Where is my invoice?"}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
messages_of_any_kind = json_values | st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool"]) | json_values},
    optional={"content": json_values},
)
tokens = st.integers(0, 400).map(str)
biases = st.dictionaries(tokens, st.floats(-1e6, 1e6, allow_nan=False), max_size=400)
priors = st.builds(
    Prior,
    st.lists(st.builds(Experience, st.text(min_size=1)), max_size=4).map(tuple),
    st.dictionaries(st.integers(0, 999), st.floats(-200, 200), max_size=20).map(
        lambda found: tuple(TokenBias(token, b"x", bias, 1.0, 4) for token, bias in found.items())
    ),
    instruction=st.none() | st.text(),
    demonstrations=st.lists(st.builds(Demonstration, st.text(), st.text()), max_size=4).map(tuple),
    nearest=st.integers(0, 3),
)


@given(st.dictionaries(st.sampled_from(["messages", "logit_bias", "n", "model"]), json_values), priors)
def test_a_body_of_any_kind_is_neither_altered_nor_a_crash(body: dict[str, JSON], prior: Prior) -> None:
    before = copy.deepcopy(body)
    with_prior(body, prior)
    assert body == before


@given(st.lists(messages_of_any_kind, min_size=1, max_size=5), priors)
def test_the_callers_messages_stay_and_one_system_message_says_more(messages: list[JSON], prior: Prior) -> None:
    before = copy.deepcopy(messages)
    sent = list(with_prior({"messages": messages}, prior)["messages"])
    assert messages == before
    lead = next((place for place, message in enumerate(messages) if not is_system(message)), len(messages))
    ours = 0
    if text := prior_text(prior):
        own = messages[lead - 1].get("content") if lead else None
        joins = lead and (own is None or isinstance(own, str) or _are_objects(own))
        ours = 0 if joins else 1
        assert sent[: max(0, lead - 1)] == before[: max(0, lead - 1)]
        last = sent[lead - 1 + ours]
        if not joins:
            assert last == {"role": before[lead - 1]["role"] if lead else "system", "content": text}
        elif isinstance(own, list):
            assert [part for part in last["content"] if part != {"type": "text", "text": text}] == [
                part for part in own if part != {"type": "text", "text": text}
            ]
        else:
            assert last == {**before[lead - 1], "content": f"{own}\n\n{text}" if own else text}
    shown = [turn for entry in shown_demonstrations(prior, messages) for turn in turns(entry)]
    assert sent[lead + ours : lead + ours + len(shown)] == shown
    assert sent[lead + ours + len(shown) :] == before[lead:]


def _are_objects(value: JSON) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


@given(biases, biases)
def test_the_callers_biases_win_and_ours_are_bounded(own: dict[str, float], learned: dict[str, float]) -> None:
    merged = merge_bias(own, learned)
    added = {token: bias for token, bias in merged.items() if token not in own}
    assert {token: merged[token] for token in own} == own
    assert len(merged) <= max(300, len(own))
    assert len(merged) == max(len(own), min(300, len(own.keys() | learned.keys())))
    assert all(added[token] == max(-100.0, min(100.0, learned[token])) for token in added)
    left_out = learned.keys() - merged.keys()
    assert all(abs(added[kept]) >= min(100.0, abs(learned[gone])) for kept in added for gone in left_out)


@given(priors)
def test_the_same_version_is_the_same_text(prior: Prior) -> None:
    shown = tuple(Demonstration(entry.input, entry.answer, "task_1") for entry in prior.demonstrations)
    texts = tuple(Experience(entry.text) for entry in prior.experiences)
    again = Prior(texts, prior.biases, instruction=prior.instruction, demonstrations=shown, nearest=prior.nearest)
    assert again.id == prior.id
    assert with_prior({"messages": [ASKED]}, again) == with_prior({"messages": [ASKED]}, prior)


SAID = render_experiences(EXPERIENCES)
LATE = {"role": "system", "content": "late"}
PART: dict[str, JSON] = {"type": "text", "text": "s"}
KEPT: dict[str, JSON] = {**PART, "prompt_cache_breakpoint": {"mode": "explicit"}}
OURS: dict[str, JSON] = {"type": "text", "text": SAID}


@each(
    ("messages", "expected"),
    [
        ([ASKED], [{"role": "system", "content": SAID}, ASKED]),
        ((ASKED,), [{"role": "system", "content": SAID}, ASKED]),
        (
            [{"role": "system", "content": "s", "name": "n"}, ASKED],
            [{"role": "system", "content": f"s\n\n{SAID}", "name": "n"}, ASKED],
        ),
        ([{"role": "developer", "content": " s "}], [{"role": "developer", "content": f" s \n\n{SAID}"}]),
        (
            [{"role": "system", "content": "s"}, {"role": "developer", "content": "d"}, ASKED],
            [{"role": "system", "content": "s"}, {"role": "developer", "content": f"d\n\n{SAID}"}, ASKED],
        ),
        ([{"role": "system", "content": [PART]}], [{"role": "system", "content": [PART, OURS]}]),
        ([{"role": "system", "content": [PART, KEPT]}], [{"role": "system", "content": [PART, OURS, KEPT]}]),
        ([{"role": "system", "content": 3}], [{"role": "system", "content": 3}, {"role": "system", "content": SAID}]),
        ([{"role": "system"}, ASKED], [{"role": "system", "content": SAID}, ASKED]),
        ([ASKED, LATE], [{"role": "system", "content": SAID}, ASKED, LATE]),
        ([None, ASKED], [{"role": "system", "content": SAID}, None, ASKED]),
        ([{"role": ["system"]}], [{"role": "system", "content": SAID}, {"role": ["system"]}]),
    ],
)
def test_the_experiences_go_to_the_end_of_the_last_leading_system_message(
    messages: list[JSON], expected: list[JSON]
) -> None:
    assert with_prior({"messages": messages}, PRIOR)["messages"] == expected


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([ASKED], [{"role": "user", "content": f"{SAID}\n\n{ASKED['content']}"}]),
        ([{"role": "user", "content": [PART]}], [{"role": "user", "content": [OURS, PART]}]),
        (
            [{"role": "assistant", "content": "a"}],
            [{"role": "user", "content": SAID}, {"role": "assistant", "content": "a"}],
        ),
        ([{"role": "system", "content": "s"}, ASKED], [{"role": "system", "content": f"s\n\n{SAID}"}, ASKED]),
    ],
)
def test_where_there_is_no_system_role_the_first_user_says_them(messages: list[JSON], expected: list[JSON]) -> None:
    assert with_prior({"messages": messages}, PRIOR, Manner(system_role=False))["messages"] == expected


def test_where_there_is_no_system_role_the_first_example_begins_with_what_is_the_same_in_every_call() -> None:
    prior = Prior(instruction="Be brief.", demonstrations=(Demonstration("a", "b"),))
    sent = with_prior({"messages": [ASKED]}, prior, Manner(system_role=False))["messages"]
    assert sent == [{"role": "user", "content": "Be brief.\n\na"}, {"role": "assistant", "content": "b"}, ASKED]


def test_the_instruction_comes_first_then_the_experiences_then_the_demonstrations() -> None:
    shown = (Demonstration("한 단어로?", "네"), Demonstration("كلمة واحدة؟", "نعم"))
    prior = Prior(EXPERIENCES, instruction="Be brief.", demonstrations=shown)
    system = {"role": "system", "content": "s"}
    sent = with_prior({"messages": [system, ASKED]}, prior)["messages"]
    assert sent == [
        {"role": "system", "content": f"s\n\nBe brief.\n\n{SAID}"},
        {"role": "user", "content": "한 단어로?"},
        {"role": "assistant", "content": "네"},
        {"role": "user", "content": "كلمة واحدة؟"},
        {"role": "assistant", "content": "نعم"},
        ASKED,
    ]


def test_a_prior_without_a_way_to_prompt_is_sent_as_before_there_was_any() -> None:
    sent = with_prior({"messages": [ASKED]}, PRIOR)["messages"]
    assert sent == [{"role": "system", "content": render_experiences(EXPERIENCES)}, ASKED]


def test_demonstrations_alone_need_no_message_of_ours() -> None:
    sent = with_prior({"messages": [ASKED]}, Prior(demonstrations=(Demonstration("a", "b"),)))["messages"]
    assert sent == [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, ASKED]


@each("messages", [None, "Where?", [], (), {}, 3])
def test_what_is_no_chat_request_is_returned_as_it_is(messages: JSON) -> None:
    body = {"model": "fake", "messages": messages}
    assert with_prior(body, PRIOR) is body
    assert with_prior({"prompt": "Where?"}, PRIOR) == {"prompt": "Where?"}


def test_each_part_of_a_prior_can_be_had_without_the_other() -> None:
    body = {"messages": [ASKED]}
    assert with_prior(body, Prior()) == body
    assert with_prior(body, PRIOR, Manner(biased=False)).keys() == {"messages"}
    assert with_prior(body, Prior(biases=BIASES)) == {"messages": [ASKED], "logit_bias": {"1": 2.0, "2": -1.5}}


@pytest.mark.parametrize("own", [[1, 2], "1", 3])
def test_a_bias_that_is_no_map_is_left_for_the_upstream_to_refuse(own: JSON) -> None:
    assert with_prior({"messages": [ASKED], "logit_bias": own}, PRIOR)["logit_bias"] == own


def test_only_the_strongest_biases_fill_the_room_that_the_caller_leaves() -> None:
    own = {str(token): 1.0 for token in range(298)}
    learned = {"0": 50.0, "900": 0.1, "901": -3.0, "902": 2.0, "903": math.inf}
    assert merge_bias(own, learned) == {**own, "903": 100.0, "901": -3.0}
    full = {str(token): 1.0 for token in range(305)}
    assert merge_bias(full, learned) == full
    assert merge_bias(None, learned)["903"] == 100.0


def test_whole_numbers_are_written_as_such_and_others_where_they_are_taken() -> None:
    learned = {"1": 2.0, "2": -1.5, "3": 0.4, "4": 2.6, "5": math.inf}
    as_learned = merge_bias({"9": 1.0}, learned)
    assert json.dumps(as_learned) == '{"9": 1.0, "1": 2, "2": -1.5, "3": 0.4, "4": 2.6, "5": 100}'
    whole = merge_bias({"9": 1.0}, learned, whole=True)
    assert json.dumps(whole) == '{"9": 1.0, "1": 2, "2": -2, "4": 3, "5": 100}'
    body = {"messages": [ASKED]}
    assert with_prior(body, Prior(biases=BIASES), Manner(whole=True))["logit_bias"] == {"1": 2, "2": -2}


def test_a_token_prior_goes_only_to_the_model_that_it_was_learned_on() -> None:
    snapshot = Snapshot("default", PRIOR, "live", Frame("one"))
    assert prior_for(snapshot, "one") is PRIOR
    other = prior_for(snapshot, "other")
    assert (other.experiences, other.biases, other.tokenizer) == (EXPERIENCES, (), None)


def test_nothing_is_rendered_of_nothing() -> None:
    assert render_experiences(()) == ""
    assert render_experiences(EXPERIENCES).count("\n- ") == 2


@given(st.text())
def test_tokens_are_never_estimated_below_a_third_of_the_bytes(text: str) -> None:
    assert token_estimate(text) * 3 >= len(text.encode()) > (token_estimate(text) - 1) * 3 or text == ""
