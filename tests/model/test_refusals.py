"""What refusals are about; those that come through the SDK are in test_upstream.py."""

import httpx2
import openai
import pytest

from tfgrpo.model.refusals import OPTIONAL, rejected_parameter, without_parameters
from tfgrpo.records import JSON, ChatBody

BODY: ChatBody = {"model": "fake", "messages": [], "max_tokens": 8, "logprobs": True, "top_logprobs": 20, "seed": 1}


def error(status: int, body: JSON, text: str = "") -> openai.APIStatusError:
    response = httpx2.Response(status, text=text, request=httpx2.Request("POST", "http://fake"))
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
    sent = {**BODY, **dict.fromkeys(OPTIONAL, 1)}
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
