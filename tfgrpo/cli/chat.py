"""The command that makes one call with the live prior."""

import click

from ..errors import InputError
from .command import TextCommand
from .lines.priors import prior_lines
from .options.shared import json_option, named_store, store_options
from .options.target import Target, endpoint, target_options, warn_of_model
from .streams import tell


@click.command(cls=TextCommand)
@click.argument("text")
@target_options
@store_options
@click.option("--show-prior", is_flag=True, help="Print the prior first, on stderr.")
@click.option("--no-prior", is_flag=True, help="Call the frozen model, for comparison.")
@json_option
def chat(
    *, text: str, target: Target, store: str | None, namespace: str, show_prior: bool, no_prior: bool, as_json: bool
) -> None:
    """One call with the live prior, under the request frame that it was learned in."""
    import asyncio
    import random

    from ..serve.one_call import say

    with named_store(store) as opened:
        snapshot, namespaces, probed = opened.live(namespace), opened.namespaces(), opened.probes()
    if snapshot is None:
        raise InputError(f"no prior is live in namespace {namespace}; tfgrpo learn makes one")
    target = target.or_model(snapshot.frame.model)
    with endpoint(target.base_url, target.model) as (url, name):
        if not no_prior:
            warn_of_model(namespace, namespaces, snapshot, name)
        seed = random.getrandbits(31)
        said = asyncio.run(say(url, name, text, snapshot, probed, frozen=no_prior, seed=seed))
    lines = [*said.notes, *(prior_lines(said.prior) if show_prior else ())]
    if lines:
        click.echo("\n".join(lines), err=True)
    figures = {"text": said.text, "prior": None if no_prior else said.prior.id, "model": name}
    tell(as_json, {**figures, "notes": list(said.notes)}, said.text)
