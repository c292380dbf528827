"""Commands about priors: what was learned, version by version, and which version is served."""

import sys
from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING

import click

from ..errors import InputError
from .command import TextGroup
from .fires import rate_rows
from .lines.priors import (
    changes_json,
    changes_lines,
    event_json,
    prior_json,
    prior_lines,
    standing_lines,
    tree_rows,
)
from .lines.relations import related, related_json, related_lines
from .lines.tables import print_table, printable
from .options.shared import by_option, json_option, named_prior, named_store, person, store_options, tell_leaving
from .prior_files import MEASURE_IT, export, import_file
from .signing import sign, trust
from .streams import print_json, tell

if TYPE_CHECKING:
    from ..records import JSON, Prior
    from ..store import LineageEntry, Store


@click.group(cls=TextGroup)
def prior() -> None:
    """What was learned, version by version."""


prior.add_command(export)
prior.add_command(import_file)
prior.add_command(sign)
prior.add_command(trust)


@prior.command("list")
@store_options
@json_option
def list_priors(store: str | None, namespace: str, as_json: bool) -> None:
    """The priors of a namespace, each under the one that it came from, with what became of it; * is served.

    With --json all events, oldest first, each with the parent of its prior.
    """
    with named_store(store) as opened:
        events, live = opened.lineage(namespace), opened.live(namespace)
        rows = list(tree_rows(opened, events, live.prior.id if live else None))
        parents = {prior_id: opened.prior(prior_id).parent for prior_id in {event.prior for event in events}}
    if as_json:
        print_json([{**event_json(event), "parent": parents[event.prior]} for event in events])
    elif not events:
        click.echo(f"no prior in namespace {namespace} yet; tfgrpo learn makes one")
    else:
        sizes = ("experiences", "demonstrations", "biases", "tokens")
        print_table(("prior", "state", "since", *sizes, "run", "by", "why"), rows)


@prior.command("show")
@click.argument("prior_id", metavar="[ID]", required=False)
@click.option("--for", "task", metavar="TASK", help="Which experiences apply to a task (its text or its id), and why.")
@click.option(
    "--analogy",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="T",
    help="With --for: temperature of analogy; at 0 words are equal or they are not.  [default: 0]",
)
@store_options
@json_option
def show_prior(
    *, prior_id: str | None, task: str | None, analogy: float, store: str | None, namespace: str, as_json: bool
) -> None:
    """One prior, by id or the beginning of it; the live one when none is named.

    With the model and the run that it was learned by, and what became of it in the namespace.
    """
    if not isfinite(analogy):
        raise InputError(f"--analogy is {analogy}; give a finite number of at least 0")
    if analogy and task is None:
        raise InputError("--analogy goes with --for TASK")
    if task is not None:
        return _show_for(task, analogy, prior_id, store, namespace, as_json=as_json)
    with named_store(store) as opened:
        shown, live = named_prior(opened, namespace, prior_id), opened.live(namespace)
        events = [event for event in opened.lineage(namespace) if event.prior == shown.id]
        tell_leaving(opened, events[-1].frame.model if events else "")
        rates = _rates(opened, shown, events)
    served = live is not None and live.prior.id == shown.id
    moments = [printable(f"  {row['text']}: {row['told']}") for row in rates]
    moments = ["of what waits for its moment, in the run that it was learned by:", *moments] if moments else []
    lines = *prior_lines(shown), *moments, *standing_lines(shown, namespace, events, served)
    told = prior_json(shown, namespace, events, served)
    tell(as_json, {**told, "fires": rates} if rates else told, *lines)


def _rates(store: "Store", shown: "Prior", events: "Sequence[LineageEntry]") -> "list[dict[str, JSON]]":
    """How often the triggers of a prior fired in the run that it was learned by, where that is known."""
    from ..evaluation.fire_rates import turns_of
    from ..priors.versions import run_behind
    from ..surfaces.triggers import is_triggered

    waiting, run = [entry.text for entry in shown.experiences if is_triggered(entry)], run_behind(events)
    here = {entry.run.id for entry in store.runs()}
    return list(rate_rows(waiting, turns_of(store, run))) if waiting and run in here else []


def _show_for(
    task: str, analogy: float, prior_id: str | None, store: str | None, namespace: str, *, as_json: bool
) -> None:
    """Which of a prior's experiences apply to a task."""
    with named_store(store) as opened:
        shown = named_prior(opened, namespace, prior_id)
        if not shown.experiences:
            raise InputError(f"{shown.id} holds no experience; tfgrpo prior show {shown.id} says what it holds")
        found, text = related(opened, namespace, shown, task, analogy)
    tell(as_json, {"prior": shown.id, **related_json(found, text)}, f"prior {shown.id}", *related_lines(found, text))


@prior.command("diff")
@click.argument("first", metavar="A")
@click.argument("second", metavar="[B]", required=False)
@store_options
@json_option
def diff(first: str, second: str | None, store: str | None, namespace: str, as_json: bool) -> None:
    """What prior B (the live one unless it is named) has and A has not, and the other way round."""
    from ..priors.versions import changes

    with named_store(store) as opened:
        before, after = opened.prior(first), named_prior(opened, namespace, second)
    found = changes(before, after)
    tell(as_json, changes_json(before.id, after.id, found), *changes_lines(before.id, after.id, found))


@prior.command("use")
@click.argument("prior_id", metavar="ID")
@click.option("--why", default="chosen by a person", show_default=True, help="Reason to remember.")
@by_option
@store_options
@json_option
def use_prior(*, prior_id: str, why: str, by: str | None, store: str | None, namespace: str, as_json: bool) -> None:
    """Serve a prior of the namespace from now on; what was served before stays in the list."""
    from ..priors.serving import use

    with named_store(store) as opened:
        chosen = use(opened, namespace, prior_id, by=person(by), why=why)
    figures = {"prior": chosen.prior.id, "state": chosen.state, "namespace": namespace}
    tell(as_json, figures, f"{chosen.prior.id} is {chosen.state} in namespace {namespace}; {MEASURE_IT}")


@prior.command("rollback")
@click.option("--why", default="rolled back by a person", show_default=True, help="Reason to remember.")
@click.option("--yes", is_flag=True, help="Turn the prior off without asking.")
@by_option
@store_options
@json_option
def rollback(*, why: str, yes: bool, by: str | None, store: str | None, namespace: str, as_json: bool) -> None:
    """Serve the prior that was served before the live one; a new event, nothing is deleted.

    With none before it, calls go out without a prior from then on; a second rollback in a row asks before it does that.
    """
    from ..priors.serving import roll_back

    name = person(by)
    with named_store(store) as opened:
        if not yes:
            _ask_before_off(opened, namespace)
        before, now = roll_back(opened, namespace, by=name, why=why)
    rest = f"{now.prior.id} is {now.state} again" if now else "none was live before it, calls go out without a prior"
    figures = {"rolled_back": before.prior.id, "prior": now.prior.id if now else None, "namespace": namespace}
    tell(as_json, figures, f"{before.prior.id} is rolled back; {rest}")


def _ask_before_off(store: "Store", namespace: str) -> None:
    """Ask where a second rollback in a row would turn the prior off, which was hardly meant; InputError where nobody
    can be asked."""
    from ..priors.serving import before_live

    events = store.lineage(namespace)
    second = store.live(namespace) is not None and events[-1].state == "rolled back"
    if not second or before_live(store, namespace):
        return
    off = f"nothing was live before it in namespace {namespace}, so calls would go out without a prior"
    if not sys.stdin.isatty():
        raise InputError(f"the last prior was rolled back already: {off}; --yes does it all the same")
    click.confirm(f"The last prior was rolled back already: {off}. Turn it off?", abort=True, err=True)
