"""The command that tries a prior on another model."""

from typing import TYPE_CHECKING

import click

from .command import TextCommand
from .lines.porting import port_lines
from .options.shared import json_option, named_store
from .options.spending import spending_options
from .root import OUT_OF_BUDGET
from .streams import tell

if TYPE_CHECKING:
    from ..model.budget import Spending


@click.command(cls=TextCommand)
@click.argument("namespace")
@click.option("--to", "model", metavar="MODEL", help="The model to try it on, except with --base-url local.")
@click.option("--base-url", metavar="URL", help="Where that is served, or `local`, embedded.  [default: OpenAI's]")
@click.option("--into", metavar="NAME", help="Namespace of the new model.  [default: NAMESPACE@MODEL]")
@click.option(
    "--gate",
    type=click.Choice(["evidence", "none"]),
    default="evidence",
    show_default=True,
    help="`evidence`: live only if held-out tasks show that it is better there. `none`: at once.",
)
@spending_options
@click.option("--store", metavar="STORE", help="Where both are.  [default: TFGRPO_STORE, else ./tfgrpo.db]")
@json_option
def port(
    *,
    namespace: str,
    model: str | None,
    base_url: str | None,
    into: str | None,
    gate: str,
    spending: "Spending",
    store: str | None,
    as_json: bool,
) -> None:
    """Try the live prior of NAMESPACE on another model, for a fraction of what learning anew takes.

    The ways to prompt that it holds race once over the tasks that it was learned from, beside examples in the prompt
    and the model as it is; what helped on the old model has a head start. The best goes live in the namespace of the
    new model, with tokens fitted to its own answers there, if the held-out tasks show that it helps. Exit code 3: a
    ceiling ended it; a larger one goes on.
    """
    import asyncio

    from ..errors import InputError
    from ..learning.port import WantedPort
    from ..model.endpoints import Endpoint, Endpoints
    from ..progress import Display

    target = Endpoint(base_url, model)
    if model is None and not target.is_local:
        raise InputError("to which model? Name it with --to, or use --base-url local for the embedded one")
    endpoints = Endpoints(target, spending=spending)
    with named_store(store) as opened:
        wanted = WantedPort(namespace, endpoints, into, gate != "none").prepared(opened)
        with wanted.started() as started:
            found = asyncio.run(started.port(opened, Display))
    tell(as_json, found.as_json(), *port_lines(found))
    if found.ended:
        click.get_current_context().exit(OUT_OF_BUDGET)
