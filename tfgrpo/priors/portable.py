"""A prior with all that travels with it, and how it is written: as one portable JSON file, or as plain text. Pure.

The form is versioned and described by `store/prior.schema.json`; `parse` reads it back.
"""

import base64
import json
from dataclasses import asdict, dataclass

from ..records import (
    JSON,
    Decision,
    Effect,
    Experience,
    Frame,
    Group,
    Prior,
    PriorState,
    Rollout,
    TokenBias,
)
from ..surfaces.chat import prior_text
from ..surfaces.surface import turns_text
from .prompting import has_prompting, prompting_json
from .questions import questions_json

VERSIONS = (1, 2, 3, 4)
"""Of the form; a higher one is refused. The second has a way to prompt, the third offsets of options too, the
fourth vectors by an embedding model; each is written only where there is such a thing."""


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
        "version": version_of(prior),
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
    form |= prompting_json(prior) if has_prompting(prior) or prior.questions else {}
    form |= {"questions": questions_json(prior.questions)} if prior.questions or prior.embedding else {}
    return form | ({"rollouts": [_group_json(group) for group in given.groups]} if given.groups else {})


def version_of(prior: Prior) -> int:
    """The lowest version of the form that has room for a prior."""
    if prior.embedding:
        return 4
    return 3 if prior.questions else 2 if has_prompting(prior) else 1


def frame_json(frame: Frame) -> dict[str, JSON]:
    """A request frame, field by field."""
    return {
        "model": frame.model,
        "system": frame.system,
        "request": dict(frame.request),
        "temperature": frame.temperature,
        "top_p": frame.top_p,
        **({"labels": list(frame.labels)} if frame.labels else {}),
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
        "variant": rollout.variant,
        "feedback": rollout.feedback,
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
        by = f" by {prior.embedding}" if prior.embedding else ""
        parts.append(f"(the {prior.nearest} nearest to the request{by}, of:)")
    parts += [turns_text(entry) for entry in prior.demonstrations]
    if prior.biases:
        parts.append(f"logit_bias = {json.dumps(dict(prior.logit_bias))}")
    for entry in prior.questions:
        offsets = {str(one.option): one.offset for one in entry.offsets}
        parts.append(f"offsets for {entry.kind} {json.dumps(entry.instructions)} = {json.dumps(offsets)}")
    return "\n\n".join(parts) + "\n"
