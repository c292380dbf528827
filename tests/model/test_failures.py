"""What every failure says, and never says."""

import traceback

import pytest

from tests.inprocess import AT_ONCE, Server, refusal, upstream
from tests.model.calls import BODY, KEY, SECRET, failure
from tfgrpo.errors import UpstreamError
from tfgrpo.model.library import http


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (refusal(401, "bad key"), "fake answered 401: it refuses the key in OPENAI_API_KEY"),
        (refusal(403, "bad key"), "fake answered 403: it refuses the key in OPENAI_API_KEY"),
        (refusal(402, "pay"), "fake answered 402: the account's quota is spent"),
        (
            refusal(429, "quota", {"x-should-retry": "false"}, code="insufficient_quota"),
            "fake answered 429: the account's quota is spent",
        ),
        (
            refusal(404, "The model `x`\ndoes not exist"),
            "fake answered 404: The model `x` does not exist; are --model and --base-url right?",
        ),
    ],
)
async def test_what_no_call_can_get_past_stops_the_run(response: http.Response, words: str) -> None:
    error = await failure(Server(response))
    assert isinstance(error, UpstreamError)
    assert str(error) == words


async def test_a_key_that_is_wanted_and_not_given_is_asked_for() -> None:
    assert "it wants a key; set OPENAI_API_KEY" in str(await failure(Server(refusal(401)), key=None))


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 413, 429, 500])
@pytest.mark.parametrize("before", [0, 61, 82, 262])
async def test_no_error_ever_quotes_the_key(status: int, before: int) -> None:
    """Wherever the key stands in the echo: cutting long words short must not leave half of it."""
    words = f"{'x' * before} Authorization: Bearer {SECRET}"
    for response in (refusal(status, words), http.Response(status, text=words, headers=AT_ONCE)):
        error = await failure(Server(response))
        shown = "".join(traceback.format_exception(error)) + str(error)
        assert SECRET[:12] not in shown


@pytest.mark.parametrize("lost", [http.ConnectError(""), http.ReadError(SECRET), http.ReadTimeout("")])
async def test_no_error_shows_the_password_of_a_base_url(lost: Exception) -> None:
    url = f"http://me:{SECRET}@fake:8080/v1"
    error = await failure(Server(lost), key="other-key", url=url)
    assert "fake:8080" in str(error)
    assert "very-secret" not in "".join(traceback.format_exception(error))
    echoing = Server(refusal(400, f"http://me:{SECRET}@fake:8080"))
    assert "very-secret" not in str(await failure(echoing, url=url, key="other-key"))


async def test_an_endpoint_that_is_not_there_is_named_by_the_options_that_name_it() -> None:
    async with upstream(Server(http.ConnectError("refused")), options="--distiller-") as calling:
        with pytest.raises(UpstreamError, match=r"is --distiller-base-url right\?"):
            await calling(BODY, KEY)
