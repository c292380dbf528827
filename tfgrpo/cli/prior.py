"""Commands about priors: what was learned, version by version, and which version is served."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import InputError
from .command import TextGroup
from .lines.experiences import outcome_lines
from .lines.priors import (
    changes_json,
    changes_lines,
    event_json,
    imported_lines,
    prior_json,
    prior_lines,
    standing_lines,
    tree_rows,
)
from .lines.tables import print_table
from .options.shared import by_option, json_option, named_store, person, store_options
from .options.target import warn_of_model
from .streams import print_json, read_text, tell, write_text

if TYPE_CHECKING:
    from ..priors.portable import Portable
    from ..priors.youtu import Texts
    from ..records import Prior
    from ..store import Store


@click.group(cls=TextGroup)
def prior() -> None:
    """What was learned, version by version."""


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
@store_options
@json_option
def show_prior(prior_id: str | None, store: str | None, namespace: str, as_json: bool) -> None:
    """One prior, by id or the beginning of it; the live one when none is named.

    With the model and the run that it was learned by, and what became of it in the namespace.
    """
    with named_store(store) as opened:
        shown, live = _named(opened, namespace, prior_id), opened.live(namespace)
        events = [event for event in opened.lineage(namespace) if event.prior == shown.id]
    served = live is not None and live.prior.id == shown.id
    lines = *prior_lines(shown), *standing_lines(shown, namespace, events, served)
    tell(as_json, prior_json(shown, namespace, events, served), *lines)


@prior.command("diff")
@click.argument("first", metavar="A")
@click.argument("second", metavar="[B]", required=False)
@store_options
@json_option
def diff(first: str, second: str | None, store: str | None, namespace: str, as_json: bool) -> None:
    """What prior B (the live one unless it is named) has and A has not, and the other way round."""
    from ..priors.versions import changes

    with named_store(store) as opened:
        before, after = opened.prior(first), _named(opened, namespace, second)
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
    tell(as_json, figures, f"{chosen.prior.id} is {chosen.state} in namespace {namespace}; {_EVAL}")


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


@prior.command("export")
@click.argument("prior_id", metavar="[ID]", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "text", "youtu-agent"]),
    default="json",
    show_default=True,
    help="json comes back with `prior import`; text is what a prompt gets; youtu-agent is an agent's YAML.",
)
@click.option("-o", "--output", metavar="FILE", help="Write to this file.  [default: stdout]")
@click.option("--rollouts", is_flag=True, help="With the tasks and rollouts that it was learned from (json only).")
@store_options
def export(
    *, prior_id: str | None, form: str, output: str | None, rollouts: bool, store: str | None, namespace: str
) -> None:
    """Write a prior (the live one unless ID is given) to a file that other machines and tools can read."""
    from ..priors.portable import json_text, plain_text
    from ..priors.youtu import agent_yaml

    if rollouts and form != "json":
        raise InputError(f"--rollouts: the format {form} has no place for them; use --format json")
    with named_store(store) as opened:
        if output and Path(output).exists() and opened.path.samefile(output):
            raise InputError(f"--output {output} is the store itself; name another file")
        given = _portable(opened, namespace, prior_id, rollouts)
    held = {"token prior": given.prior.biases, "demonstrations": given.prior.demonstrations}
    if form == "youtu-agent" and (left := [name for name, parts in held.items() if parts]):
        click.echo(f"{' and '.join(left)} left out: youtu-agent has no place for that", err=True)
    if form == "youtu-agent":
        text = agent_yaml(given.prior, given.frame)
    else:
        text = json_text(given) if form == "json" else plain_text(given)
    write_text(output, text)


@prior.command("import")
@click.argument("file")
@click.option("--use", "use_now", is_flag=True, help="Serve it from now on, untested; else it is a candidate.")
@by_option
@store_options
@json_option
def import_file(*, file: str, use_now: bool, by: str | None, store: str | None, namespace: str, as_json: bool) -> None:
    """Take in FILE (- is stdin): a prior that `prior export` wrote, or an agent or experiences of youtu-agent.

    A prior becomes a candidate of the namespace. Experiences are on trial whatever they were elsewhere: the next
    learning measures them. Texts go through the same admission as a distiller's.
    """
    from ..priors.parse import FILE_BYTES, parse_prior
    from ..priors.portable import Portable

    source = "standard input" if file == "-" else file
    found = parse_prior(source, read_text(file, FILE_BYTES))
    if use_now and not isinstance(found, Portable):
        raise InputError(
            f"--use: {source} holds experiences and no prior; they go on trial, and learning measures them"
        )
    with named_store(store, create=True) as opened:
        if isinstance(found, Portable):
            _take_prior(opened, namespace, found, source, person(by), use_now=use_now, as_json=as_json)
        else:
            _take_texts(opened, namespace, found, source, person(by), as_json=as_json)


_EVAL = "measure it on tasks that it has not seen: tfgrpo eval"


def _take_prior(
    store: "Store", namespace: str, given: "Portable", source: str, by: str, *, use_now: bool, as_json: bool
) -> None:
    from dataclasses import asdict

    from ..priors.importing import import_prior
    from ..priors.serving import use

    warn_of_model(namespace, store.namespaces(), store.live(namespace), given.frame.model)
    imported = import_prior(store, namespace, given, by=by, source=source)
    taken, outcomes = imported.snapshot, imported.experiences
    if use_now:
        taken = use(store, namespace, taken.prior.id, by=by, why=f"imported from {source}")
    told = {"prior": taken.prior.id, "namespace": namespace, "state": taken.state}
    following = _EVAL if taken.state in ("live", "ungated") else f"to serve it: tfgrpo prior use {taken.prior.id}"
    lines = imported_lines(given, f"{taken.state} in namespace {namespace}; {following}", outcomes)
    tell(as_json, {**told, "experiences": [asdict(outcome) for outcome in outcomes]}, *lines)


def _take_texts(store: "Store", namespace: str, given: "Texts", source: str, by: str, *, as_json: bool) -> None:
    from dataclasses import asdict

    from ..priors.by_hand import Curator

    learned = f", learned on {given.model}" if given.model else ""
    outcomes = Curator(store, namespace, by).offer(given.texts, f"imported from {source}{learned}")
    tell(as_json, [asdict(outcome) for outcome in outcomes], *outcome_lines(outcomes))


def _named(store: "Store", namespace: str, prior_id: str | None) -> "Prior":
    """The prior with this id, else the live one."""
    if prior_id is not None:
        return store.prior(prior_id)
    if (snapshot := store.live(namespace)) is None:
        raise InputError(f"no prior is live in namespace {namespace}; tfgrpo prior list shows what there is")
    return snapshot.prior


def _portable(store: "Store", namespace: str, prior_id: str | None, rollouts: bool) -> "Portable":
    """A prior with all that is known of it in the namespace."""
    from ..priors.portable import Event, Portable
    from ..priors.serving import event_of
    from ..priors.versions import run_behind

    found = _named(store, namespace, prior_id)
    event = event_of(store, namespace, found)
    pasts = [store.history(namespace, entry.id) for entry in found.experiences]
    lineage = [one for one in store.lineage(namespace) if one.prior == found.id]
    run = run_behind(lineage)
    return Portable(
        found,
        event.frame,
        namespace,
        run,
        tuple(effect for past in pasts for _, effect in past.effects),
        tuple(decision for past in pasts for _, decision in past.decisions),
        tuple(Event(one.state, one.run, one.by, one.why, one.at) for one in lineage),
        store.groups(run) if rollouts and run else (),
    )
