"""The command that keeps a namespace learning in production."""

import shlex
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ..errors import InputError
from .command import TextCommand
from .options.gathered import titled
from .options.shared import by_option, json_option, named_store, person, store_options
from .streams import end_when_alone, interruptible, tell

if TYPE_CHECKING:
    from ..deployment.step import AutopilotTerms

_trial, _learning = titled("How a canary is tried"), titled("How it learns")


@click.command(cls=TextCommand)
@click.argument("act", type=click.Choice(["run", "status", "approve"]), default="run", metavar="[status|approve]")
@click.argument("prior_id", required=False, metavar="[ID]")
@_learning(
    "--learn",
    "options",
    metavar="OPTIONS",
    help="Learn from traffic, with these options of `tfgrpo learn`: '--reward exact --model M'.",
)
@_learning("--daily-calls", default=2_000, show_default=True, metavar="N", help="For learning, between midnights, UTC.")
@_learning("--min-feedback", default=200, show_default=True, metavar="N", help="Calls fed back before it learns again.")
@_trial("--share", default=0.2, show_default=True, help="Of the callers' keys that get the canary.")
@_trial("--alpha", default=0.05, show_default=True, help="Chance of ever promoting what is no better.")
@_trial("--most-pairs", default=2_000, show_default=True, metavar="N", help="After which a canary ends undecided.")
@_trial("--ask", is_flag=True, help="Wait for a person before each canary and each promotion.")
@click.option("--once", is_flag=True, help="Look once, do what is to be done, and end.")
@click.option("--interval", default=60.0, show_default=True, metavar="SECONDS", help="Between two looks.")
@click.option("--until-alone", is_flag=True, hidden=True, help="End when standard input does.")
@by_option
@store_options
@json_option
def autopilot(
    *,
    act: str,
    prior_id: str | None,
    options: str | None,
    daily_calls: int,
    min_feedback: int,
    share: float,
    alpha: float,
    most_pairs: int,
    ask: bool,
    once: bool,
    interval: float,
    until_alone: bool,
    by: str | None,
    store: str | None,
    namespace: str,
    as_json: bool,
) -> None:
    """Keep a namespace learning, beside `tfgrpo serve`: learn from feedback, try a canary, promote or roll back.

    It goes by feedback on calls whose draw was recorded: through the proxy, or a client that records. `autopilot
    status` tells how the trial stands, `autopilot approve` lets what waits for a person happen; `tfgrpo history` tells
    what was done. Only one is at a namespace.
    """
    from ..deployment.step import AutopilotTerms

    terms = AutopilotTerms(daily_calls, min_feedback, share, ask, alpha, most_pairs)
    if act == "status":
        return _tell_status(store, namespace, terms, options is not None, as_json=as_json)
    if act == "approve":
        return _approve(store, namespace, prior_id, by, as_json=as_json)
    if prior_id:
        raise InputError(f"{prior_id}: only `tfgrpo autopilot approve` takes the id of a prior")
    if not 0 < interval < 86_400:
        raise InputError(f"--interval {interval}: seconds, above 0 and below a day")
    learn = _learn_options(options)
    with interruptible():
        if until_alone:
            end_when_alone()
        _fly(store, namespace, terms, learn, once=once, interval=interval, as_json=as_json)


def _learn_options(given: str | None) -> Sequence[str] | None:
    try:
        return None if given is None else shlex.split(given)
    except ValueError as error:
        raise InputError(f"--learn {given!r}: {error}") from error


def _fly(
    store: str | None,
    namespace: str,
    terms: "AutopilotTerms",
    learn: Sequence[str] | None,
    *,
    once: bool,
    interval: float,
    as_json: bool,
) -> None:
    from ..deployment.autopilot import Autopilot
    from ..deployment.child import ChildLearner
    from ..deployment.lock import alone_at
    from ..store import Store, default_store_path
    from .lines.tables import printable

    place = default_store_path(store)
    learner = None if learn is None else ChildLearner(store, namespace, learn)
    pilot = Autopilot(lambda: Store(place, create=False), namespace, terms, learner)
    if once:
        named_store(store).close()  # one that cannot be read is an error here, and what is waited for elsewhere
    busy = False
    while True:
        with alone_at(place, namespace) as alone:
            if alone and once:
                said = pilot.look()
                return tell(as_json, list(said), *(map(printable, said) if said else ("nothing is to be done now",)))
            if alone:
                click.echo(f"autopilot of namespace {namespace}; Ctrl-C stops it", err=True)
                pilot.run(interval, lambda line: click.echo(printable(line)))
        if once:
            raise InputError(f"another autopilot is at namespace {namespace}; stop that one, or let it do the work")
        if not busy:
            click.echo(f"another autopilot is at namespace {namespace}; this one waits for it to end", err=True)
        busy = True
        time.sleep(min(interval, 5.0))


def _tell_status(store: str | None, namespace: str, terms: "AutopilotTerms", learns: bool, *, as_json: bool) -> None:
    from ..deployment.status import status_of
    from .lines.autopilot import status_json, status_lines

    with named_store(store) as opened:
        found = status_of(opened, namespace, terms, learns=learns)
    tell(as_json, status_json(found), *status_lines(found))


def _approve(store: str | None, namespace: str, prior_id: str | None, by: str | None, *, as_json: bool) -> None:
    from ..deployment.autopilot import approve

    with named_store(store) as opened:
        approved = approve(opened, namespace, by=person(by), prior=prior_id)
    figures = {"approved": approved, "namespace": namespace}
    tell(as_json, figures, f"{approved} is approved; the autopilot does the rest")
