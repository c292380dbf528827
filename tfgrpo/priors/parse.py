"""A file with a prior in it, read back. Pure.

What is read comes from strangers: its size, form, ranges and ids are checked here; whether its texts may go on trial is
for admission to say. The form is that of `portable`; files of youtu-agent are read too.
"""

import base64
import binascii
import json
from collections.abc import Iterator
from typing import NoReturn, get_args

from ..errors import InputError
from ..records import (
    JSON,
    Decision,
    Effect,
    Experience,
    ExperienceKind,
    Fate,
    Frame,
    Origin,
    Prior,
    PriorState,
    TokenBias,
)
from ..settings import BIAS_ENTRIES, BIAS_LIMIT, LABEL_CHARS, MOST_LABELS, RESERVED_FIELDS
from ..text import shortened
from .fields import LARGEST, JSONField
from .portable import VERSIONS, Event, Portable
from .prompting import NAME_CHARS, NO_PROMPTING, read_prompting
from .questions import read_questions
from .youtu import Texts, read_agent, read_experiences

FILE_BYTES = 32_000_000
"""Of a file at most."""
MOST_EXPERIENCES = 1_000
MOST_ENTRIES = 10_000
"""Source tasks, effects or decisions of one experience, or events of a lineage, at most."""
TEXT_CHARS = 20_000
"""Of an experience at most."""
FURTHEST = 1_000_000.0
"""No effect is further from zero."""


def parse_prior(source: str, text: str) -> Portable | Texts:
    """A prior, or the experiences of a youtu-agent file; raises InputError, naming what is wrong and where."""
    if not text.lstrip().startswith(("{", "[")):
        return read_agent(source, text)
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise InputError(f"{source}, line {error.lineno}: not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # NaN; a number of 5,000 digits; brackets 5,000 deep
        raise InputError(f"{source}: not readable as JSON: {shortened(error)}") from error
    if isinstance(value, dict) and "tfgrpo" in value:
        return read_portable(source, value)
    return read_experiences(source, value)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def read_portable(source: str, value: JSON) -> Portable:
    """The prior of a form; raises InputError for what breaks `prior.schema.json`, or does not hash to its id."""
    form = JSONField(value, source)
    if form.at("tfgrpo").value != "prior":
        form.at("tfgrpo").wrong('"prior"')
    if (version := form.at("version").whole()) not in VERSIONS:
        raise InputError(f"{source}: version {version} of the form; this tfgrpo reads up to {VERSIONS[-1]}, upgrade it")
    entries = list(form.at("experiences").items(MOST_EXPERIENCES))
    prior = Prior(
        tuple(_experience(entry) for entry in entries),
        tuple(_bias(entry) for entry in form.at("biases").items(BIAS_ENTRIES)),
        form.at("tokenizer").text_or_none(NAME_CHARS),
        form.at("template").text(NAME_CHARS),
        form.at("parent").text_or_none(),
        **(read_prompting(form, embedded=version > 3) if version > 1 else NO_PROMPTING),
        questions=read_questions(form) if version > 2 else (),
    )
    _no_doubles(form, prior)
    form.at("id").hashes_to(prior.id)
    return Portable(
        prior,
        _frame(form.at("frame")),
        form.at("namespace").text(),
        form.at("run").text(),
        tuple(effect for entry in entries for effect in _effects(entry)),
        tuple(decision for entry in entries for decision in _decisions(entry)),
        tuple(_events(form)),
    )


def _experience(place: JSONField) -> Experience:
    origin = place.at("origin")
    kind: ExperienceKind = place.at("kind").one_of(get_args(ExperienceKind))
    experience = Experience(
        place.at("text").text(TEXT_CHARS),
        kind,
        Origin(
            origin.at("run").text(),
            origin.at("step").whole(),
            tuple(task.text() for task in origin.at("tasks").items(MOST_ENTRIES)),
            origin.at("parent").text_or_none(),
        ),
    )
    if not experience.text:
        place.at("text").wrong("a text")
    place.at("id").hashes_to(experience.id)
    return experience


def _effects(place: JSONField) -> Iterator[Effect]:
    for effect in place.at("effects").items(MOST_ENTRIES):
        yield Effect(
            place.at("id").text(),
            effect.at("run").text(),
            effect.at("step").whole(),
            effect.at("mean").number(-FURTHEST, FURTHEST),
            effect.at("sd").number(0, FURTHEST),
            effect.at("evidence").whole(),
        )


def _decisions(place: JSONField) -> Iterator[Decision]:
    for decision in place.at("decisions").items(MOST_ENTRIES):
        verdict: Fate = decision.at("verdict").one_of(get_args(Fate))
        yield Decision(
            place.at("id").text(),
            verdict,
            decision.at("why").text(),
            decision.at("by").text(),
            decision.at("run").text(),
            decision.at("step").whole(),
        )


def _events(form: JSONField) -> Iterator[Event]:
    """The lineage, which files of earlier releases have not."""
    for event in form.at("lineage").items(MOST_ENTRIES) if "lineage" in form.object() else ():
        state: PriorState = event.at("state").one_of(get_args(PriorState))
        yield Event(state, *(event.at(name).text() for name in ("run", "by", "why", "at")))


def _bias(place: JSONField) -> TokenBias:
    return TokenBias(
        place.at("token").whole(),
        _piece(place),
        place.at("bias").number(-BIAS_LIMIT, BIAS_LIMIT),
        place.at("z").number(-LARGEST, LARGEST),
        place.at("evidence").whole(),
    )


def _piece(place: JSONField) -> bytes:
    if ("text" in place.object()) == ("base64" in place.object()):
        place.wrong("a token with either text or base64")
    if "text" in place.object():
        return place.at("text").text().encode()
    try:
        return base64.b64decode(place.at("base64").text(), validate=True)
    except binascii.Error:
        place.at("base64").wrong("base64")


def _frame(place: JSONField) -> Frame:
    request = place.at("request")
    if refused := sorted(request.object().keys() & set(RESERVED_FIELDS)):
        raise InputError(f"{request.source}: {request.path} sets {', '.join(refused)}, which tfgrpo sets itself")
    if not (model := place.at("model").text()):
        place.at("model").wrong("the name of a model")
    return Frame(
        model,
        place.at("system").text_or_none(),
        request.finite_object(),
        place.at("temperature").number(0, 100),
        place.at("top_p").number(0, 1),
        _labels(place),
    )


def _labels(place: JSONField) -> tuple[str, ...]:
    if "labels" not in place.object():
        return ()
    return tuple(one.text(LABEL_CHARS) for one in place.at("labels").items(MOST_LABELS))


def _no_doubles(form: JSONField, prior: Prior) -> None:
    if len({entry.id for entry in prior.experiences}) < len(prior.experiences):
        raise InputError(f"{form.source}: an experience stands in it twice")
    if len({entry.token for entry in prior.biases}) < len(prior.biases):
        raise InputError(f"{form.source}: a token has two biases")
    if prior.biases and prior.tokenizer is None:
        form.at("tokenizer").wrong("the fingerprint of the tokenizer that the biases belong to")
