"""The command that counts how often triggers would have fired."""

from typing import TYPE_CHECKING

import click

from ..errors import InputError
from .command import TextCommand
from .lines.tables import printable
from .options.shared import json_option, named_store, store_option
from .streams import tell

if TYPE_CHECKING:
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
    like it as .4 of 1). With [on asks some words] it waits for words of the users', wherever they have said them.
    """
    from ..surfaces.triggers import fire_rate, rate_told, trigger_of

    with named_store(store) as opened:
        run = opened.run(run_id)
        texts = [f"[on {trigger}] x"] if trigger else _triggered(opened, run.namespace)
        said = [rollout.messages for group in opened.groups(run.id) for rollout in group.rollouts]
    if not texts:
        raise InputError(f"no experience of namespace {run.namespace} has a trigger; --trigger looks at one beforehand")
    rows = []
    for text in texts:
        found = None if (trigger or "").startswith("[") else trigger_of(text)
        if found is None:
            raise InputError(f"--trigger {trigger!r} is none: give one as `tool error`, without brackets")
        fired, turns = fire_rate(found[0], said)
        rows.append({"text": text, "fired": fired, "turns": turns, "told": rate_told(fired, turns)})
    lines = (printable(f"{trigger or row['text']}: {row['told']}") for row in rows)
    tell(as_json, [{**row, "text": trigger or row["text"]} for row in rows], *lines)


def _triggered(store: "Store", namespace: str) -> list[str]:
    from ..surfaces.triggers import is_triggered

    found = (status.experience for status in store.experiences(namespace))
    return [entry.text for entry in found if is_triggered(entry)]
