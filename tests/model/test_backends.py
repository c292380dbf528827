"""Which backend a URL belongs to, where a token prior is not sent, and which model is about to leave."""

from dataclasses import replace
from datetime import date

import pytest

from tfgrpo.model.backends import LeftOut, backend_key, left_out, shutdown_day, shutdown_notice
from tfgrpo.records import Backend, Prior, TokenBias

PRIOR = Prior((), (TokenBias(7, b"yes", 1.0, 3.0, 5),), "tokenizer_1")
GOOD = Backend(logit_bias="honoured", tokenizer="tokenizer_1")


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
        ("https://API.openai.com:443/v1/chat/completions", "https://api.openai.com/v1"),
        ("http://127.0.0.1:8080/v1/chat/completions?key=secret", "http://127.0.0.1:8080/v1"),
        ("http://user:secret@host/a/v1/chat/completions/", "http://host/a/v1"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1"),
        ("http://host:80", "http://host"),
    ],
)
def test_a_request_and_its_base_url_have_one_key_without_secrets(url: str, key: str) -> None:
    assert backend_key(url) == key


@pytest.mark.parametrize(
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
    assert left_out(PRIOR, backend) == why
    assert left_out(Prior(), backend) is None


TODAY = date(2026, 11, 26)


@pytest.mark.parametrize(
    ("day", "words"),
    [
        ("2027-01-14", "leaves its API on 2027-01-14, in 49 days"),
        ("2026-11-26", "in 0 days"),
        ("2026-11-01", "has left its API on 2026-11-01"),
        ("2027-02-24", "in 90 days"),
        ("2027-02-25", None),
        ("", None),
    ],
)
def test_a_model_is_told_of_within_ninety_days(day: str, words: str | None) -> None:
    found = shutdown_notice("gpt", day, TODAY)
    assert words in found if words and found else found is words
    assert found is None or "tfgrpo port" in found


def test_only_a_date_is_one() -> None:
    told = ["2027-01-14", "2027-01-14T00:00:00Z", "soon", "2027-13-01", None, 3]
    assert [shutdown_day(one) for one in told] == ["2027-01-14", "2027-01-14", "", "", "", ""]
