"""Options that most commands share, and what is made of them."""

import os
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import click

from ...errors import InputError
from ...text import is_unicode
from .gathered import together

if TYPE_CHECKING:
    from ...records import Prior
    from ...store import Store


def visible_name(context: click.Context, option: click.Parameter, given: str | None) -> str | None:
    """The name of a namespace that an option gives, if it does; InputError for one that nobody could read."""
    if given is None or not is_unicode(given):  # TextCommand tells what is no Unicode
        return given
    if not (given.strip() and given.isprintable()):
        raise InputError(f"--namespace {given!r}: give a name of visible characters")
    return given


store_option = click.option(
    "--store", metavar="STORE", help="A file, or postgresql://...  [default: TFGRPO_STORE or ./tfgrpo.db]"
)
store_options = together(
    store_option,
    click.option(
        "--namespace",
        default="default",
        envvar="TFGRPO_NAMESPACE",
        help="Lineage of priors.",
        show_default=True,
        callback=visible_name,
    ),
)
"""--store and --namespace."""
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
by_option = click.option("--by", metavar="NAME", help="Who decides, to remember.  [default: the user's login name]")


def person(given: str | None) -> str:
    """The name that stands with a person's decision."""
    import getpass

    try:
        return given if given is not None else getpass.getuser()
    except (OSError, KeyError, ImportError) as error:  # a container's user may have no name
        raise InputError("your user has no login name; say who decides with --by NAME") from error


def named_store(given: str | None, *, create: bool = False) -> "Store":
    """The store that the options name."""
    from ...store import Store, default_store_path

    return Store(default_store_path(given), create=create)


def key_in(option: str, name: str | None) -> str | None:
    """The key in the environment variable that an option names, if it does; InputError where there is no key in it."""
    key = os.environ.get(name) if name else None
    if name and not key:
        raise InputError(f"{option}: the variable {name} is not set")
    if key and not key.isprintable():
        raise InputError(f"{option}: the variable {name} holds the end of a line or the like; a key is one line")
    return key


def named_prior(store: "Store", namespace: str, prior_id: str | None) -> "Prior":
    """The prior with this id, else the live one."""
    if prior_id is not None:
        return store.prior(prior_id)
    if (snapshot := store.live(namespace)) is None:
        raise InputError(f"no prior is live in namespace {namespace}; tfgrpo prior list shows what there is")
    return snapshot.prior


NOTICE_DAYS = 90
"""Before its last day a model is spoken of."""


def shutdown_notice(model: str, upstream: str, day: str, today: date) -> str | None:
    """What to tell of a model whose last day at an upstream is near or past; None where it is far, or not known."""
    if not day:
        return None
    left = date.fromisoformat(day) - today
    if left > timedelta(days=NOTICE_DAYS):
        return None
    when = f"leaves {upstream} on {day}, in {left.days} days" if left.days >= 0 else f"has left {upstream} on {day}"
    return f"{model} {when}; to take its prior to a successor: tfgrpo port NAMESPACE --to MODEL"


def tell_leaving(store: "Store", model: str, at: str | None = None) -> None:
    """Say on stderr that a model leaves its API soon, where the last probe of it, of this upstream if one is named, has
    seen so."""
    days = sorted(
        (found[model].shutdown_date, upstream)
        for upstream, found in store.probes().items()
        if model in found and at in (None, upstream)
    )
    notices = (shutdown_notice(model, upstream, day, datetime.now(UTC).date()) for day, upstream in days)
    if notice := next(filter(None, notices), None):
        click.echo(notice, err=True)
