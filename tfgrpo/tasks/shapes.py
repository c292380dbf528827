"""Known shapes of records, each brought to plain fields: what tools export and public data sets hold. Pure.

A shape that fits a record gives it back with fields that `fields` knows by name; what it does not touch stays. A new
shape is one more line in `SHAPES`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import InputError
from ..records import JSON
from ..text import shortened
from .cells import written_out
from .fields import ANSWER_FIELDS, EXPECTATION_FIELDS, INPUT_FIELDS, Record, all_named, named
from .messages import is_chat, spoken
from .providers import bedrock_chat, gemini_chat

HOLDERS = ("input", "inputs", "vars", "kwargs", "prompt")
"""Fields that may hold an object with the input's own fields (LangSmith, Langfuse, Phoenix, Braintrust, MLflow)."""
ANSWER_HOLDERS = ("outputs", "output", "expected_output", "expected", "expectations", "reference_outputs", "answer")
CHAT_FIELDS = ("items", "conversation", "dialogue", "dialog", "chat", "turns", "transcript", "thread")
"""Fields that are the input where they hold messages, and nothing else is it."""
_ENVELOPES = ("body", "params", "request", "modelInput", "item")
"""Fields that may hold a whole request: batches of OpenAI, Anthropic, Gemini and Bedrock; a row of OpenAI's evals."""
_CHAT_AS_TEXT = re.compile(
    r"\s*\[\s*\{\s*(?=['\"](?:role|content|from|value)['\"]\s*:)"
    r"(?=.*['\"](?:role|from)['\"]\s*:)(?=.*['\"](?:content|value)['\"]\s*:).*[\])]\s*\Z",
    re.DOTALL,
)
_COLUMN = re.compile(r"(inputs?|outputs?|reference_outputs|expected_outputs?|expectations)[._/](.+)", re.IGNORECASE)
_ASSERTION = re.compile(r"(not-)?(i?contains(-\w+)?|regex|is-\w+|contains-\w+|llm-rubric|python|javascript|fn|grade|"
                        r"starts-with|similar|levenshtein|model-graded-\w+|factuality)\b.*?:", re.DOTALL)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape that records come in."""

    name: str
    fits: Callable[[Record], bool]
    plain: Callable[[Record], Record]
    """The same record in plain fields."""


def plain_record(record: Record) -> Record:
    """A record in plain fields, whatever known shape it has."""
    for shape in SHAPES:
        if shape.fits(record):
            record = shape.plain(record)
    return record


def _holds(field: str, *keys: str) -> Callable[[Record], bool]:
    """Whether a field is an object with all of the keys."""
    return lambda record: isinstance(record.get(field), Mapping) and {*keys} <= record[field].keys()


def _without(record: Record, *fields: str) -> dict[str, JSON]:
    return {field: held for field, held in record.items() if field not in fields}


def _is_flat(record: Record) -> bool:
    """Whether columns are named `input_question`, `output_answer`, and none is the input itself."""
    columns = [match[1].lower() for field in record if (match := _COLUMN.fullmatch(str(field)))]
    return any(column.startswith("input") for column in columns) and not ({"input", "inputs"} & record.keys())


def _from_flat(record: Record) -> Record:
    found: dict[str, JSON] = {}
    for field, held in record.items():
        if match := _COLUMN.fullmatch(str(field)):
            found.setdefault(match[1].lower(), {})[match[2]] = held
        else:
            found[field] = held
    return found


def _holder(record: Record) -> str | None:
    """The field that holds the input's own fields."""
    field = named(record, HOLDERS)
    return field if field is not None and isinstance(record[field], Mapping) and record[field] else None


def _unheld(record: Record) -> Record:
    """What stood in the input's object as fields of the record, and the answer out of the object that it is in."""
    field = _holder(record)
    inner: Mapping[str, JSON] = record[field] if field else {}
    if set(inner) <= {"args", "kwargs"} and isinstance(inner.get("kwargs"), Mapping):  # a traced function's arguments
        inner = inner["kwargs"] or {f"argument {n}": one for n, one in enumerate(inner.get("args") or (), 1)}
    if len(inner) == 1 and named(inner, (*INPUT_FIELDS, *HOLDERS)) is None:
        inner = {"input": next(iter(inner.values()))}
    outer = _answer_unheld(_without(record, field or ""))
    return {**{name: held for name, held in outer.items() if name not in inner}, **inner}


def _answer_unheld(record: dict[str, JSON]) -> dict[str, JSON]:
    field = named(record, ANSWER_HOLDERS)
    held = record.get(field) if field else None
    if not field or not isinstance(held, Mapping):
        return record
    own = named(held, ANSWER_FIELDS) or (next(iter(held)) if len(held) == 1 else None)
    if (own is None or own in EXPECTATION_FIELDS) and named(held, EXPECTATION_FIELDS):
        return {**_without(record, field), **held}
    if own is None or spoken(held):
        return record
    beside = {f"{field}.{name}": other for name, other in held.items() if name != own and other is not None}
    return {**record, field: held[own], **beside}


def _alternatives(*values: JSON) -> JSON:
    """Right answers, each once; the only one alone."""
    listed = [one for value in values for one in (value if isinstance(value, (list, tuple)) else [value])]
    different = [one for place, one in enumerate(listed) if one is not None and one not in listed[:place]]
    return different[0] if len(different) == 1 else different or None


def _aliases(record: Record) -> Record:
    answer = record["answer"]
    return {**record, "answer": _alternatives(answer["value"], answer.get("aliases") or [])}


def _pair(first: str, second: str, words: tuple[str, str]) -> Shape:
    """Two texts that are compared (entailment, paraphrase)."""

    def fits(record: Record) -> bool:
        two = all(isinstance(record.get(field), str) for field in (first, second))
        return two and not any(field in record for field in ("input", "question", "prompt", "messages"))

    def plain(record: Record) -> Record:
        told = f"{words[0]}: {record[first]}\n{words[1]}: {record[second]}"
        return {"input": told, **_without(record, first, second)}

    return Shape(f"{first} + {second}", fits, plain)


def _references(record: Record) -> Record:
    """HELM's: the question as input.text, and references of which some are tagged correct."""
    texts = [one["output"]["text"] for one in record["references"]]
    tags = [one.get("tags") for one in record["references"]]
    right = [
        text for text, said in zip(texts, tags, strict=True) if isinstance(said, (list, str)) and "correct" in said
    ]
    choices = {"choices": texts} if len(texts) > 1 and len(right) == 1 else {}
    return {**_without(record, "references"), **choices, "answer": _alternatives(right)}


def _is_helm(record: Record) -> bool:
    listed = record.get("references")
    outputs = (
        [one.get("output") if isinstance(one, Mapping) else None for one in listed or ()] if _several(listed) else []
    )
    return bool(outputs) and all(isinstance(output, Mapping) and "text" in output for output in outputs)


def _several(value: JSON) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and bool(value)


def _expected(record: Record) -> Record:
    """promptfoo's column: what is expected, or an assertion about it."""
    told = str(record["__expected"])
    if _ASSERTION.match(told):
        ways = "tfgrpo tasks from promptfoo makes tasks of assertions"
        raise InputError(f"__expected is an assertion, {shortened(told)}, and no answer; {ways}")
    plain = told.removeprefix("equals:").strip() if told.startswith("equals:") else record["__expected"]
    return {**_without(record, "__expected"), "expected": plain}


def _turns(record: Record) -> str | None:
    """The field that holds a conversation under a name that may mean other things too."""
    fields = () if named(record, INPUT_FIELDS) else all_named(record, CHAT_FIELDS)
    return next((field for field in fields if is_chat(record[field])), None)


def _from_turns(record: Record) -> Record:
    field = _turns(record) or ""
    return {**_without(record, field), "messages": record[field]}


def _chat_as_text(record: Record) -> str | None:
    """A field in which messages stand as text, as tables and databases have them."""
    fields = [named(record, (name,)) for name in ("messages", "conversations", *HOLDERS)]
    texts = [field for field in fields if field and isinstance(record[field], str)]
    return next((field for field in texts if _CHAT_AS_TEXT.match(record[field])), None)


def _from_text(record: Record) -> Record:
    field = _chat_as_text(record) or ""
    messages = written_out(record[field])
    are_messages = named(record, ("messages", "conversations")) == field
    if messages is None or (are_messages and not is_chat(messages)):
        raise InputError(f"{field} is a list of messages as text that is no JSON, {shortened(record[field])}")
    return {**record, field: messages} if are_messages else record


def _is_text_of_objects(record: Record) -> bool:
    """Whether inputs and expectations both stand as text, as a table of MLflow's has them."""
    both = [record.get(field) for field in ("inputs", "expectations")]
    return all(isinstance(text, str) and isinstance(written_out(text), Mapping) for text in both)


def _from_text_of_objects(record: Record) -> Record:
    return {**record, **{field: written_out(record[field]) for field in ("inputs", "expectations")}}


def _envelope(record: Record) -> str | None:
    """The field that holds the whole request, or the row, where nothing beside it is asked."""
    fields = [field for field in _ENVELOPES if isinstance(record.get(field), Mapping)]
    if not fields or named(_without(record, *_ENVELOPES), INPUT_FIELDS) is not None:
        return None
    return next((field for field in fields if named(record[field], (*INPUT_FIELDS, "contents"))), None)


def _opened(record: Record) -> Record:
    """The request's own fields; an object of what a model once replied to it (a batch's results) is no answer."""
    field = _envelope(record) or ""
    replied = {"past response": record["response"]} if isinstance(record.get("response"), Mapping) else {}
    return {**_without(record, field, "method", "url", *(["response"] if replied else [])), **replied, **record[field]}


def _contents(record: Record) -> list[JSON]:
    """Gemini's: what is said by whom; empty where it is none."""
    told = record.get("contents")
    listed = told if isinstance(told, list) else [told]
    return listed if all(isinstance(one, Mapping) and "parts" in one for one in listed) else []


def _from_gemini(record: Record) -> Record:
    system = named(record, ("system_instruction",)) or ""
    return {**_without(record, "contents", system), "messages": gemini_chat(_contents(record), record.get(system))}


def _from_bedrock(record: Record) -> Record:
    messages, right = bedrock_chat(record["conversationTurns"])
    return {**_without(record, "conversationTurns"), "messages": messages, "answer": _alternatives(right)}


def _rubric(record: Record) -> Record:
    """What `--reward judge` reads."""
    told = []
    for name, words in zip(EXPECTATION_FIELDS, ("It says all of this:", "It keeps to all of this:"), strict=True):
        held = record.get(named(record, (name,)) or "")
        lines = held if isinstance(held, (list, tuple)) else [held]
        told += ["\n".join([words, *(f"- {line}" for line in lines)])] if held else []
    return {**record, "rubric": "\n\n".join(told)}


SHAPES = (
    Shape("messages as text", lambda record: _chat_as_text(record) is not None, _from_text),
    Shape("MLflow's objects as text", _is_text_of_objects, _from_text_of_objects),
    Shape("lines of batches; rows of OpenAI's evals", lambda record: _envelope(record) is not None, _opened),
    Shape(
        "Gemini's contents",
        lambda record: bool(_contents(record)) and named(record, INPUT_FIELDS) is None,
        _from_gemini,
    ),
    Shape("Bedrock's turns", lambda record: _several(record.get("conversationTurns")), _from_bedrock),
    Shape("columns input_*, output_* (Phoenix, LangSmith as CSV)", _is_flat, _from_flat),
    Shape(
        "inputs and outputs as objects",
        lambda record: _holder(record) is not None or isinstance(record.get("expectations"), Mapping),
        _unheld,
    ),
    Shape(
        "ARC's own",
        _holds("question", "stem"),
        lambda record: {**record, "question": record["question"]["stem"], **_without(record["question"], "stem")},
    ),
    Shape(
        "verl's reward model",
        _holds("reward_model", "ground_truth"),
        lambda record: {**_without(record, "reward_model"), "ground_truth": record["reward_model"]["ground_truth"]},
    ),
    Shape(
        "SQuAD's answers",
        _holds("answers", "text"),
        lambda record: {**_without(record, "answers"), "answer": _alternatives(record["answers"]["text"])},
    ),
    Shape(
        "DROP's answers",
        _holds("answers_spans", "spans"),
        lambda record: {**_without(record, "answers_spans"), "answer": _alternatives(record["answers_spans"]["spans"])},
    ),
    Shape("TriviaQA's answer", _holds("answer", "value"), _aliases),
    Shape("HELM's references", _is_helm, _references),
    Shape("promptfoo's expectation", lambda record: "__expected" in record, _expected),
    Shape("a conversation under another name", lambda record: _turns(record) is not None, _from_turns),
    Shape(
        "Prodigy's, of which what was accepted is right",
        lambda record: "_task_hash" in record and record.get("answer") in ("accept", "reject", "ignore"),
        lambda record: (
            _without(record, "answer")
            if record["answer"] == "accept"
            else {**_without(record, "answer", "label"), "rejected": record.get("label")}
        ),
    ),
    _pair("premise", "hypothesis", ("Premise", "Hypothesis")),
    _pair("sentence1", "sentence2", ("Sentence 1", "Sentence 2")),
    _pair("question1", "question2", ("Question 1", "Question 2")),
    Shape(
        "MLflow's facts and guidelines",
        lambda record: (
            named(record, EXPECTATION_FIELDS) is not None and named(record, (*ANSWER_FIELDS, "rubric")) is None
        ),
        _rubric,
    ),
)
