"""The command line. A command parses, calls, prints; everything heavy is imported inside the commands."""

import click

from .. import __version__
from ..errors import BudgetEnded, InputError, TfgrpoError
from ..text import is_unicode

OUT_OF_BUDGET = 3
"""Exit code of a command that a ceiling ended: what was done is kept, and it is no success."""


class OutOfBudget(click.ClickException):
    """An error that is none: a ceiling was reached."""

    exit_code = OUT_OF_BUDGET


class TextCommand(click.Command):
    """A command whose arguments and options are text; bytes that are none go no further."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; InputError names what holds bytes that are not UTF-8, which Python makes half surrogates of."""
        rest = super().parse_args(ctx, args)
        for param in self.params:
            given = ctx.params.get(param.name or "")
            for value in given if isinstance(given, tuple) else (given,):
                if isinstance(value, str) and not is_unicode(value):
                    raise InputError(f"{param.get_error_hint(ctx)} holds bytes that are not UTF-8; give it as UTF-8")
        return rest


class TextGroup(click.Group):
    """A group of such commands."""

    command_class = TextCommand


class OneLineGroup(TextGroup):
    """Turns every error of ours into one line and exit code 1 (3: a ceiling ended it), and Ctrl-C into 130."""

    group_class = TextGroup

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except TfgrpoError as error:
            told = " ".join(str(error).split())
            if isinstance(error, BudgetEnded):
                raise OutOfBudget(f"{told}; what was done is kept, and a larger ceiling goes on from there") from error
            raise click.ClickException(told) from error
        except KeyboardInterrupt:
            click.echo("Interrupted. What was done is kept; the same command goes on from there.", err=True)
            ctx.exit(130)


@click.group(cls=OneLineGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tfgrpo")
def main() -> None:
    """Make a frozen model better at your task, with no weights touched (Training-Free GRPO).

    Start with `tfgrpo demo`, which learns on a small embedded model, or with `tfgrpo learn tasks.jsonl --model M`.
    """


from . import demo, evaluate, experience, learn, prior, prompts, report, store, tokens, use  # noqa: E402 - the commands add themselves to the group above

__all__ = ["demo", "evaluate", "experience", "learn", "main", "prior", "prompts", "report", "store", "tokens", "use"]
