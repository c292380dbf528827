"""The command that takes in what proxies and clients without a store report."""

import click

from .command import TextCommand
from .options.serving import ServeOptions, serve_options
from .options.shared import store_options


@click.command("collect", cls=TextCommand)
@serve_options
@store_options
def collect(*, server: ServeOptions, store: str | None, namespace: str) -> None:
    """Take in calls and feedback, and write them to the store: `tfgrpo serve` without an upstream.

    Proxies (`serve --report-to URL`) and clients (TFGRPO_REPORT_TO=URL) send them in batches, each call once. Its live
    priors can be pulled too. Senders with keys (`tfgrpo keys add`) may be anywhere, without on this machine only.
    """
    from ..serve.proxy import Serving
    from ..serve.proxy import serve as serve_proxy
    from ..store import default_store_path

    path = default_store_path(store)
    serve_proxy(
        Serving([], path, namespace, server.listening, server.limits, recording=server.recording),
        ready=lambda base_url: click.echo(
            f"collecting into {path} at {base_url.removesuffix('/v1')}; Ctrl-C stops it", err=True
        ),
    )
