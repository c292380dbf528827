"""Questions of the decisions API are read or refused by name, and answers are probabilities or none."""

from typing import Any

import pytest

from tests.tables import each
from tfgrpo.errors import InputError
from tfgrpo.model.questions import (
    Question,
    answered,
    instructions_text,
    option_named,
    option_shares,
    option_text,
    parse_questions,
    read_question,
    storable,
)
from tfgrpo.records import JSON, Option

TOPIC = {"type": "choice", "name": "topic", "instructions": "Which?", "choices": [{"value": "a"}, {"value": True}]}
LEVELS = {
    "type": "score",
    "instructions": "How?",
    "levels": [{"label": "low", "description": "bad"}, {"label": "high"}],
}


def test_a_question_is_known_by_what_it_asks() -> None:
    topic, levels = parse_questions([TOPIC, LEVELS])
    assert topic == Question("choice", "Which?", ("a", True), ("", ""), "topic")
    assert (levels.options, levels.described) == (("low", "high"), ("bad", ""))
    assert read_question({"type": "predicate", "instructions": "True?"}, "q").options == (True, False)
    renamed = {**TOPIC, "name": None, "choices": [{"value": "x"}, {"value": "y"}]}
    assert read_question(renamed, "q").id == topic.id != read_question({**TOPIC, "instructions": "Which one?"}, "q").id


@each(
    ("given", "told"),
    [
        ([], "questions must be a list of 1 to 400"),
        ([TOPIC] * 401, "has 401 entries"),
        ([3], "questions[0] must be an object"),
        ([{**TOPIC, "type": "essay"}], "questions[0].type must be predicate, choice or score, and is 'essay'"),
        ([{**TOPIC, "instructions": 3}], "questions[0].instructions must be a text"),
        ([TOPIC, {**TOPIC, "choices": [{"value": "a"}]}], "questions[1].choices must be a list of 2 to 255"),
        ([{**TOPIC, "choices": [{"value": "a"}] * 256}], "2 to 255"),
        ([{**TOPIC, "choices": [{"value": "a"}, {"value": "a"}]}], "holds an option twice"),
        ([{**TOPIC, "choices": [{"value": "a"}, {"value": " "}]}], "choices[1].value must be a text that is not empty"),
        ([{**TOPIC, "choices": [{"value": "a"}, {"value": 3}]}], "or a boolean"),
        ([{**LEVELS, "levels": [{"label": True}, {"label": "a"}]}], "levels[0].label must be a text"),
        ([{**TOPIC, "name": 3}], "questions[0].name must be a text"),
    ],
)
def test_what_is_no_question_is_named(given: JSON, told: str) -> None:
    with pytest.raises(InputError) as error:
        parse_questions(given)
    assert told in str(error.value)


def test_four_hundred_questions_can_be_asked() -> None:
    assert len(parse_questions([TOPIC] * 400)) == 400


CHOICE: Any = {
    "type": "choice",
    "probabilities": [{"value": "a", "probability": 0.5}, {"value": True, "probability": 0.5}],
}


@each(
    ("answer", "expected"),
    [
        ({"type": "predicate", "probability": 0.25}, {True: 0.25, False: 0.75}),
        (CHOICE, {"a": 0.5, True: 0.5}),
        ({"type": "score", "probabilities": [{"label": "x", "probability": 0.2}]}, {"x": 1.0}),  # they do not sum to 1
        ({"type": "refusal", "name": None}, None),
        ({"type": "predicate", "probability": 1.5}, None),
        ({"type": "predicate", "probability": float("nan")}, None),
        ({"type": "predicate", "probability": True}, None),
        ({"type": "choice", "probabilities": []}, None),
        ({"type": "choice", "probabilities": [{"value": "a", "probability": 0}]}, None),
        ({"type": "choice", "probabilities": [{"value": "a", "probability": -1}]}, None),
        ({"type": "choice", "probabilities": [{"value": ["a"], "probability": 1}]}, None),
        ({"type": "essay"}, None),
        ("a", None),
    ],
)
def test_an_answer_is_the_probability_of_each_option_or_none(
    answer: JSON, expected: dict[Option, float] | None
) -> None:
    assert answered(answer) == expected


def test_an_answer_of_a_task_names_an_option() -> None:
    topic, levels = parse_questions([TOPIC, LEVELS])
    predicate = read_question({"type": "predicate", "instructions": "True?"}, "q")
    assert [option_named(topic, given) for given in ("a", " A ", True, "true", "b", None)] == [
        "a",
        "a",
        True,
        True,
        None,
        None,
    ]
    assert [option_named(levels, given) for given in ("High", 0, 1, 2)] == ["high", "low", "high", None]
    assert [option_named(predicate, given) for given in (True, "yes", "FALSE", "no", "maybe")] == [
        True,
        True,
        False,
        False,
        None,
    ]
    assert (option_text(True), option_text("True")) == ("true", "True")


@each(
    ("answer", "shares"),
    [
        (CHOICE, [0.5, 0.5]),
        ({**CHOICE, "probabilities": [*CHOICE["probabilities"], {"value": "x", "probability": 9}]}, [0.5, 0.5]),
        ({**CHOICE, "probabilities": [{"value": "x", "probability": 1.0}]}, None),  # none of its options
        ({**CHOICE, "type": "predicate", "probability": 0.5}, None),  # of another kind of question
        ({"type": "choice", "probabilities": [{"value": "a", "probability": 10**400}]}, None),
        ({"type": "choice", "probabilities": [{"value": "a", "probability": 1e308}]}, None),
    ],
)
def test_an_answer_tells_shares_of_the_options_that_were_asked_about_or_none(
    answer: JSON, shares: list[float] | None
) -> None:
    assert option_shares(read_question(TOPIC, "q"), answer) == shares


@each(
    ("options", "given", "meant"),
    [
        (("true", True), True, True),
        (("true", True), "true", "true"),
        (("true", True), "TRUE", None),  # either
        (("Yes", "yes"), "yes", "yes"),
        (("1", "1.0", "True"), 1, "1"),
        (("1", "1.0", "True"), 1.0, "1.0"),
        (("1", "1.0", "True"), True, "True"),
    ],
)
def test_an_answer_means_the_option_of_its_type_and_case(
    options: tuple[Option, ...], given: JSON, meant: Option | None
) -> None:
    found = option_named(Question("choice", "Which?", options), given)
    assert (found, type(found)) == (meant, type(meant))


def test_a_number_means_the_level_that_is_labelled_so_and_else_its_place() -> None:
    stars = Question("score", "How many stars?", ("1", "2", "3", "4", "5"))
    assert [option_named(stars, given) for given in (1, 5, "3", 0)] == ["1", "5", "3", None]
    words = Question("score", "How good?", ("bad", "good"))
    assert [option_named(words, given) for given in (0, 1, 2)] == ["bad", "good", None]


def test_instructions_in_parts_are_text_too() -> None:
    assert (
        instructions_text([{"type": "input_text", "text": "a"}, {"type": "input_json", "data": {"b": "é"}}])
        == 'a\n{"b": "é"}'
    )
    assert instructions_text(3) is None
    assert instructions_text([3]) is None


def test_images_tell_questions_apart_and_no_store_holds_them() -> None:
    words = {"type": "input_text", "text": "Is it this one?"}
    plain, first, second = (
        {"type": "predicate", "instructions": [words, *parts]}
        for parts in ((), *([{"type": "input_image", "image_url": f"data:{name}"}] for name in ("a", "b")))
    )
    assert len({read_question(one, "q").id for one in (plain, first, second)}) == 3
    asked = read_question({"type": "predicate", "instructions": "Is it this one?"}, "q")
    assert read_question(plain, "q").id == asked.id == "question_b6f1e706ad0a3bd0", "what was learned stays valid"
    assert (storable(plain), "data:a" in str(storable(first))) == (plain, False)
    assert read_question(storable(first), "q").id == read_question(first, "q").id
