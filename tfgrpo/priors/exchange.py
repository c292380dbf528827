"""A prior as one portable JSON file, and back. Pure.

The form is versioned and described by `store/prior.schema.json`. What is read comes from strangers: its size, form,
ranges and ids are checked here; whether its texts may be tried is for admission to say.
"""

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
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
    Group,
    Origin,
    Prior,
    PriorState,
    Rollout,
    TokenBias,
)
from ..settings import BIAS_ENTRIES, BIAS_LIMIT, RESERVED_FIELDS
from ..surfaces.chat import prior_text
from ..surfaces.turns import turns_text
from ..text import shortened
from .fields import LARGEST, JSONField
from .prompting import Prompting, has_prompting, prompting_json, read_prompting
from .youtu import Texts, read_agent, read_experiences

VERSIONS = (1, 2)
"""Of the form; a higher one is refused. The second has a way to prompt, and is written only where there is one."""
FILE_BYTES = 32_000_000
"""Of a file at most."""
MOST_EXPERIENCES = 1_000
MOST_ENTRIES = 10_000
"""Source tasks, effects or decisions of one experience, or events of a lineage, at most."""
TEXT_CHARS = 20_000
"""Of an experience at most."""
NAME_CHARS = 200
FURTHEST = 1_000_000.0
"""No effect is further from zero."""


@dataclass(frozen=True, slots=True)
class Event:
    """What became of a prior in its namespace; `at` is UTC in ISO 8601, for people."""

    state: PriorState
    run: str
    by: str
    why: str
    at: str


@dataclass(frozen=True, slots=True)
class Portable:
    """A prior with all that travels with it."""

    prior: Prior
    frame: Frame
    namespace: str
    run: str = ""
    """The run that learned it."""
    effects: tuple[Effect, ...] = ()
    decisions: tuple[Decision, ...] = ()
    lineage: tuple[Event, ...] = ()
    """What became of it there, oldest first."""
    groups: tuple[Group, ...] = ()
    """The rollouts behind it, where they were asked for; they are written and never read."""


def portable_json(given: Portable) -> dict[str, JSON]:
    """The form of a prior, ready for JSON."""
    prior, frame = given.prior, given.frame
    form: dict[str, JSON] = {
        "tfgrpo": "prior",
        "version": VERSIONS[has_prompting(prior)],
        "id": prior.id,
        "namespace": given.namespace,
        "run": given.run,
        "parent": prior.parent,
        "template": prior.template,
        "tokenizer": prior.tokenizer,
        "frame": frame_json(frame),
        "lineage": [asdict(event) for event in given.lineage],
        "experiences": [_experience_json(entry, given) for entry in prior.experiences],
        "biases": [_bias_json(entry) for entry in prior.biases],
    }
    form |= prompting_json(prior) if has_prompting(prior) else {}
    return form | ({"rollouts": [_group_json(group) for group in given.groups]} if given.groups else {})


def frame_json(frame: Frame) -> dict[str, JSON]:
    """A request frame, field by field."""
    return {
        "model": frame.model,
        "system": frame.system,
        "request": dict(frame.request),
        "temperature": frame.temperature,
        "top_p": frame.top_p,
    }


def _experience_json(entry: Experience, given: Portable) -> dict[str, JSON]:
    origin = entry.origin
    return {
        "id": entry.id,
        "kind": entry.kind,
        "text": entry.text,
        "origin": {"run": origin.run, "step": origin.step, "tasks": list(origin.tasks), "parent": origin.parent},
        "effects": [
            {"run": one.run, "step": one.step, "mean": one.mean, "sd": one.sd, "evidence": one.evidence}
            for one in given.effects
            if one.experience == entry.id
        ],
        "decisions": [
            {"verdict": one.verdict, "why": one.why, "by": one.by, "run": one.run, "step": one.step}
            for one in given.decisions
            if one.experience == entry.id
        ],
    }


def _bias_json(entry: TokenBias) -> dict[str, JSON]:
    try:
        piece = {"text": entry.piece.decode()}
    except UnicodeDecodeError:
        piece = {"base64": base64.b64encode(entry.piece).decode()}
    return {"token": entry.token, **piece, "bias": entry.bias, "z": entry.z, "evidence": entry.evidence}


def _group_json(group: Group) -> dict[str, JSON]:
    task = group.task
    return {
        "step": group.step,
        "task": {"id": task.id, "input": task.input, "answer": task.answer, "metadata": dict(task.metadata)},
        "prior": group.rollouts[0].prior,
        "attempts": [_rollout_json(rollout) for rollout in group.rollouts],
    }


def _rollout_json(rollout: Rollout) -> dict[str, JSON]:
    return {
        "sample": rollout.sample,
        "included": list(rollout.included),
        "messages": [dict(message) for message in rollout.messages],
        "text": rollout.text,
        "reward": rollout.reward,
        "error": rollout.error,
        "finish_reason": rollout.finish_reason,
    }


def json_text(given: Portable) -> str:
    """The form as a file."""
    form = portable_json(given)
    text = json.dumps(form, indent=2, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair in a rollout: it can only travel escaped
        text = json.dumps(form, indent=2)
    return text + "\n"


def plain_text(given: Portable) -> str:
    """What a prior adds to a request, for people and for other tools' prompts."""
    prior = given.prior
    parts = [f"# {prior.id}, learned on {given.frame.model}"]
    if text := prior_text(prior):
        parts.append(text)
    if prior.nearest:
        parts.append(f"(the {prior.nearest} nearest to the request, of:)")
    parts += [turns_text(entry) for entry in prior.demonstrations]
    if prior.biases:
        parts.append(f"logit_bias = {json.dumps(dict(prior.logit_bias))}")
    return "\n\n".join(parts) + "\n"


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
        **(read_prompting(form) if version > 1 else Prompting(instruction=None, demonstrations=(), nearest=0)),
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
    )


def _no_doubles(form: JSONField, prior: Prior) -> None:
    if len({entry.id for entry in prior.experiences}) < len(prior.experiences):
        raise InputError(f"{form.source}: an experience stands in it twice")
    if len({entry.token for entry in prior.biases}) < len(prior.biases):
        raise InputError(f"{form.source}: a token has two biases")
    if prior.biases and prior.tokenizer is None:
        form.at("tokenizer").wrong("the fingerprint of the tokenizer that the biases belong to")
