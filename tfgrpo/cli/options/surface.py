"""The option that says of which API the calls are, where it is not chat."""

import click

from .gathered import Decorator, titled


def surface_option(title: str) -> Decorator:
    """--surface; the command gets the surface and the file with the question as `surface`, or None."""
    return titled(title)(
        "--surface",
        type=(click.Choice(["decisions"]), str),
        default=None,
        metavar="decisions QUESTION.json",
        rare=True,
        help="Not chat, but the decisions API: what is said in a question, and offsets of its options.",
    )
