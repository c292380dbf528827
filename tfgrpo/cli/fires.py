"""The command that counts how often triggers would have fired, and what other commands say of that."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from ..errors import InputError
from ..text import shortened
from .command import TextCommand
from .lines.tables import printable
from .options.shared import json_option, named_store, store_option
from .streams import tell

if TYPE_CHECKING:
    from ..experiences.moments import Rate, Turn
    from ..records import JSON
    from ..store import Store


@click.command(cls=TextCommand)
@click.argument("run_id", metavar="RUN")
@click.option("--trigger", metavar="TRIGGER", help="One to look at before it is written, as `tool error` or `turn 8`.")
@store_option
@json_option
def fires(run_id: str, trigger: str | None, store: str | None, as_json: bool) -> None:
    """How often the triggers of a namespace's experiences would have fired in the rollouts of RUN.

    An experience waits for its moment where it begins with a trigger in brackets: [on tool error], [on repetition],
    [on turn 8], [on says some words], [on matches refund|chargeback] (a pattern), [on like .4 some text] (at least as
    like it as .4 of 1), [on entropy above .9], [on margin below .2] (of the model's last tokens), [on chance .2] (at a
    fifth of turns, whatever is said: a control). With [on asks some words] it waits for words of the users', wherever
    they have said them.
    """
    from ..evaluation.fire_rates import turns_of

    with named_store(store) as opened:
        run = opened.run(run_id)
        texts = [with_trigger(trigger, "x")] if trigger is not None else _triggered(opened, run.namespace)
        if not texts:
            hint = "--trigger looks at one beforehand"
            raise InputError(f"no experience of namespace {run.namespace} has a trigger; {hint}")
        turns = turns_of(opened, run.id)
    if not turns:
        raise InputError(f"run {run.id} has no rollouts in the store; give the run of a learning (tfgrpo runs list)")
    rows = [{**row, "text": trigger or row["text"]} for row in rate_rows(texts, turns)]
    tell(as_json, rows, *(printable(f"{row['text']}: {row['told']}") for row in rows))


def with_trigger(trigger: str, text: str) -> str:
    """A text that waits for a trigger, which is given without brackets; raises InputError where it is none."""
    from ..surfaces.triggers import trigger_of

    written = f"[on {trigger}] {text}"
    found = None if trigger.lstrip().startswith("[") else trigger_of(written)
    if found is None or found[1] != text.lstrip():
        raise InputError(f"--trigger {shortened(trigger)!r} is none: give one as `tool error`, without brackets")
    return written


def rate_rows(texts: "Sequence[str]", turns: "Sequence[Turn]") -> "Iterator[dict[str, JSON]]":
    """Of each text that waits for a moment, how often that comes."""
    from ..experiences.moments import fire_rate, rate_told
    from ..surfaces.triggers import trigger_of

    for text in texts:
        if found := trigger_of(text):
            rate: Rate = fire_rate(found[0], turns)
            yield {"text": text, **rate._asdict(), "told": rate_told(rate)}


def _triggered(store: "Store", namespace: str) -> list[str]:
    from ..surfaces.triggers import is_triggered

    found = (status.experience for status in store.experiences(namespace))
    return [entry.text for entry in found if is_triggered(entry)]
