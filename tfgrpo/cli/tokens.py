"""Commands about the token prior."""

import click

from .command import TextGroup
from .lines.priors import biases_json, offset_rows
from .lines.tables import print_table
from .options.shared import json_option, named_store, store_options
from .streams import print_json


@click.group(cls=TextGroup)
def tokens() -> None:
    """The token prior: a learned `logit_bias` map, and offsets of the options of decisions."""


@tokens.command("show")
@click.argument("prior_id", metavar="[ID]", required=False)
@store_options
@json_option
def show_tokens(prior_id: str | None, store: str | None, namespace: str, as_json: bool) -> None:
    """Each token with its bias (nats), z and the tasks that moved it; of the live prior unless one is named.

    Each option of a question for the decisions API likewise, with its offset.
    """
    from ..priors.questions import questions_json
    from ..records import Prior

    with named_store(store) as opened:
        snapshot = opened.live(namespace)
        shown = opened.prior(prior_id) if prior_id else snapshot.prior if snapshot else Prior()
    found = biases_json(shown.biases)
    if as_json:
        print_json({"biases": found, "questions": questions_json(shown.questions)} if shown.questions else found)
        return
    if not (found or shown.questions):
        nowhere = f"no token prior is live in namespace {namespace}; tfgrpo prior list shows what there is"
        click.echo(f"prior {prior_id} has no token prior" if prior_id else nowhere)
    if found:
        rows = [(repr(row["text"]), row["token"], f"{row['bias']:+.2f}", row["z"], row["tasks"]) for row in found]
        print_table(("text", "token", "bias", "z", "tasks"), rows)
    if shown.questions:
        print_table(("question", "option", "offset", "z", "tasks"), list(offset_rows(shown)))
