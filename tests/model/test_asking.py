"""What refusals are about, and what requests are asked anew with."""

import openai
import pytest

from tests.inprocess import AT_ONCE, MemoryJournal, Server, completion, refusal, upstream
from tests.model.calls import BODY, KEY, failure, sample
from tests.tables import each
from tfgrpo.errors import ModelError
from tfgrpo.model.asking import OPTIONAL, OUR_SCHEMA, dispensable, rejected_parameter, without_parameters
from tfgrpo.model.library import http
from tfgrpo.records import JSON, ChatBody
from tfgrpo.settings import Settings
from tfgrpo.testing import Answer, ScriptedModel

REFUSED: ChatBody = {"model": "fake", "messages": [], "max_tokens": 8, "logprobs": True, "top_logprobs": 20, "seed": 1}

OURS: JSON = {"type": "json_schema", "json_schema": {"name": OUR_SCHEMA, "schema": {}}}


def error(status: int, body: JSON, text: str = "") -> openai.APIStatusError:
    response = http.Response(status, text=text, request=http.Request("POST", "http://fake"))
    return openai.APIStatusError("Error", response=response, body=body)


def test_a_limit_is_renamed_and_logprobs_take_their_number_with_them() -> None:
    assert without_parameters(REFUSED, {}) == REFUSED
    kept = without_parameters(REFUSED, {"max_tokens": "", "logprobs": ""})
    assert kept["max_completion_tokens"] == 8
    assert not kept.keys() & {"max_tokens", "logprobs", "top_logprobs"}
    own = without_parameters({**REFUSED, "max_completion_tokens": 4}, {"max_tokens": ""})
    assert (own["max_completion_tokens"], own["top_logprobs"]) == (4, 20)


@each("name", OPTIONAL)
def test_any_parameter_that_a_request_can_do_without_is_recognised(name: str) -> None:
    sent = {**REFUSED, **dict.fromkeys(OPTIONAL, 1), "response_format": OURS}
    assert rejected_parameter(error(400, {"param": name, "message": "no"}), sent) == name
    assert rejected_parameter(error(422, {"message": f"What is '{name}'?"}), sent) == name
    assert rejected_parameter(error(400, None, f'{{"unknown": "{name}"}}'), sent) == name


@each(
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
    assert rejected_parameter(error(status, body), REFUSED) is None


def test_a_request_with_nothing_to_spare_has_no_parameter_to_drop() -> None:
    assert rejected_parameter(error(400, {"message": "no"}), {"model": "fake"}) is None


def test_of_several_names_the_first_in_the_words_is_meant() -> None:
    words = "unknown field `seed`, expected one of `logprobs`, `max_tokens`, `top_logprobs`"
    assert rejected_parameter(error(400, {"message": words}), REFUSED) == "seed"


@pytest.mark.parametrize(
    "words",
    ["response_format.type must be text", "The JSON schema has features not supported", "failed to parse grammar"],
)
def test_a_schema_of_ours_is_known_by_what_a_refusal_says(words: str) -> None:
    assert rejected_parameter(error(400, {"message": words}), {**REFUSED, "response_format": OURS}) == "response_format"


def test_a_form_that_the_user_asks_for_is_never_left_out() -> None:
    asked: JSON = {"type": "json_schema", "json_schema": {"name": "mine", "schema": {}}}
    for theirs in (asked, {"type": "json_object"}):
        body = {**REFUSED, "response_format": theirs}
        assert "response_format" not in dispensable(body)
        assert rejected_parameter(error(400, {"param": "response_format", "message": "no"}), body) is None


ECHO = f"Bad request: unknown role in {dict(BODY)}"
"""As servers do that show the whole request."""


@pytest.mark.parametrize(
    ("words", "most"),
    [
        ("Requested sample logprobs of 20, which is greater than max allowed: 5", 5),
        ("Invalid value for 'top_logprobs': must be less than or equal to 5.", 5),
        ("top_logprobs must be between 0 and 8", 8),
        ("Integer above maximum value. Expected a value <= 5, but got 20 instead for top_logprobs.", 5),
        ("top_logprobs: Input should be less than or equal to 10", 10),
    ],
)
async def test_a_limit_of_alternatives_is_kept_to_and_no_log_probabilities_are_lost(words: str, most: int) -> None:
    server = Server(refusal(400, words), completion())
    journal = MemoryJournal()
    async with upstream(server, journal=journal) as calling:
        await calling(BODY, sample(0))
        await calling({**BODY, "top_logprobs": 2}, sample(1))
        assert calling.dropped == {}
        assert len(calling.adapted.notes) == 1
    assert server.bodies[1] == {**BODY, "top_logprobs": most}
    assert server.bodies[2]["top_logprobs"] == 2
    async with upstream(server, journal=journal) as resumed:
        await resumed(BODY, sample(0))
        await resumed(BODY, sample(2))
    assert server.bodies[3]["top_logprobs"] == most


async def test_biases_are_made_whole_where_no_others_are_taken() -> None:
    words = "Invalid type for 'logit_bias.7': expected an integer, but got a decimal number instead."
    server = Server(refusal(400, words, param="logit_bias.7"), completion())
    async with upstream(server) as calling:
        await calling({**BODY, "logit_bias": {"7": 2.6, "8": -1.4}}, KEY)
        assert calling.adapted.whole
        assert calling.dropped == {}
    assert server.bodies[1]["logit_bias"] == {"7": 3, "8": -1}


async def test_one_task_that_is_refused_and_quoted_takes_no_parameter_from_the_others() -> None:
    def script(body: ChatBody) -> Answer:
        return Answer(ECHO, status=400) if "evil" in str(body["messages"]) else Answer("yes")

    model = ScriptedModel(script)
    evil = {**BODY, "messages": [{"role": "user", "content": "evil"}]}
    async with upstream(model.app) as calling:
        with pytest.raises(ModelError, match="answered 400: Bad request"):
            await calling(evil, sample(0))
        await calling(BODY, sample(1))
        assert (calling.dropped, calling.adapted.changed) == ({}, {})
    assert model.requests[-1] == BODY


async def test_of_several_guesses_only_that_which_was_needed_is_left_out() -> None:
    def script(body: ChatBody) -> Answer:
        return Answer(f"cannot do this: {sorted(body)}", status=400) if "seed" in body else Answer("yes")

    model = ScriptedModel(script)
    async with upstream(model.app) as calling:
        await calling(BODY, sample(0))
        assert set(calling.dropped) == {"seed"}
        await calling(BODY, sample(1))
    assert model.requests[-1] == {name: value for name, value in BODY.items() if name != "seed"}


async def test_where_all_guesses_were_needed_they_stay_and_the_answer_is_not_lost() -> None:
    def script(body: ChatBody) -> Answer:
        found = [name for name in ("logit_bias", "seed") if name in body]
        return Answer(f"{found[0]} is unknown", status=400) if found else Answer("yes")

    model = ScriptedModel(script)
    async with upstream(model.app) as calling:
        assert (await calling(BODY, KEY)).text == "yes"
        assert set(calling.dropped) == {"logit_bias", "seed"}


async def test_of_temperature_and_top_p_which_exclude_each_other_top_p_goes() -> None:
    words = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
    server = Server(refusal(400, words), completion())
    async with upstream(server) as calling:
        await calling(BODY, KEY)
        assert set(calling.dropped) == {"top_p"}
    assert server.bodies[1]["temperature"] == BODY["temperature"]


async def test_a_model_that_refuses_all_sampling_parameters_is_sent_none() -> None:
    sampling = ("temperature", "top_p", "seed", "logit_bias", "logprobs", "top_logprobs")

    def script(body: ChatBody) -> Answer:
        found = next((name for name in sampling if name in body), None)
        return Answer("not supported with this model", status=400, param=found) if found else Answer("yes")

    model = ScriptedModel(script)
    async with upstream(model.app) as calling:
        assert (await calling(BODY, sample(0))).text == "yes"
        await calling(BODY, sample(1))
    assert model.requests[-1] == {name: BODY[name] for name in ("model", "messages", "max_tokens")}


async def test_what_is_renamed_is_told_as_renamed() -> None:
    server = Server(refusal(400, param="max_tokens"), completion())
    async with upstream(server) as calling:
        await calling(BODY, KEY)
        assert calling.adapted.notes == (
            "parameter max_tokens is sent as max_completion_tokens: rejected by fake with 400",
        )


async def test_a_server_that_streams_unless_it_is_told_not_to_is_told() -> None:
    streamed = http.Response(200, text="data: {}\n\n", headers={"content-type": "text/event-stream; charset=utf-8"})
    server = Server(streamed, completion("yes"))
    async with upstream(server) as calling:
        assert (await calling(BODY, sample(0))).text == "yes"
        await calling(BODY, sample(1))
    assert "stream" not in server.bodies[0]
    assert [body["stream"] for body in server.bodies[1:]] == [False, False]


async def test_a_stream_that_nothing_stops_is_no_answer() -> None:
    server = Server(http.Response(200, text="data: {}\n\n", headers={"content-type": "text/event-stream"}))
    assert "gave no chat completion" in str(await failure(server))
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ({"message": "too long", "code": 400}, "fake answered 400: too long"),
        ({"message": "no such thing", "type": "invalid_request_error"}, "fake answered 400: no such thing"),
        ("it broke", "fake answered 502: it broke"),
        ({"message": "overloaded", "code": 503}, "fake answered 503: overloaded"),
    ],
)
async def test_an_error_under_status_200_is_the_error_that_it_tells_of(error: object, words: str) -> None:
    found = await failure(Server(http.Response(200, json={"error": error})))
    assert str(found) == words


async def test_an_error_under_status_200_that_may_pass_is_tried_again() -> None:
    busy = http.Response(200, json={"error": {"message": "rate limit", "code": 429}}, headers=AT_ONCE)
    server = Server(busy, completion("yes"))
    async with upstream(server) as calling:
        assert (await calling(BODY, KEY)).text == "yes"


async def test_an_answer_that_speaks_of_errors_is_none() -> None:
    server = Server(completion('{"error": "this is the answer"}'), completion("yes", error=None))
    async with upstream(server) as calling:
        assert (await calling(BODY, sample(0))).text == '{"error": "this is the answer"}'
        assert (await calling(BODY, sample(1))).text == "yes"


@pytest.mark.parametrize(
    "words", ["Jinja Exception: Only user and assistant roles are supported!", "System role not supported"]
)
async def test_what_a_chat_template_refuses_is_not_asked_again(words: str) -> None:
    server = Server(refusal(500, words))
    async with upstream(server, settings=Settings(call_retries=3)) as calling:
        with pytest.raises(ModelError):
            await calling(BODY, KEY)
    assert len(server.requests) == 1
