"""What can be learned on an upstream, in words."""

import pytest

from tests.tables import each
from tfgrpo.model.tokenizer import Tokenizer
from tfgrpo.probe.learnable import learnable
from tfgrpo.records import Backend
from tfgrpo.surfaces.surface import ways_open

LETTERS = Tokenizer("letters", lambda text: [*text.encode()], lambda piece: None, lambda token: b"")
ALL = Backend(logit_bias="honoured", token_ids=True, logprobs=True, includes_bias=True)


def test_where_all_is_honoured_there_is_nothing_to_do() -> None:
    found = learnable(ALL, None)
    assert (found.token_prior, found.advice) == ("policy gradient", ())
    assert found.as_json()["experiences"] is True


def test_raw_log_probabilities_of_vllm_can_be_had_after_the_bias() -> None:
    found = learnable(Backend(kind="vllm", logit_bias="honoured", logprobs=True), None)
    assert found.token_prior == "policy gradient"
    assert "logprobs_mode=processed_logprobs" in found.advice[0]
    assert learnable(Backend(kind="llama.cpp", logit_bias="honoured", logprobs=True), None).advice == ()


def test_without_log_probabilities_a_tokenizer_allows_the_weaker_estimator() -> None:
    found = learnable(Backend(logit_bias="honoured"), LETTERS)
    assert found.token_prior == "log-odds"
    assert "the weaker estimator" in found.why


@each(
    ("backend", "tokenizer", "why", "advice"),
    [
        (Backend(logit_bias="honoured"), None, "no log-probabilities with token ids", "--tokenizer FILE"),
        (Backend(logit_bias="unknown"), None, "could not be seen to honour logit_bias", "tfgrpo[tokenizer]"),
        (Backend(logit_bias="unknown"), LETTERS, "could not be seen to honour logit_bias", "probe again"),
        (Backend(logit_bias="rejected"), LETTERS, "does not honour logit_bias", "llama.cpp, vLLM"),
        (Backend(logit_bias="inert"), LETTERS, "(inert)", "what is learned as text works here"),
        (Backend(lacking="set TIKTOKEN_CACHE_DIR"), None, "set TIKTOKEN_CACHE_DIR", "set TIKTOKEN_CACHE_DIR"),
    ],
)
def test_what_is_in_the_way_is_said_with_what_to_do(
    backend: Backend, tokenizer: Tokenizer | None, why: str, advice: str
) -> None:
    found = learnable(backend, tokenizer)
    assert found.token_prior is None
    assert why in found.why
    assert len(found.advice) == 1
    assert advice in found.advice[0]


def test_where_biases_are_refused_and_log_probabilities_come_labels_can_be_learned() -> None:
    found = learnable(Backend(logit_bias="inert", logprobs=True), None)
    assert found.token_prior == "policy gradient"
    assert "where answers are labels, these are decided again" in found.why
    assert "--labels A,B,C" in found.advice[0]


@pytest.mark.parametrize(
    ("backend", "n", "ways"),
    [
        (Backend(logit_bias="honoured"), "honoured", ("bias",)),
        (Backend(logit_bias="rejected", logprobs=True), "honoured", ("re-decide", "resample", "verbalise")),
        (Backend(logit_bias="inert", logprobs=True), "inert", ("re-decide", "verbalise")),
        (Backend(logit_bias="rejected"), "honoured", ("verbalise",)),
    ],
)
def test_the_ways_that_are_open_are_named_the_best_first(backend: Backend, n: str, ways: tuple[str, ...]) -> None:
    assert ways_open(backend, n) == ways
