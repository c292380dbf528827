"""The state of the token prior between steps."""

from tfgrpo.records import Backend, Frame, TokenBias
from tfgrpo.settings import Settings
from tfgrpo.token_learning import TokenLearning, obstacle, strongest


def test_the_strongest_biases_are_sent_rounded() -> None:
    assert strongest({1: 0.123456, 2: -2.0, 3: 0.00001, 4: 1.0}, 2) == {2: -2.0, 4: 1.0}
    assert strongest({1: 0.123456}, 5) == {1: 0.1235}


def test_a_run_starts_from_the_biases_that_it_inherits() -> None:
    entry = TokenBias(7, b"yes", 1.5, 4.0, 9)
    learning = TokenLearning((entry,), Frame("m"), Backend(), Settings())
    assert [(bias.token, bias.piece, bias.bias) for bias in learning.working] == [(7, b"yes", 1.5)]
    assert learning.result() == (entry,)


def test_what_an_upstream_lacks_is_named() -> None:
    assert obstacle(Backend(logit_bias="honoured", logprobs=True, token_ids=True)) is None
    assert obstacle(Backend(logit_bias="honoured")) == "gives no log-probabilities with token ids"
    both = obstacle(Backend(logit_bias="rejected"))
    assert both is not None
    assert "(rejected)" in both
    assert "log-probabilities" in both
