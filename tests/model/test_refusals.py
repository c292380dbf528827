"""What refusals are about; those that come through the SDK are in test_upstream.py."""

import openai
import pytest

from tfgrpo.model.library import http
from tfgrpo.model.refusals import OPTIONAL, OUR_SCHEMA, dispensable, rejected_parameter, without_parameters
from tfgrpo.records import JSON, ChatBody

BODY: ChatBody = {"model": "fake", "messages": [], "max_tokens": 8, "logprobs": True, "top_logprobs": 20, "seed": 1}

OURS: JSON = {"type": "json_schema", "json_schema": {"name": OUR_SCHEMA, "schema": {}}}


def error(status: int, body: JSON, text: str = "") -> openai.APIStatusError:
    response = http.Response(status, text=text, request=http.Request("POST", "http://fake"))
    return openai.APIStatusError("Error", response=response, body=body)


def test_a_limit_is_renamed_and_logprobs_take_their_number_with_them() -> None:
    assert without_parameters(BODY, {}) == BODY
    kept = without_parameters(BODY, {"max_tokens": "", "logprobs": ""})
    assert kept["max_completion_tokens"] == 8
    assert not kept.keys() & {"max_tokens", "logprobs", "top_logprobs"}
    own = without_parameters({**BODY, "max_completion_tokens": 4}, {"max_tokens": ""})
    assert (own["max_completion_tokens"], own["top_logprobs"]) == (4, 20)


@pytest.mark.parametrize("name", OPTIONAL)
def test_any_parameter_that_a_request_can_do_without_is_recognised(name: str) -> None:
    sent = {**BODY, **dict.fromkeys(OPTIONAL, 1), "response_format": OURS}
    assert rejected_parameter(error(400, {"param": name, "message": "no"}), sent) == name
    assert rejected_parameter(error(422, {"message": f"What is '{name}'?"}), sent) == name
    assert rejected_parameter(error(400, None, f'{{"unknown": "{name}"}}'), sent) == name


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"param": "temperature", "message": "no"}),  # it was not sent
        (400, {"param": "messages", "message": "max_tokens"}),
        (400, {"param": "model"}),
        (400, {"message": "my_seed and seeds and seed_2"}),
        (400, {"message": "max_tokens exceeds the context window"}),
        (404, {"param": "seed"}),
        (500, {"param": "seed"}),
    ],
)
def test_other_refusals_are_about_no_parameter(status: int, body: JSON) -> None:
    assert rejected_parameter(error(status, body), BODY) is None


def test_a_request_with_nothing_to_spare_has_no_parameter_to_drop() -> None:
    assert rejected_parameter(error(400, {"message": "no"}), {"model": "fake"}) is None


def test_of_several_names_the_first_in_the_words_is_meant() -> None:
    words = "unknown field `seed`, expected one of `logprobs`, `max_tokens`, `top_logprobs`"
    assert rejected_parameter(error(400, {"message": words}), BODY) == "seed"


@pytest.mark.parametrize(
    "words",
    ["response_format.type must be text", "The JSON schema has features not supported", "failed to parse grammar"],
)
def test_a_schema_of_ours_is_known_by_what_a_refusal_says(words: str) -> None:
    assert rejected_parameter(error(400, {"message": words}), {**BODY, "response_format": OURS}) == "response_format"


def test_a_form_that_the_user_asks_for_is_never_left_out() -> None:
    asked: JSON = {"type": "json_schema", "json_schema": {"name": "mine", "schema": {}}}
    for theirs in (asked, {"type": "json_object"}):
        body = {**BODY, "response_format": theirs}
        assert "response_format" not in dispensable(body)
        assert rejected_parameter(error(400, {"param": "response_format", "message": "no"}), body) is None
