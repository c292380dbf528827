"""Options that say which model proposes experiences, and what is made of them."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...errors import InputError
from .gathered import ADVANCED, MODEL, gathered, titled
from .target import endpoint

if TYPE_CHECKING:
    from ...model.budget import Budget
    from ...model.journal import Journal
    from ...model.upstream import Upstream
    from ...settings import Settings


prompts_option = titled(ADVANCED)(
    "--prompts",
    rare=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Your own prompts for the distiller; tfgrpo prompts export copies ours.",
)


@dataclass(frozen=True, slots=True)
class DistillerOptions:
    """The options as they were given."""

    model: str | None
    base_url: str | None
    key_env: str | None

    @contextmanager
    def endpoint(self, beside: str | None) -> "Iterator[tuple[Elsewhere, str | None]]":
        """Where the distiller is, and its model's name; starts the embedded model for `local`, and stops it on exit.

        `beside` is the base URL of the model that learns: a distiller at the same one has no endpoint of its own.
        """
        base_url = self.base_url if self.base_url != beside else None
        if base_url is None:
            if self.key_env:
                raise InputError("--distiller-key-env goes with --distiller-base-url")
            yield Elsewhere(None, None), self.model
            return
        key = os.environ.get(self.key_env) if self.key_env else None
        if self.key_env and not key:
            raise InputError(f"--distiller-key-env: the variable {self.key_env} is not set")
        if self.model is None and base_url.partition(":")[0] != "local":
            raise InputError("which model proposes? Name it with --distiller-model")
        with endpoint(base_url, self.model) as (url, name):
            yield Elsewhere(url, key), name


_option = titled(MODEL)

distiller_options = gathered(
    "distiller",
    DistillerOptions,
    _option("--distiller-model", help="Model that proposes experiences.  [default: the model itself]"),
    _option(
        "--distiller-base-url",
        rare=True,
        metavar="URL",
        help="Endpoint of the model that proposes, or `local`.  [default: that of the model itself]",
    ),
    _option(
        "--distiller-key-env",
        rare=True,
        metavar="NAME",
        help="Environment variable with the key for its endpoint.  [default: OPENAI_API_KEY]",
    ),
    prefix="distiller_",
)
"""--distiller-model, --distiller-base-url and --distiller-key-env; the command gets them as `distiller`."""


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
        from ...model.upstream import Upstream

        if self.url is None:
            yield None
            return
        async with Upstream(
            self.url, api_key=self.key, settings=settings, journal=journal, budget=budget, options="--distiller-"
        ) as own:
            yield own
