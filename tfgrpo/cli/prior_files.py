"""Commands that take priors to files and out of them: prior export, prior import."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import InputError
from .command import TextCommand
from .lines.experiences import outcome_lines
from .lines.priors import imported_lines
from .options.shared import by_option, json_option, named_prior, named_store, person, store_options
from .options.target import warn_of_model
from .streams import read_text, tell, write_text

if TYPE_CHECKING:
    from ..priors.portable import Portable
    from ..priors.youtu import Texts
    from ..store import Store

MEASURE_IT = "measure it on tasks that it has not seen: tfgrpo eval"
"""What to do with a prior that nothing was measured of."""


@click.command(cls=TextCommand)
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
        if output and isinstance(opened.path, Path) and Path(output).exists() and opened.path.samefile(output):
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


@click.command("import", cls=TextCommand)
@click.argument("file")
@click.option("--use", "use_now", is_flag=True, help="Serve it from now on, untested; else it is a candidate.")
@click.option(
    "--trust",
    envvar="TFGRPO_TRUST",
    metavar="FILE",
    help="Take a prior in only where a key of FILE signed it (`tfgrpo prior trust`).",
)
@by_option
@store_options
@json_option
def import_file(
    *, file: str, use_now: bool, trust: str | None, by: str | None, store: str | None, namespace: str, as_json: bool
) -> None:
    """Take in FILE (- is stdin): a prior that `prior export` wrote, or an agent or experiences of youtu-agent.

    A prior becomes a candidate of the namespace. Experiences are on trial whatever they were elsewhere: the next
    learning measures them. Texts go through the same admission as a distiller's.
    """
    from ..priors.parse import FILE_BYTES, parse_prior
    from ..priors.portable import Portable

    source = "standard input" if file == "-" else file
    text = read_text(file, FILE_BYTES)
    found = parse_prior(source, text)
    if trust and isinstance(found, Portable):
        from ..priors.signing import check_trusted

        check_trusted(source, text, Path(trust).expanduser())
    if use_now and not isinstance(found, Portable):
        raise InputError(
            f"--use: {source} holds experiences and no prior; they go on trial, and learning measures them"
        )
    with named_store(store, create=True) as opened:
        if isinstance(found, Portable):
            _take_prior(opened, namespace, found, source, person(by), use_now=use_now, as_json=as_json)
        else:
            _take_texts(opened, namespace, found, source, person(by), as_json=as_json)


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
    following = MEASURE_IT if taken.state in ("live", "ungated") else f"to serve it: tfgrpo prior use {taken.prior.id}"
    lines = imported_lines(given, f"{taken.state} in namespace {namespace}; {following}", outcomes)
    tell(as_json, {**told, "experiences": [asdict(outcome) for outcome in outcomes]}, *lines)


def _take_texts(store: "Store", namespace: str, given: "Texts", source: str, by: str, *, as_json: bool) -> None:
    from dataclasses import asdict

    from ..priors.by_hand import Curator

    learned = f", learned on {given.model}" if given.model else ""
    outcomes = Curator(store, namespace, by).offer(given.texts, f"imported from {source}{learned}")
    tell(as_json, [asdict(outcome) for outcome in outcomes], *outcome_lines(outcomes))


def _portable(store: "Store", namespace: str, prior_id: str | None, rollouts: bool) -> "Portable":
    """A prior with all that is known of it in the namespace."""
    from ..priors.portable import Event, Portable
    from ..priors.serving import event_of
    from ..priors.versions import run_behind

    found = named_prior(store, namespace, prior_id)
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
