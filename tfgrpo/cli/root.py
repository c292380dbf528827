"""The group `tfgrpo`: which commands there are, and how an error ends one."""

import click

from .. import __version__
from ..errors import BudgetEnded, TfgrpoError
from ..text import without_passwords
from .command import LazyGroup, Listed

OUT_OF_BUDGET = 3
"""Exit code of a command that a ceiling ended: what was done is kept, and it is no success."""

_COMMANDS = {
    "Learn and measure": {
        "demo": Listed("demo:demo", "See it work: learn on a small embedded model, and measure it."),
        "learn": Listed("learn:learn", "Learn a prior from tasks, and make it live if it is better."),
        "tasks": Listed("tasks:tasks", "What was understood of a file of tasks, before it costs anything."),
        "eval": Listed("evaluate:evaluate", "Measure a prior on tasks that it has not seen."),
        "port": Listed("port:port", "Try a prior on another model, for a fraction of learning anew."),
        "explore": Listed("explore:explore", "How an environment works, found out without any reward."),
        "probe": Listed("probe:probe", "What can be learned on an upstream, and why not the rest."),
    },
    "Use": {
        "chat": Listed("chat:chat", "One call with the live prior."),
        "serve": Listed("serve:serve", "A proxy that gives every call the live prior."),
        "autopilot": Listed("autopilot:autopilot", "The loop in production: learn, canary, promote or roll back."),
        "collect": Listed("collect:collect", "Take in calls and feedback of proxies without a store."),
        "keys": Listed("keys:keys", "Who may call the proxy, with which namespace and budget."),
        "local": Listed("local:local", "The embedded model: fetch it, serve it."),
    },
    "Look and decide": {
        "prior": Listed("prior:prior", "What was learned, version by version."),
        "experience": Listed("experience:experience", "Texts for the prompt, each with its measured effect."),
        "tokens": Listed("tokens:tokens", "The token prior, token by token."),
        "history": Listed("history:history", "Everything that happened in a namespace, in order."),
        "runs": Listed("runs:runs", "Every learning and evaluation, and what it cost."),
        "rollouts": Listed("rollouts:rollouts", "What the model said in a run, the worst and the best."),
        "forecast": Listed("forecast:forecast", "Whether more of a run would pay."),
        "report": Listed("report:report", "One HTML page of a run: what it learned, and if it is real."),
        "prompts": Listed("prompts:prompts", "The prompts of the model that proposes experiences."),
        "store": Listed("store:store", "The file that remembers it all."),
    },
}


_GO_ON = ("demo", "learn", "eval", "port", "explore")
"""Commands that are runs: where one is broken off, the same command goes on from what is in the store."""


class OutOfBudget(click.ClickException):
    """A ceiling was reached before the work was done: nothing is wrong, what was done is kept, and the exit code says
    so."""

    exit_code = OUT_OF_BUDGET


class OneLineGroup(LazyGroup):
    """Turns every error of ours into one line and exit code 1 (3: a ceiling ended it), and Ctrl-C into 130."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except TfgrpoError as error:
            told = without_passwords(" ".join(str(error).split()))
            if isinstance(error, BudgetEnded):
                raise OutOfBudget(f"{told}; what was done is kept, and a larger ceiling goes on from there") from error
            raise click.ClickException(told) from error
        except click.ClickException as error:
            object.__setattr__(error, "message", without_passwords(error.message))  # final, says click
            raise
        except KeyboardInterrupt:
            kept = " What was done is kept; the same command goes on from there."
            click.echo(f"Interrupted.{kept if ctx.invoked_subcommand in _GO_ON else ''}", err=True)
            ctx.exit(130)


@click.group(
    cls=OneLineGroup,
    listed=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="tfgrpo")
def main() -> None:
    """Make a frozen model better at your task, with no weights touched (Training-Free GRPO).

    Start with `tfgrpo demo`, which learns on a small embedded model, or with `tfgrpo learn tasks.jsonl --model M`.
    """
