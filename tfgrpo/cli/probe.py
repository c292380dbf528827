"""The command that says what can be learned on an upstream."""

from typing import TYPE_CHECKING

import click

from .command import TextCommand
from .lines.probing import probe_lines
from .options.shared import json_option, named_store, tell_leaving
from .options.target import Target, endpoint, read_tokenizer, target_options, tokenizer_option
from .streams import tell

if TYPE_CHECKING:
    from ..model.tokenizer import Tokenizer
    from ..records import JSON
    from ..store import Store


@click.command(cls=TextCommand)
@target_options
@click.option("--store", metavar="STORE", help="Where to remember it.  [default: TFGRPO_STORE, else ./tfgrpo.db]")
@tokenizer_option
@json_option
def probe(*, target: Target, store: str | None, tokenizer: str | None, as_json: bool) -> None:
    """What an upstream honours, and so what can be learned there; and what to do about the rest.

    It takes about two dozen short calls, to see whether logit_bias (fractions too), log-probabilities, n, seed and a
    system role are honoured, whether tokens have ids, how many alternatives to a token are listed of 100 asked for, and
    how it goes on with an answer (--bounded).
    The store remembers the result: clients and the proxy never send a token prior where it is rejected or ignored, and
    say so in the header x-tfgrpo-token-prior; to decide labels again they ask for as many alternatives as come.
    """
    import asyncio

    named = read_tokenizer(tokenizer)
    with named_store(store, create=True) as opened, endpoint(target.base_url, target.model) as (url, name):
        figures = asyncio.run(_probed(url, name, named, opened))
    tell(as_json, figures, *probe_lines(figures))


async def _probed(url: str | None, model: str, tokenizer: "Tokenizer | None", store: "Store") -> "dict[str, JSON]":
    """What was measured of a model at a URL, with the verdict; the store is told of it."""
    from ..model.upstream import Upstream
    from ..probe.capabilities import capabilities
    from ..probe.learnable import learnable

    async with Upstream(url, tokenizer=tokenizer) as upstream:
        found = await capabilities(upstream, model)
        store.add_probe(upstream.key, model, found.backend, anew=True)
        tell_leaving(store, model, upstream.key)
        verdict = learnable(found.backend, upstream.tokenizer)
    return {"model": model, **found.as_json(), "dropped": sorted(upstream.dropped), "verdict": verdict.as_json()}
