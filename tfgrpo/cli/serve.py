"""The command that runs the proxy."""

from collections.abc import Sequence
from contextlib import nullcontext, suppress

import click

from ..errors import InputError, StoreError
from .command import TextCommand
from .options.gathered import titled
from .options.pulled import PulledOptions, pulled_options
from .options.serving import ServeOptions, serve_options
from .options.shared import key_in, named_store, store_options, tell_leaving
from .options.target import endpoint

_option = titled("Upstreams")


@click.command(cls=TextCommand)
@_option(
    "--upstream",
    "upstreams",
    multiple=True,
    metavar="URL",
    help="The API behind the proxy, or `local`. Given several times they take turns, by weight: 'URL weight=3'.",
)
@_option(
    "--upstream-key-env",
    "key_names",
    multiple=True,
    metavar="NAME",
    help="Environment variable with the key to send upstream: one for all, or one for each.  [default: the caller's]",
)
@pulled_options
@serve_options
@click.option("--autopilot", is_flag=True, help="Run `tfgrpo autopilot` beside it; its options stand in tfgrpo.toml.")
@store_options
def serve(
    *,
    upstreams: Sequence[str],
    key_names: Sequence[str],
    pulled: PulledOptions,
    server: ServeOptions,
    autopilot: bool,
    store: str | None,
    namespace: str,
) -> None:
    """An API-compatible proxy that gives every call the live prior.

    Callers with keys of the proxy's own (`tfgrpo keys add`) may be anywhere; without, it listens on this machine only,
    unless callers bring their own keys for the upstream.
    """
    from ..serve.proxy import RelayTarget, Serving
    from ..serve.proxy import serve as serve_proxy
    from .beside import autopilot_beside

    if not upstreams:
        raise InputError("which upstream? Name it with --upstream URL, or --upstream local")
    keys = [key_in("--upstream-key-env", name) for name in key_names] or [None]
    if len(keys) not in (1, len(upstreams)):
        raise InputError(f"--upstream-key-env: {len(keys)} for {len(upstreams)} upstreams; give one, or one for each")
    if len(upstreams) > 1 and any(name.partition(":")[0] == "local" for name in upstreams):
        raise InputError("--upstream local goes alone")
    pulled.check()
    _tell_leaving(store, namespace)
    local = upstreams[0].partition(":")[0] == "local"
    there = endpoint(upstreams[0], "") if local else nullcontext((None, ""))  # the SDK takes 25 MB
    with there as (url, _), autopilot_beside(store, namespace) if autopilot else nullcontext():
        named = [url or upstreams[0], *upstreams[1:]]
        serve_proxy(
            Serving(
                [RelayTarget.parse(name, keys[place % len(keys)]) for place, name in enumerate(named)],
                pulled.source(store, namespace),
                namespace,
                server.listening,
                server.limits,
                shares=server.shares,
                recording=server.recording,
                bounded=server.bounded,
            ),
            ready=lambda base_url: click.echo(
                f"serving namespace {namespace} at {base_url}; Ctrl-C stops it", err=True
            ),
        )


def _tell_leaving(store: str | None, namespace: str) -> None:
    """Say that the model of the live prior leaves its API soon; what cannot be read is told where it matters."""
    with suppress(StoreError), named_store(store) as opened:
        if live := opened.live(namespace):
            tell_leaving(opened, live.frame.model)
