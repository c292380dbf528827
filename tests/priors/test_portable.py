"""A prior survives its portable form, and nothing that is wrong with a form goes unnamed."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.surfaces.vectors import drawn, embedded
from tests.tables import each
from tfgrpo.errors import InputError
from tfgrpo.priors.parse import parse_prior
from tfgrpo.priors.portable import Event, Portable, json_text, plain_text, portable_json
from tfgrpo.priors.signing import signed_bytes
from tfgrpo.prompts import asset_folder
from tfgrpo.records import (
    Decision,
    Demonstration,
    Effect,
    Experience,
    Frame,
    Group,
    OptionOffset,
    Origin,
    Prior,
    QuestionOffsets,
    Rollout,
    Task,
    TokenBias,
)

FRAME = Frame("m", "Be brief.", {"max_tokens": 5, "tools": [{"type": "function"}]}, 0.7, 0.9)
FIRST = Experience("When adding, count.", origin=Origin("run_a", 1, ("task_1",), "exp_0"))
SECOND = Experience("Q: 1 + 1\nA: 2", "demonstration")
PRIOR = Prior(
    (FIRST, SECOND),
    (TokenBias(7, b"\xff", 0.5, 3.0, 4), TokenBias(9, "né".encode(), -1.25, -2.0, 5)),
    "tokenizer",
    "template_1",
    "prior_0",
)
EFFECT = Effect(FIRST.id, "run_a", 1, 0.25, 0.1, 8)
DECISION = Decision(FIRST.id, "kept", "it helps", "rule", "run_a", 2)
EVENT = Event("ungated", "run_a", "rule", "learned", "2026-01-01T00:00:00Z")
PORTABLE = Portable(PRIOR, FRAME, "math", "run_a", (EFFECT,), (DECISION,), (EVENT,))
PLAIN = Demonstration("영수증이 어디 있나요?", "BILL", "task_1")
CHAT = Demonstration(({"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text"}]}), "أجب")
SHOWING = replace(PRIOR, instruction="Answer with\none word.", demonstrations=(PLAIN, CHAT), nearest=1)
SHOWN = replace(PORTABLE, prior=SHOWING)
SCHEMA = json.loads(Path(asset_folder("store") / "prior.schema.json").read_text(encoding="utf-8"))

texts = st.text(st.characters(codec="utf-8"), max_size=20)
experiences = st.builds(
    Experience,
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
    st.sampled_from(["strategy", "demonstration"]),
    st.builds(Origin, texts, st.integers(0, 9), st.lists(texts, max_size=2).map(tuple), st.none() | texts),
)
biases = st.builds(
    TokenBias, st.integers(0, 200_000), st.binary(max_size=4), st.floats(-100, 100), st.floats(-9, 9), st.integers(0, 9)
)
some_text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
contents = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "tool"]), "content": texts})
demonstrations = st.builds(Demonstration, some_text | st.lists(contents, min_size=1, max_size=2).map(tuple), texts)
prompting = st.tuples(
    st.none() | some_text.filter(str.strip),
    st.lists(demonstrations, max_size=3, unique_by=lambda entry: entry.id).map(tuple),
    st.integers(0, 9),
)
priors = st.builds(
    Prior,
    st.lists(experiences, max_size=3, unique_by=lambda entry: entry.id).map(tuple),
    st.lists(biases, max_size=3, unique_by=lambda entry: entry.token).map(tuple),
    texts,
    texts,
    st.none() | texts,
)


def with_prompting(prior: Prior, parts: tuple[str | None, tuple[Demonstration, ...], int]) -> Prior:
    instruction, shown, nearest = parts
    return replace(prior, instruction=instruction, demonstrations=shown, nearest=nearest if shown else 0)


options = st.builds(OptionOffset, st.booleans() | texts, st.floats(-99, 99), st.integers(-9, 9), st.integers(0, 9))
questions = st.builds(
    QuestionOffsets,
    st.sampled_from(["predicate", "choice", "score"]),
    texts,
    st.lists(options, max_size=3, unique_by=lambda entry: (type(entry.option), entry.option)).map(tuple),
)


def with_questions(prior: Prior, asked: list[QuestionOffsets]) -> Prior:
    return replace(prior, questions=tuple(asked))


def form() -> dict[str, Any]:
    return portable_json(PORTABLE)


def read(value: object) -> Portable:
    found = parse_prior("p.json", json.dumps(value))
    assert isinstance(found, Portable)
    return found


def test_a_prior_comes_back_with_all_that_travels_with_it() -> None:
    found = parse_prior("p.json", json_text(PORTABLE))
    assert found == PORTABLE
    assert isinstance(found, Portable)
    assert found.prior.experiences[0].origin == FIRST.origin
    assert found.prior.parent == "prior_0"


@given(
    st.builds(
        with_questions,
        st.builds(with_prompting, priors, prompting),
        st.lists(questions, max_size=2, unique_by=lambda entry: entry.id),
    )
)
@settings(max_examples=15)
def test_any_prior_comes_back_and_keeps_to_the_schema(prior: Prior) -> None:
    value = json.loads(json_text(Portable(prior, FRAME, "math")))
    jsonschema.validate(value, SCHEMA)
    found = read(value)
    assert (found.prior, found.prior.id) == (prior, prior.id)
    assert [entry.piece for entry in found.prior.biases] == [entry.piece for entry in prior.biases]


def test_the_schema_is_one_and_the_form_keeps_to_it() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(form(), SCHEMA)


def test_a_prior_comes_back_with_its_way_to_prompt() -> None:
    text = json_text(SHOWN)
    jsonschema.validate(json.loads(text), SCHEMA)
    found = parse_prior("p.json", text)
    assert found == SHOWN
    assert isinstance(found, Portable)
    assert [entry.task for entry in found.prior.demonstrations] == ["task_1", ""]


def test_a_prior_without_a_way_to_prompt_is_written_as_before_there_was_any() -> None:
    assert form()["version"] == 1
    assert not {"instruction", "demonstrations", "nearest"} & form().keys()
    assert portable_json(SHOWN)["version"] == 2


def test_bytes_travel_as_text_where_they_are_text() -> None:
    first, second = form()["biases"]
    assert (first["base64"], "text" in first) == ("/w==", False)
    assert (second["text"], "base64" in second) == ("né", False)


def test_rollouts_travel_only_when_asked_and_are_not_read_back() -> None:
    task = Task("1 + 1", "2")
    rollout = Rollout(task, 0, 0, "prior_0", (FIRST.id,), ({"role": "user", "content": "\ud83d"},), "2", 1.0)
    asked = replace(PORTABLE, groups=(Group(task, 0, (rollout,)),))
    value = json.loads(json_text(asked))
    jsonschema.validate(value, SCHEMA)
    assert value["rollouts"][0]["attempts"][0]["text"] == "2"
    assert "rollouts" not in form()
    assert parse_prior("p.json", json_text(asked)) == PORTABLE


def test_fields_that_the_form_does_not_know_are_ignored() -> None:
    assert read({**form(), "note": "from a later tfgrpo"}) == PORTABLE


def test_a_form_from_before_there_was_a_lineage_is_read() -> None:
    value = form()
    del value["lineage"]
    jsonschema.validate(value, SCHEMA)
    assert read(value) == replace(PORTABLE, lineage=())


def test_the_text_is_what_a_prompt_and_a_request_get() -> None:
    text = plain_text(PORTABLE)
    assert "- When adding, count." in text
    assert json.loads(text.split("logit_bias = ")[1]) == {"7": 0.5, "9": -1.25}
    assert "logit_bias" not in plain_text(Portable(Prior((FIRST,)), FRAME, "math"))


def test_the_text_has_the_instruction_first_and_the_demonstrations_turn_by_turn() -> None:
    parts = plain_text(SHOWN).split("\n\n")
    assert parts[1] == "Answer with\none word."
    assert "- When adding, count." in parts[2] + parts[3]
    assert "(the 1 nearest to the request, of:)" in parts
    assert "user: 영수증이 어디 있나요?\nassistant: BILL" in parts
    assert "system: s" not in plain_text(SHOWN)


Change = Callable[[dict[str, Any]], object]
IN_BOTH: list[tuple[Change, str]] = [
    (lambda form: form.update(tfgrpo="experience"), "tfgrpo must be"),
    (lambda form: form.update(version="1"), "version must be a number"),
    (lambda form: form.update(version=True), "version must be a number"),
    (lambda form: form.pop("frame"), "frame is missing"),
    (lambda form: form.update(frame=[]), "frame must be an object"),
    (lambda form: form["frame"].update(model=""), "frame.model must be"),
    (lambda form: form["frame"].update(temperature="hot"), "frame.temperature must be a number"),
    (lambda form: form["frame"].update(top_p=1.5), "frame.top_p must be a number from 0 to 1"),
    (lambda form: form["frame"].update(request={"messages": []}), "messages"),
    (lambda form: form.update(experiences={}), "experiences must be a list"),
    (lambda form: form.update(experiences=[1] * 1_001), "at most 1,000"),
    (lambda form: form["experiences"][1].pop("text"), "experiences[1].text is missing"),
    (lambda form: form["experiences"][0].update(text=5), "experiences[0].text must be a text, and is 5"),
    (lambda form: form["experiences"][0].update(text="x" * 20_001), "20,001 characters"),
    (lambda form: form["experiences"][0].update(kind="law"), "strategy, demonstration"),
    (lambda form: form["experiences"][0]["origin"].update(step=0.5), "experiences[0].origin.step"),
    (lambda form: form["experiences"][0]["effects"][0].update(sd=-1), "experiences[0].effects[0].sd"),
    (lambda form: form["experiences"][0]["effects"][0].update(mean=1e300), "effects[0].mean"),
    (lambda form: form["experiences"][0]["decisions"][0].update(verdict="true"), "decisions[0].verdict"),
    (lambda form: form["lineage"][0].update(state="famous"), "lineage[0].state"),
    (lambda form: form["lineage"][0].pop("at"), "lineage[0].at is missing"),
    (lambda form: form["biases"][0].update(bias=101), "biases[0].bias must be a number from -100 to 100"),
    (lambda form: form["biases"][0].update(token=-1), "biases[0].token"),
    (lambda form: form["biases"][0].update(text="x"), "either text or base64"),
    (lambda form: form["biases"][1].pop("text"), "either text or base64"),
    (lambda form: form.update(biases=form["biases"] * 151), "302 entries; at most 300"),
]
"""What the schema and the reader both refuse."""
SHOWN_IN_BOTH: list[tuple[Change, str]] = [
    (lambda form: form.pop("nearest"), "nearest is missing"),
    (lambda form: form.pop("instruction"), "instruction is missing"),
    (lambda form: form.update(instruction=""), "instruction must be a text or null"),
    (lambda form: form.update(instruction="x" * 20_001), "20,001 characters"),
    (lambda form: form.update(nearest=-1), "nearest must be a number from 0"),
    (lambda form: form.update(nearest="all"), "nearest must be a number"),
    (lambda form: form.update(demonstrations={}), "demonstrations must be a list"),
    (lambda form: form["demonstrations"][0].pop("answer"), "demonstrations[0].answer is missing"),
    (lambda form: form["demonstrations"][0].update(answer=["BILL"]), "demonstrations[0].answer must be a text"),
    (lambda form: form["demonstrations"][0].update(input=""), "demonstrations[0].input must be a text or a list"),
    (lambda form: form["demonstrations"][1].update(input=[]), "demonstrations[1].input must be a text or a list"),
    (lambda form: form["demonstrations"][1].update(input=["hello"]), "demonstrations[1].input[0] must be an object"),
    (lambda form: form["demonstrations"][1]["input"][0].update(role="boss"), "demonstrations[1].input[0].role"),
    (lambda form: form["demonstrations"][1]["input"][0].update(content=5), "demonstrations[1].input[0].content"),
]
"""The same of a form with a way to prompt."""
IN_READER: list[tuple[Change, str]] = [
    (lambda form: form.update(id="prior_0"), "id is prior_0, but the content hashes to prior_"),
    (lambda form: form["experiences"].reverse(), "the content hashes to"),
    (lambda form: form["experiences"][0].update(text="When adding, guess."), "experiences[0].id"),
    (lambda form: form["biases"][0].update(bias=0.6), "the content hashes to"),
    (lambda form: form["biases"][0].update(base64="%"), "must be base64"),
    (lambda form: form.update(biases=form["biases"][:1] * 2), "two biases"),
    (lambda form: form.update(tokenizer=None), "tokenizer must be"),
    (lambda form: form.update(experiences=form["experiences"][:1] * 2), "twice"),
    (lambda form: form["experiences"][0].update(text="\ud83d"), "surrogate"),
    (lambda form: form["frame"]["request"].update(stop=["\ud83d"]), "frame.request holds half a surrogate"),
]
"""What no schema can say."""
SHOWN_IN_READER: list[tuple[Change, str]] = [
    (lambda form: form.update(instruction="Other."), "id is prior_"),
    (lambda form: form.update(instruction=" \n"), "instruction must be a text or null"),
    (lambda form: form.update(nearest=2), "id is prior_"),
    (lambda form: form["demonstrations"].reverse(), "the content hashes to"),
    (lambda form: form["demonstrations"][0].update(answer="BUG"), "demonstrations[0].id"),
    (lambda form: form.update(demonstrations=form["demonstrations"][:1] * 2), "stands in it twice"),
    (lambda form: form.update(demonstrations=[]), "nearest must be 0 where there are no demonstrations"),
    (lambda form: form["demonstrations"][0].update(answer="\ud83d"), "surrogate"),
    (lambda form: form["demonstrations"][1]["input"][0].update(content="\ud83d"), "surrogate"),
]
"""The same of a form with a way to prompt."""


@each(("change", "words"), [*IN_BOTH, *IN_READER])
def test_what_is_wrong_with_a_form_is_named_in_one_line(change: Change, words: str) -> None:
    value = copy.deepcopy(form())
    change(value)
    with pytest.raises(InputError) as caught:
        read(value)
    assert str(caught.value).startswith("p.json")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@each(
    ("change", "words"),
    [*SHOWN_IN_BOTH, *SHOWN_IN_READER],
)
def test_what_is_wrong_with_a_way_to_prompt_is_named_in_one_line(change: Change, words: str) -> None:
    value = copy.deepcopy(portable_json(SHOWN))
    change(value)
    with pytest.raises(InputError) as caught:
        read(value)
    assert str(caught.value).startswith("p.json")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@each(("change", "words"), SHOWN_IN_BOTH)
def test_the_schema_refuses_a_way_to_prompt_that_the_reader_refuses(change: Change, words: str) -> None:
    value = copy.deepcopy(portable_json(SHOWN))
    change(value)
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(value), words


@each(("change", "words"), IN_BOTH)
def test_the_schema_refuses_what_the_reader_refuses(change: Change, words: str) -> None:
    value = copy.deepcopy(form())
    change(value)
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(value), words


def test_a_later_version_asks_for_a_later_tfgrpo() -> None:
    with pytest.raises(InputError, match=r"version 5 of the form.*upgrade"):
        read({**form(), "version": 5, "experiences": "told otherwise"})


@each(
    ("text", "words"),
    [
        ('{"tfgrpo": "prior",\n oops}', "line 2: not JSON"),
        ("{" * 100_000, "p.json"),
        ("[" * 100_000, "not readable as JSON"),
        ('{"tfgrpo": NaN}', "NaN"),
        ('{"tfgrpo": ' + "9" * 5_000 + "}", "not readable as JSON"),
        (json_text(PORTABLE)[:200], "not JSON"),
    ],
)
def test_what_is_no_json_is_one_line(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        parse_prior("p.json", text)
    assert "\n" not in str(caught.value)


def test_a_number_that_cannot_be_written_again_is_refused() -> None:
    text = json_text(PORTABLE).replace('"max_tokens": 5', '"max_tokens": 1e999')
    with pytest.raises(InputError, match=r"frame\.request holds a number that is too large"):
        parse_prior("p.json", text)


def test_what_is_wrong_with_offsets_is_named() -> None:
    asked = QuestionOffsets("choice", "Which?", (OptionOffset("a", 0.5, 2.0, 9), OptionOffset(True, -0.5, -2.0, 9)))
    written = portable_json(replace(PORTABLE, prior=replace(PRIOR, questions=(asked,))))
    assert written["version"] == 3
    assert read(written).prior.questions == (asked,)
    assert "offsets for choice" in plain_text(read(written))
    for change, told in (
        ({"type": "essay"}, "questions[0].type must be one of predicate, choice, score"),
        ({"instructions": "What?"}, "questions[0].id is question_"),
        ({"offsets": [{**written["questions"][0]["offsets"][0], "offset": float("1e9")}]}, "offset must be a number"),
        ({"offsets": written["questions"][0]["offsets"] * 2}, "stands in it twice"),
    ):
        with pytest.raises(InputError) as error:
            read({**written, "questions": [{**written["questions"][0], **change}]})
        assert told in str(error.value)
    with pytest.raises(InputError, match="questions must be a list without a question"):
        read({**written, "questions": written["questions"] * 2})


# Vectors

EMBEDDED = replace(
    PRIOR,
    demonstrations=(embedded("one", "1", drawn(1)), embedded("two", "2", drawn(2)), embedded("three", "3", drawn(3))),
    nearest=2,
    embedding="near",
)


def test_a_prior_with_vectors_travels_with_them_and_is_known_by_them() -> None:
    written = portable_json(replace(PORTABLE, prior=EMBEDDED))
    assert (written["version"], written["embedding"]) == (4, "near")
    found = read(written).prior
    assert found == EMBEDDED
    assert [entry.vector for entry in found.demonstrations] == [entry.vector for entry in EMBEDDED.demonstrations]
    assert jsonschema.Draft202012Validator(SCHEMA).is_valid(written)
    assert "the 2 nearest to the request by near" in plain_text(read(written))
    other = replace(EMBEDDED, demonstrations=(embedded("one", "1", drawn(9)), *EMBEDDED.demonstrations[1:]))
    assert len({EMBEDDED.id, other.id, replace(EMBEDDED, embedding="far").id, replace(EMBEDDED, embedding="").id}) == 4
    assert replace(EMBEDDED, embedding="").id == replace(other, embedding="").id, "without a model vectors say nothing"
    changed = Portable(other, PORTABLE.frame, PORTABLE.namespace)
    assert signed_bytes(replace(PORTABLE, prior=EMBEDDED)) != signed_bytes(changed)


@each(
    ("change", "words"),
    [
        ({"embedding": ""}, "embedding must be the name of a model"),
        ({"nearest": 0}, "embedding must be the name of a model"),
        ({"vector": "no base64"}, "vector must be a vector in base64"),
        ({"vector": "AAAA"}, "vector must be a vector in base64"),
        ({"vector": "AQID"}, "vectors of one length"),
        ({"vector": EMBEDDED.demonstrations[1].vector}, "id is prior_"),
    ],
)
def test_what_is_wrong_with_vectors_is_named(change: dict[str, object], words: str) -> None:
    written = portable_json(replace(PORTABLE, prior=EMBEDDED))
    if "vector" in change:
        first, *others = written["demonstrations"]
        change = {"demonstrations": [{**first, **change}, *others]}
    with pytest.raises(InputError, match=words):
        read({**written, **change})
