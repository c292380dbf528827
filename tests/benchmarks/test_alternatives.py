"""The benchmark of alternatives: with all of them shown, what is decided again is what biases would have said."""

import math

from benchmarks.alternatives import summary

P = {b"The": 0.6, b"bad": 0.2, b"good": 0.15, b"I": 0.05}
ROW = {
    "set": "a", "seed": 0, "labels": ["bad", "good"], "answers": ["good", "bad"], "texts": ["one", "two"],
    "biases": [[b"good".hex(), 2.0], [b"bad".hex(), 1.0]],
    "listed": [[[piece.hex(), math.log(share)] for piece, share in P.items()]] * 2,
}  # fmt: skip


def test_the_more_is_shown_the_nearer_it_comes_to_biasing() -> None:
    cold, few, whole, _, _, all_shown = summary([ROW], (2, 4))
    assert [one["shown"] for one in (few, whole)] == [2, 4]
    assert (few["less bias"]["answer listed"], whole["less bias"]["answer listed"]) == (0.5, 1.0)
    assert few["less bias"]["apart"] > whole["less bias"]["apart"] == 0.0
    assert (cold["temperature"], cold["bias"]) == (0.0, 50.0)
    assert all_shown["less bias"]["apart"] == 0.0
