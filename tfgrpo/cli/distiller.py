"""Options that say which model proposes experiences, and what is made of them."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import InputError
from .options import endpoint

if TYPE_CHECKING:
    from ..budget import Budget
    from ..llm import Journal, Upstream
    from ..settings import Settings

F = TypeVar("F", bound=Callable[..., Any])


prompts_option = click.option(
    "--prompts",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Your own prompts for it; tfgrpo prompts export copies ours.",
)


def distiller_options(command: F) -> F:
    """--distiller-model, --distiller-base-url and --distiller-key-env."""
    for option in (
        click.option(
            "--distiller-key-env",
            metavar="NAME",
            help="Environment variable with the key for its endpoint.  [default: OPENAI_API_KEY]",
        ),
        click.option(
            "--distiller-base-url",
            metavar="URL",
            help="Endpoint of the model that proposes, or `local`.  [default: that of the model itself]",
        ),
        click.option("--distiller-model", help="Model that proposes experiences.  [default: the model itself]"),
    ):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """An endpoint of the distiller's own; without a URL it has none."""

    url: str | None
    key: str | None

    @asynccontextmanager
    async def open(
        self, settings: "Settings", journal: "Journal", budget: "Budget | None" = None
    ) -> "AsyncIterator[Upstream | None]":
        """The distiller's upstream, under the same journal and budget; None where the model's own serves it."""
        from ..llm import Upstream

        if self.url is None:
            yield None
            return
        async with Upstream(self.url, api_key=self.key, settings=settings, journal=journal, budget=budget) as own:
            yield own


@contextmanager
def distiller_endpoint(
    base_url: str | None, model: str | None, key_env: str | None
) -> Iterator[tuple[Elsewhere, str | None]]:
    """Where the distiller is, and its model's name; starts the embedded model for `local`, and stops it on exit."""
    if base_url is None:
        if key_env:
            raise InputError("--distiller-key-env goes with --distiller-base-url")
        yield Elsewhere(None, None), model
        return
    key = os.environ.get(key_env) if key_env else None
    if key_env and not key:
        raise InputError(f"--distiller-key-env: the variable {key_env} is not set")
    if model is None and base_url.partition(":")[0] != "local":
        raise InputError("which model proposes? Name it with --distiller-model")
    with endpoint(base_url, model) as (url, name):
        yield Elsewhere(url, key), name
