"""A token prior in words: which labels there are, and which are said too often or too seldom."""

from tfgrpo.records import Prior, Rollout, Task, TokenBias
from tfgrpo.token_prior.verbalised import in_words, weights_of_rollouts, with_tokens_in_words

LABELS = ("billing", "technical", "sales")


def test_what_is_said_too_often_is_rarer_than_it_seems() -> None:
    right = ["billing"] * 4 + ["technical"] * 4 + ["sales"] * 4
    said = ["Billing."] * 8 + ["technical"] * 3 + ["I think so"]
    rollouts = [
        Rollout(Task("?", one), 0, at, "", text=text) for at, (one, text) in enumerate(zip(right, said, strict=True))
    ]
    weights = weights_of_rollouts(LABELS, rollouts)
    assert weights["billing"] < 0 < weights["sales"]
    assert in_words(LABELS, weights) == (
        "Answer with one of: billing, technical, sales; say nothing else. billing is rarer than it seems."
        " sales is more common than it seems."
    )


def test_biases_are_told_by_the_labels_that_they_begin() -> None:
    biases = (
        TokenBias(1, b" bill", -2.0, -3.0, 9),
        TokenBias(2, b"tech", 1.0, 3.0, 9),
        TokenBias(3, b"The", -3.0, -3.0, 9),
    )
    told = with_tokens_in_words(Prior(biases=biases, tokenizer="t"), LABELS)
    assert (told.biases, told.tokenizer) == ((), None)
    assert told.experiences[-1].text.endswith("billing is rarer than it seems. technical is more common than it seems.")
    many = tuple(f"label{at}" for at in range(30))
    assert in_words(many, dict.fromkeys(many, 0.0)) == "Answer with the label alone; say nothing else."
