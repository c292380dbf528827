"""Priors: what is in one, where it comes from, how two differ."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from ...text import counted, shortened
from .experiences import outcome_lines
from .tables import day_time, printable

if TYPE_CHECKING:
    from ...priors.offered import Offered
    from ...priors.portable import Portable
    from ...priors.versions import Changes
    from ...records import JSON, Demonstration, Experience, Prior, TokenBias
    from ...store import LineageEntry, Store


def token_text(piece: bytes) -> str:
    """A token's bytes as quoted text; bytes that are not UTF-8 by their escapes."""
    return repr(piece.decode("utf-8", "backslashreplace"))


def biases_json(biases: "Iterable[TokenBias]") -> "list[JSON]":
    """Token biases for people and programs, strongest first."""
    ordered = sorted(biases, key=lambda entry: (-abs(entry.bias), entry.token))
    return [
        {
            "token": entry.token,
            "text": entry.piece.decode("utf-8", "backslashreplace"),
            "bias": entry.bias,
            "z": round(entry.z, 2),
            "tasks": entry.evidence,
        }
        for entry in ordered
    ]


_STRONGEST = 10
"""Token biases that are shown of a prior; `tfgrpo tokens show` has all."""
_FIRST = 3
"""Demonstrations that are shown of a prior; `tfgrpo prior export` has all."""


def size_text(prior: "Prior") -> str:
    """What a prior holds, in numbers."""
    instruction = "an instruction, " if prior.instruction else ""
    shown = f"{_shown_text(prior)}, " if prior.demonstrations else ""
    sizes = f"{counted(len(prior.experiences), 'experience')}, {counted(len(prior.biases), 'token bias')}"
    options = sum(len(entry.offsets) for entry in prior.questions)
    asked = f", offsets of {counted(options, 'option')} of {counted(len(prior.questions), 'question')}"
    return f"{instruction}{shown}{sizes}{asked if prior.questions else ''}"


def _shown_text(prior: "Prior") -> str:
    """How many demonstrations a request is shown: `16 demonstrations`, `the 8 nearest of 40 demonstrations`."""
    held = counted(len(prior.demonstrations), "demonstration")
    by = f" by {printable(prior.embedding)}" if prior.embedding else ""
    return f"the {prior.nearest} nearest of {held}{by}" if prior.nearest else held


def tokens_added(prior: "Prior") -> int:
    """What a prior adds to a request, in tokens as they are estimated without a tokenizer."""
    from ...surfaces.chat import prior_tokens, token_estimate

    return prior_tokens(prior, token_estimate)


def _tokens_text(prior: "Prior") -> str:
    """What it adds to a request; where experiences wait, at least and at most."""
    from ...surfaces.chat import prior_tokens, token_estimate
    from ...surfaces.triggers import always_on

    most = counted(tokens_added(prior), "token")
    if always_on(prior) is prior:
        return f"adds about {most} to a request"
    least = prior_tokens(always_on(prior), token_estimate)
    return f"adds about {least:,} to {most} to a request, by what it has of what experiences wait for"


def _prompting_lines(prior: "Prior") -> Iterator[str]:
    """What stands in the prompt beside the experiences, and what all of the prompt costs."""
    if prior.has_text:
        yield _tokens_text(prior)
    if prior.embedding:
        yield f"costs one embeddings call of {printable(prior.embedding)} a request, the first time that its text comes"
    if prior.instruction:
        yield f"instruction: {printable(prior.instruction)}"
    if prior.demonstrations:
        yield f"{_shown_text(prior)}:"
    yield from (f"  {_demonstration_text(entry)}" for entry in prior.demonstrations[:_FIRST])
    if (more := len(prior.demonstrations) - _FIRST) > 0:
        yield f"  ... and {more} more: tfgrpo prior export {prior.id} --format text"


def _demonstration_text(entry: "Demonstration") -> str:
    """A demonstration in a line."""
    from ...surfaces.surface import question

    return f"{shortened(question(entry.messages))} -> {shortened(entry.answer)}"


def prior_lines(prior: "Prior", why: str = "") -> list[str]:
    """A prior as readable lines; `why` is what its lineage says of how it came."""
    lines = [f"prior {prior.id}", size_text(prior)]
    lines += [printable(why)] if why else []
    lines += _prompting_lines(prior)
    lines += [f"- {printable(experience.text)}" for experience in prior.experiences]
    ordered = sorted(prior.biases, key=lambda entry: (-abs(entry.bias), entry.token))
    lines += [f"{token_text(entry.piece):>16} {entry.bias:+.2f}  (z {entry.z:+.1f})" for entry in ordered[:_STRONGEST]]
    if len(ordered) > _STRONGEST:
        lines.append(f"... and {len(ordered) - _STRONGEST} more: tfgrpo tokens show")
    return [*lines, *_offset_lines(prior)]


def _offset_lines(prior: "Prior") -> Iterator[str]:
    """The strongest offsets of each question."""
    from ...priors.questions import strongest_offsets

    for entry in prior.questions:
        yield f"{entry.kind}: {shortened(entry.instructions)}"
        yield from (
            f"{shortened(str(one.option), 40):>16} {one.offset:+.2f}  (z {one.z:+.1f})"
            for one in strongest_offsets(entry)[:_STRONGEST]
        )


def offset_rows(prior: "Prior") -> Iterator[tuple[str, str, str, str, int]]:
    """A row for each option that has an offset: its question, the option, offset, z and tasks."""
    from ...priors.questions import strongest_offsets

    for entry in prior.questions:
        for one in strongest_offsets(entry):
            asked, option = shortened(entry.instructions, 40), shortened(str(one.option), 40)
            yield asked, option, f"{one.offset:+.2f}", f"{one.z:.2f}", one.evidence


def event_json(event: "LineageEntry") -> "dict[str, JSON]":
    """One event of a lineage."""
    told = {"state": event.state, "run": event.run, "by": event.by, "why": event.why}
    return {"at": event.at, "prior": event.prior, **told}


def tree_rows(store: "Store", events: "Sequence[LineageEntry]", live: str | None) -> Iterator[tuple[object, ...]]:
    """A row for each prior under its parent: its last event, the run that learned it; the live one is starred.

    With what it holds, and the tokens that it adds to a request.
    """
    from ...priors.versions import run_behind, tree

    last = {event.prior: event for event in events}
    for branch, prior in tree([store.prior(prior_id) for prior_id in last]):
        event = last[prior.id]
        name = f"{branch}{prior.id}{' *' if prior.id == live else ''}"
        shown = f"{prior.nearest} of {len(prior.demonstrations)}" if prior.nearest else len(prior.demonstrations)
        size = len(prior.experiences), shown, len(prior.biases), tokens_added(prior)
        run = run_behind(each for each in events if each.prior == prior.id)
        yield name, event.state, day_time(event.at), *size, run, event.by, event.why


def prior_json(prior: "Prior", namespace: str, events: "Sequence[LineageEntry]", served: bool) -> "dict[str, JSON]":
    """A prior with where it comes from, and its events in a namespace, oldest first."""
    from ...priors.prompting import prompting_json
    from ...priors.questions import questions_json
    from ...priors.versions import run_behind

    return {
        "id": prior.id,
        "parent": prior.parent,
        "namespace": namespace,
        "state": events[-1].state if events else None,
        "served": served,
        "run": run_behind(events),
        "model": events[-1].frame.model if events else None,
        "why": events[0].why if events else "",
        "lineage": [event_json(event) for event in events],
        "tokenizer": prior.tokenizer,
        "template": prior.template,
        "experiences": [_experience_json(entry) for entry in prior.experiences],
        "biases": biases_json(prior.biases),
        **prompting_json(prior),
        **({"questions": questions_json(prior.questions)} if prior.questions else {}),
        "tokens": tokens_added(prior),
    }


def _experience_json(entry: "Experience") -> "dict[str, JSON]":
    origin = {"run": entry.origin.run, "step": entry.origin.step, "parent": entry.origin.parent}
    return {"id": entry.id, "kind": entry.kind, "text": entry.text, "origin": origin}


def standing_lines(prior: "Prior", namespace: str, events: "Sequence[LineageEntry]", served: bool) -> Iterator[str]:
    """Where a prior comes from, and what became of it in a namespace."""
    from ...priors.versions import run_behind

    if not events:
        yield f"it was never a candidate in namespace {namespace}"
        return
    run, parent = run_behind(events), f", from {prior.parent}" if prior.parent else ""
    yield printable(f"learned on {events[-1].frame.model} by {run or 'no run that is known'}{parent}")
    yield f"in namespace {namespace}{', where it is served' if served else ''}:"
    for event in events:
        of = f" ({event.run})" if event.run else ""
        yield printable(f"  {day_time(event.at)}  {event.state} by {event.by}{of}: {event.why}")


def changes_json(before: str, after: str, changes: "Changes") -> "dict[str, JSON]":
    """How one prior differs from another."""
    from ...priors.prompting import demonstration_json

    return {
        "before": before,
        "after": after,
        "added": [{"id": entry.id, "text": entry.text} for entry in changes.added],
        "removed": [{"id": entry.id, "text": entry.text} for entry in changes.removed],
        "reordered": changes.reordered,
        "shown": [demonstration_json(entry) for entry in changes.shown],
        "no_longer_shown": [demonstration_json(entry) for entry in changes.no_longer_shown],
        "reshuffled": changes.reshuffled,
        "biases": [
            {
                "token": change.token,
                "text": change.piece.decode("utf-8", "backslashreplace"),
                "before": change.before,
                "after": change.after,
            }
            for change in changes.biases
        ],
        "offsets": [asdict(change) for change in changes.offsets],
        "settings": {name: list(pair) for name, pair in changes.settings.items()},
    }


def changes_lines(before: str, after: str, changes: "Changes") -> Iterator[str]:
    """A difference as in a diff: - what the first prior has alone, + what the second has."""
    yield f"--- {before}"
    yield f"+++ {after}"
    yield from (f"- {printable(entry.text)}" for entry in changes.removed)
    yield from (f"+ {printable(entry.text)}" for entry in changes.added)
    if changes.reordered:
        yield "the experiences of both are in another order"
    yield from (f"- {_demonstration_text(entry)}" for entry in changes.no_longer_shown)
    yield from (f"+ {_demonstration_text(entry)}" for entry in changes.shown)
    if changes.reshuffled:
        yield "the demonstrations of both are in another order"
    for change in changes.biases:
        was, now = (f"{bias:+.2f}" if bias is not None else "none" for bias in (change.before, change.after))
        yield f"{token_text(change.piece):>16} {was} -> {now}"
    for moved in changes.offsets:
        was, now = (f"{offset:+.2f}" if offset is not None else "none" for offset in (moved.before, moved.after))
        yield f"{shortened(str(moved.option), 40):>16} {was} -> {now}  ({shortened(moved.instructions, 40)})"
    yield from (
        f"{name}: {printable(was or 'none')} -> {printable(now or 'none')}"
        for name, (was, now) in changes.settings.items()
    )


def imported_lines(portable: "Portable", use: str, outcomes: "Sequence[Offered]") -> Iterator[str]:
    """What came in with a prior, and what is next."""
    from ...prompts import template

    prior, frame = portable.prior, portable.frame
    yield f"{prior.id}: {size_text(prior)}; {use}"
    yield from _prompting_lines(prior)
    system = f"a system prompt of {len(frame.system)} characters" if frame.system else "no system prompt"
    fields = ", ".join(sorted(frame.request)) or "none"
    yield printable(f"its request frame comes with it: model {frame.model}, {system}, further fields: {fields}")
    if prior.experiences and prior.template != template("prior").version:
        yield "its experiences were learned under another template than this tfgrpo shows them in"
    yield from outcome_lines(outcomes)
