"""The command that runs the proxy."""

import click

from .command import TextCommand
from .options.shared import key_in, store_options
from .options.target import endpoint


@click.command(cls=TextCommand)
@click.option("--upstream", required=True, metavar="URL", help="The API behind the proxy, or `local`.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, help="Port to listen on.")
@click.option("--upstream-key-env", metavar="NAME", help="Environment variable that holds the key to send upstream.")
@store_options
def serve(
    *, upstream: str, host: str, port: int, upstream_key_env: str | None, store: str | None, namespace: str
) -> None:
    """An OpenAI-compatible proxy that gives every chat call the live prior."""
    from ..serve.proxy import serve as serve_proxy
    from ..store import default_store_path

    key = key_in("--upstream-key-env", upstream_key_env)
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
