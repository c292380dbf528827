"""The command line. A command parses, calls, prints; everything heavy is imported inside the commands."""

import click

from .. import __version__
from ..errors import TfgrpoError


class OneLineGroup(click.Group):
    """Turns every error of ours into one line and exit code 1, and Ctrl-C into 130."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except TfgrpoError as error:
            raise click.ClickException(" ".join(str(error).split())) from error
        except KeyboardInterrupt:
            click.echo("Interrupted. What was done is kept; the same command goes on from there.", err=True)
            ctx.exit(130)


@click.group(cls=OneLineGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tfgrpo")
def main() -> None:
    """Make a frozen model better at your task, with no weights touched (Training-Free GRPO).

    Start with `tfgrpo demo`, which learns on a small embedded model, or with `tfgrpo learn tasks.jsonl --model M`.
    """


from . import experience, prior, prompts, run, store, tokens, use  # noqa: E402 - the commands add themselves to the group above

__all__ = ["experience", "main", "prior", "prompts", "run", "store", "tokens", "use"]
