"""Offsets act on the answers of the decisions API, and on nothing that is no answer of theirs."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from tests.tables import each
from tfgrpo.model.questions import read_question
from tfgrpo.records import JSON, Frame, OptionOffset, Prior, QuestionOffsets, Snapshot, TokenBias
from tfgrpo.surfaces.decided import FROZEN_FIELD, Deciding, asks_another, deciding
from tfgrpo.surfaces.http import REASON_HEADER, rewrite


def offsets(kind: Any, words: str, **given: float) -> QuestionOffsets:
    named = {"true": True, "false": False} if kind == "predicate" else {}
    return QuestionOffsets(kind, words, tuple(OptionOffset(named.get(o, o), b, 2.0, 9) for o, b in given.items()))


PRIOR = Prior(
    questions=(
        offsets("choice", "Which?", a=-1.0, b=1.0),
        offsets("predicate", "Urgent?", true=1.0, false=-1.0),
        offsets("score", "How good?", bad=0.0, good=math.log(2)),
    )
)
ASKED: Any = {
    "questions": [
        {"type": "choice", "instructions": "Which?", "choices": [{"value": "a"}, {"value": "b"}]},
        {"type": "predicate", "instructions": [{"type": "input_text", "text": "Urgent?"}]},
        {"type": "score", "instructions": "How good?", "levels": [{"label": "bad"}, {"label": "good"}]},
        {"type": "choice", "instructions": "Which one?", "choices": [{"value": "a"}, {"value": "b"}]},
    ]
}


def choice(**shares: float) -> dict[str, Any]:
    listed = [{"value": value, "probability": share} for value, share in shares.items()]
    return {"type": "choice", "name": None, "choice": "a", "confidence": shares["a"], "probabilities": listed}


SCORE = {
    "type": "score",
    "score": 0.5,
    "confidence": 0.5,
    "probabilities": [
        {"label": "bad", "value": 0, "probability": 0.5},
        {"label": "good", "value": 1, "probability": 0.5},
    ],
}


def decide(*answers: JSON) -> Any:
    found = deciding(ASKED, PRIOR)
    assert found is not None
    return found.decided({"model": "m", "answers": list(answers), "usage": {}})


def test_answers_are_moved_and_what_they_were_stays_beside_them() -> None:
    first = choice(a=0.6, b=0.4)
    found = decide(first, {"type": "predicate", "probability": 0.3}, SCORE, choice(a=0.6, b=0.4))
    answers = found.payload["answers"]
    b = 0.4 * math.exp(1) / (0.4 * math.exp(1) + 0.6 * math.exp(-1))
    assert [entry["probability"] for entry in answers[0]["probabilities"]] == pytest.approx([1 - b, b])
    assert (answers[0]["choice"], answers[0]["confidence"]) == ("b", pytest.approx(b))
    assert answers[0][FROZEN_FIELD] == {name: first[name] for name in ("choice", "confidence", "probabilities")}
    odds = 0.3 / 0.7 * math.exp(2)
    assert answers[1]["probability"] == pytest.approx(odds / (1 + odds))
    assert answers[2]["score"] == pytest.approx(2 / 3, abs=1e-4)
    assert answers[2][FROZEN_FIELD]["score"] == 0.5
    assert answers[3] == choice(a=0.6, b=0.4)  # other words are another question
    assert (found.moved, found.unseen, found.payload["model"]) == (3, (), "m")


def test_a_certain_answer_stays_a_probability_and_one_of_unknown_options_alone_stays_as_it_came() -> None:
    found = decide(choice(a=0.6, b=0.4), {"type": "predicate", "probability": 1}, SCORE, SCORE)
    assert found.payload["answers"][1]["probability"] == 1.0
    unknown = {"type": "choice", "choice": "x", "probabilities": [{"value": "x", "probability": 1.0}]}
    found = decide(unknown, {"type": "predicate", "probability": 0}, SCORE, SCORE)
    assert (found.payload["answers"][0], found.payload["answers"][1]["probability"]) == (unknown, 0.0)
    assert (found.moved, found.unseen) == (2, ("x",))


@each(
    "answer",
    [
        {"type": "refusal", "name": None},
        {"type": "choice", "probabilities": [{"value": "a", "probability": "much"}]},
        {"type": "choice", "probabilities": [{"value": 3, "probability": 1}]},
        {"type": "choice", "probabilities": []},
        {"type": "choice", "probabilities": [{"value": "a", "probability": 0}]},
        {"type": "choice", "probabilities": [{"value": "a", "probability": float("nan")}]},
        {"type": "choice", "probabilities": [{"value": value, "probability": 1e308} for value in "ab"]},
        {"type": "essay"},
        "no answer",
        None,
    ],
)
def test_what_is_no_answer_is_left_as_it_came(answer: JSON) -> None:
    found = decide(answer, {"type": "refusal"}, {"type": "score"}, None)
    assert found.payload["answers"] == [answer, {"type": "refusal"}, {"type": "score"}, None]
    assert found.moved == 0


@each("payload", [None, [], {"error": {}}, {"answers": None}, {"answers": []}, {"answers": [1, 2]}])
def test_a_response_of_another_shape_is_left_as_it_came(payload: JSON) -> None:
    found = deciding(ASKED, PRIOR)
    assert found is not None
    assert found.decided(payload).payload is payload


def test_probabilities_need_not_sum_to_one_and_may_be_zero_or_of_options_never_seen() -> None:
    found = decide(choice(a=0.0, b=1.2, c=1.2), {"type": "predicate", "probability": 0}, SCORE, None)
    shares = [entry["probability"] for entry in found.payload["answers"][0]["probabilities"]]
    assert shares == pytest.approx([0, math.e / (1 + math.e), 1 / (1 + math.e)])
    assert found.unseen == ("c",)
    assert found.notice == "the prior has no offset for 'c': such options keep their probability"
    assert found.payload["answers"][1]["probability"] == 0.0


def test_a_prior_without_offsets_for_what_is_asked_does_nothing() -> None:
    assert deciding(ASKED, Prior()) is None
    assert deciding({"questions": ASKED["questions"][3:]}, PRIOR) is None
    assert deciding({"questions": None}, PRIOR) is None
    assert Deciding((None,)).decided({"answers": [1]}).moved == 0


def test_what_is_asked_in_other_words_is_another_question_even_where_offsets_are_all_0() -> None:
    learned = {"questions": ASKED["questions"][:3]}
    still = Prior(questions=(offsets("choice", "Which?", a=0.0, b=0.0),))
    asked = [(ASKED, PRIOR), (learned, PRIOR), (learned, Prior()), ({"questions": ASKED["questions"][:1]}, still)]
    assert [asks_another(*one) for one in asked] == [True, False, False, False]
    assert asks_another({"questions": [{"type": "predicate", "instructions": "Which?"}]}, still)


def test_offsets_that_were_learned_with_one_image_act_on_no_other_and_on_no_question_without() -> None:
    def asked(*images: str) -> Any:
        shown = [{"type": "input_image", "image_url": image} for image in images]
        words = {"type": "input_text", "text": "Which?"}
        return {"type": "choice", "instructions": [words, *shown], "choices": [{"value": "a"}, {"value": "b"}]}

    learned = read_question(asked("https://a.example/1.png"), "q").instructions
    prior = Prior(questions=(offsets("choice", learned, a=-1.0, b=1.0),))
    requests: list[Any] = [{"questions": [asked(*one)]} for one in (["https://a.example/1.png"], ["data:b"], [])]
    assert [deciding(one, prior) is not None for one in requests] == [True, False, False]
    assert [asks_another(one, prior) for one in requests] == [False, True, True]


@each(
    ("instructions", "model", "prior", "why"),
    [
        ("Which?", "m", PRIOR, None),
        ("Which one?", "m", PRIOR, "other-question"),
        ("Which one?", "m", replace(PRIOR, biases=(TokenBias(0, b"a", 1.0, 3.0, 9),)), "other-question"),
        ("Which?", "n", PRIOR, "other-model"),
        ("Which?", "m", Prior(questions=(offsets("choice", "Which?", a=0.0, b=0.0),)), "empty"),
        ("Which?", "m", Prior(biases=(TokenBias(0, b"a", 1.0, 3.0, 9),)), "surface"),
    ],
)
def test_a_request_that_offsets_do_not_reach_is_told_why(
    instructions: str, model: str, prior: Prior, why: str | None
) -> None:
    content = json.dumps(
        {"model": model, "input": "x", "questions": [{**ASKED["questions"][0], "instructions": instructions}]}
    )
    found = rewrite(content.encode(), Snapshot("default", prior, "live", Frame("m")), path="/decisions")
    assert (found.reason, found.marks.get(REASON_HEADER)) == (why, why)


def test_no_offset_and_no_value_of_a_level_is_too_large_for_a_call() -> None:
    far = Prior(questions=(offsets("choice", "Which?", a=1000.0, b=-1000.0),))
    found = deciding(ASKED, far)
    assert found is not None
    (moved, *_) = found.decided({"answers": [choice(a=0.4, b=0.6), None, None, None]}).payload["answers"]
    assert moved["probabilities"][0]["probability"] == 1.0
    levels = [{"label": label, "value": 10**400, "probability": 0.5} for label in ("bad", "good")]
    huge = {**SCORE, "probabilities": levels}
    scored = decide(None, None, huge, None).payload["answers"][2]
    assert scored["score"] == pytest.approx(2 / 3, abs=1e-4), "levels without a usable value count from 0"


def test_an_option_that_is_a_number_is_not_taken_for_true() -> None:
    answer = {**choice(a=0.5), "probabilities": [{"value": one, "probability": 0.5} for one in (1, 0)]}
    assert Deciding(({True: 2.0, False: 0.5},)).decided({"answers": [answer]}).moved == 0
    answer["probabilities"] = [{"value": one, "probability": 0.5} for one in (True, False)]
    assert Deciding(({True: 2.0, False: 0.5},)).decided({"answers": [answer]}).moved == 1
