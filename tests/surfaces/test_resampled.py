"""One of several answers is picked so that answers come nearer to those under biases, the more of them are paid for."""

import math
from collections.abc import Iterator, Mapping
from itertools import product
from math import comb
from typing import Any

import pytest

from tests.tables import each
from tfgrpo.records import JSON, Backend, Prior, TokenBias
from tfgrpo.surfaces.resampled import RESAMPLED_HEADER, Resampling, asking_for_answers, resampling

FIRST, SECOND = {"a": 0.7, "b": 0.3}, {"a": {"x": 0.8, "y": 0.2}, "b": {"x": 0.4, "y": 0.6}}
BIASES = {"b": 1.0, "y": 1.7}
PRIOR = Prior(
    biases=tuple(TokenBias(at, piece.encode(), bias, 3.0, 9) for at, (piece, bias) in enumerate(BIASES.items()))
)
HEARD = Backend("other", "rejected", token_ids=True, logprobs=True)


def biased(shares: Mapping[str, float]) -> dict[str, float]:
    weights = {token: share * math.exp(BIASES.get(token, 0.0)) for token, share in shares.items()}
    return {token: weight / sum(weights.values()) for token, weight in weights.items()}


OUTCOMES = [one + two for one, two in product("ab", "xy")]
FROZEN = {text: FIRST[text[0]] * SECOND[text[0]][text[1]] for text in OUTCOMES}
WANTED = {text: biased(FIRST)[text[0]] * biased(SECOND[text[0]])[text[1]] for text in OUTCOMES}


def entry(token: str, shares: Mapping[str, float], *, listed: bool = True) -> JSON:
    told = [{"token": one, "logprob": math.log(share)} for one, share in shares.items()]
    return {"token": token, "logprob": math.log(shares[token]), "top_logprobs": told if listed else []}


def choice(text: str, *, listed: bool = True) -> dict[str, JSON]:
    entries = [entry(text[0], FIRST, listed=listed), entry(text[1], SECOND[text[0]], listed=listed)]
    return {"index": 0, "message": {"content": text}, "finish_reason": "stop", "logprobs": {"content": entries}}


def made(answers: int, **body: JSON) -> Resampling:
    found = resampling({"messages": [], **body}, PRIOR, HEARD, answers)
    assert found
    return found


def counts(total: int, kinds: int) -> Iterator[tuple[int, ...]]:
    if kinds == 1:
        yield (total,)
        return
    for first in range(total + 1):
        yield from ((first, *rest) for rest in counts(total - first, kinds - 1))


def variation(answers: int) -> float:
    """The total variation to the biased policy, summed over all that could be sampled."""
    from tfgrpo.surfaces.resampled import _weight

    sampling = made(2).sampling
    logs = [_weight(choice(text), sampling)[0] for text in OUTCOMES]
    weights = [math.exp(log) for log in logs if log is not None]
    came = [0.0] * len(OUTCOMES)
    for drawn in counts(answers, len(OUTCOMES)):
        chance, left = 1.0, answers
        for count, text in zip(drawn, OUTCOMES, strict=True):
            chance *= comb(left, count) * FROZEN[text] ** count
            left -= count
        total = sum(count * weight for count, weight in zip(drawn, weights, strict=True))
        for place, count in enumerate(drawn):
            came[place] += chance * count * weights[place] / total
    return sum(abs(one - WANTED[text]) for one, text in zip(came, OUTCOMES, strict=True)) / 2


def test_the_more_answers_the_nearer_to_the_biased_policy() -> None:
    """At least as near as was simulated: .41 at n = 1, .15 at 4, .05 at 16."""
    found = {answers: variation(answers) for answers in (1, 4, 16)}
    assert found[1] == pytest.approx(0.41, abs=0.04)
    assert found[16] < 0.05 < found[4] < 0.15


def test_one_answer_stays_with_what_it_cost_and_the_first_beside_it() -> None:
    payload: Any = {"id": "c", "choices": [choice(text) for text in ("ax", "by", "ax")], "usage": {"total_tokens": 9}}
    said = {made(3, seed=seed).decided(payload).payload["choices"][0]["message"]["content"] for seed in range(30)}
    assert said == {"ax", "by"}
    seed = next(
        seed
        for seed in range(30)
        if made(3, seed=seed).decided(payload).payload["choices"][0]["message"]["content"] == "by"
    )
    found = made(3, seed=seed).decided(payload)
    (one,) = found.payload["choices"]
    assert (one["index"], one["logprobs"], one["tfgrpo_frozen"]) == (0, None, {"content": "ax"})
    assert (found.marks, found.payload["usage"]) == ({RESAMPLED_HEADER: "3 answers"}, {"total_tokens": 9})


@pytest.mark.parametrize(
    ("choices", "told"),
    [
        ([choice("ax", listed=False), choice("by", listed=False)], "2 answers; no-alternatives"),
        ([choice("ax"), {"message": {"content": "by"}}], "2 answers; no-log-probabilities"),
        ([choice("ax"), {"message": None, "logprobs": {"content": [3]}}], "2 answers; no-log-probabilities"),
    ],
)
def test_what_is_lacking_is_said(choices: list[JSON], told: str) -> None:
    found = made(2).decided({"choices": choices})
    assert found.marks == {RESAMPLED_HEADER: told}
    assert len(found.payload["choices"]) == 1
    assert made(2).decided({"error": "x"}).payload == {"error": "x"}


@each("body", [{"n": 2}, {"stream": True}, {"temperature": 1e-5}, {"tools": [{}]}, {"reasoning_effort": "low"}])
def test_no_answer_is_paid_for_where_none_can_be_picked(body: dict[str, JSON]) -> None:
    assert resampling({"messages": [], **body}, PRIOR, HEARD, 4) is None
    assert resampling({"messages": []}, PRIOR, HEARD, 1) is None
    assert asking_for_answers({"logprobs": True, "top_logprobs": 3}, 4) == {"logprobs": True, "top_logprobs": 3, "n": 4}


def test_a_temperature_of_next_to_nothing_picks_by_the_same_weights() -> None:
    """e^(b/T) is too large for a float there."""
    found = made(2, temperature=0.002).decided({"choices": [choice("ax"), choice("by")]})
    assert len(found.payload["choices"]) == 1
    assert found.marks == {RESAMPLED_HEADER: "2 answers"}
