"""Commands that show what is in the store: prior, experience, tokens."""

import click

from ..errors import InputError
from . import main
from .options import json_option, open_store, print_json, store_options
from .text import biases_json, effect_text, experience_json, print_table, prior_lines


@main.group()
def prior() -> None:
    """What was learned, version by version."""


@prior.command("list")
@store_options
@json_option
def list_priors(store: str | None, namespace: str, as_json: bool) -> None:
    """All events of a namespace, oldest first; the last one that is live or ungated is served."""
    with open_store(store) as opened:
        events = [
            {
                "at": entry.at,
                "prior": entry.prior,
                "state": entry.state,
                "run": entry.run,
                "by": entry.by,
                "why": entry.why,
            }
            for entry in opened.lineage(namespace)
        ]
    if as_json:
        print_json(events)
    elif not events:
        click.echo(f"no prior in namespace {namespace} yet; tfgrpo learn makes one")
    else:
        rows = [[event["at"][:16].replace("T", " "), *list(event.values())[1:]] for event in events]
        print_table(("at", "prior", "state", "run", "by", "why"), rows)


@prior.command("show")
@click.argument("prior_id", required=False)
@store_options
@json_option
def show_prior(prior_id: str | None, store: str | None, namespace: str, as_json: bool) -> None:
    """One prior, by id or the beginning of it; the live one when none is named."""
    from ..records import Prior

    with open_store(store) as opened:
        snapshot = opened.live(namespace)
        if prior_id is None and snapshot is None:
            raise InputError(f"no prior is live in namespace {namespace}; tfgrpo prior list shows what there is")
        shown = opened.prior(prior_id) if prior_id is not None else snapshot.prior if snapshot else Prior()
    if as_json:
        experiences = [{"id": entry.id, "kind": entry.kind, "text": entry.text} for entry in shown.experiences]
        print_json(
            {
                "id": shown.id,
                "parent": shown.parent,
                "tokenizer": shown.tokenizer,
                "experiences": experiences,
                "biases": biases_json(shown.biases),
            }
        )
    else:
        click.echo("\n".join(prior_lines(shown)))


@main.group()
def experience() -> None:
    """Short texts for the prompt, each with its measured effect."""


@experience.command("list")
@store_options
@json_option
def list_experiences(store: str | None, namespace: str, as_json: bool) -> None:
    """Every experience that was proposed, its effect on the mean reward, and what became of it."""
    with open_store(store) as opened:
        found = [experience_json(status) for status in opened.experiences(namespace)]
    if as_json:
        print_json(found)
    elif not found:
        click.echo(f"no experience in namespace {namespace} yet; tfgrpo learn proposes and measures them")
    else:
        rows = [(row["id"], row["fate"], effect_text(row["effect"]), row["text"], row["why"]) for row in found]
        print_table(("id", "fate", "effect", "text", "why"), rows)


@main.group()
def tokens() -> None:
    """The token prior: a learned `logit_bias` map."""


@tokens.command("show")
@click.argument("prior_id", required=False)
@store_options
@json_option
def show_tokens(prior_id: str | None, store: str | None, namespace: str, as_json: bool) -> None:
    """Each token with its bias (nats), z and the tasks that moved it; of the live prior unless one is named."""
    from ..records import Prior

    with open_store(store) as opened:
        snapshot = opened.live(namespace)
        shown = opened.prior(prior_id) if prior_id else snapshot.prior if snapshot else Prior()
    found = biases_json(shown.biases)
    if as_json:
        print_json(found)
    elif not found:
        click.echo(f"no token prior in namespace {namespace}")
    else:
        rows = [(repr(row["text"]), row["token"], f"{row['bias']:+.2f}", row["z"], row["tasks"]) for row in found]
        print_table(("text", "token", "bias", "z", "tasks"), rows)
