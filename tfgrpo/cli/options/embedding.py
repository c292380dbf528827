"""Options that say which embedding model tells the same advice in other words."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ...errors import InputError
from .gathered import ADVANCED, gathered, titled

if TYPE_CHECKING:
    from ...model.budget import Budget
    from ...model.journal import Journal
    from ...model.upstream import Upstream
    from ...records import JSON
    from ...settings import Settings

_SECONDS = 60.0
"""How long to wait for the vectors of a few sentences: wording decides where they do not come."""


@dataclass(frozen=True, slots=True)
class EmbeddingOptions:
    """The options as they were given."""

    model: str | None = None
    base_url: str | None = None
    key_env: str | None = None
    near: float | None = None

    def check(self, *, experiences: bool = True) -> None:
        """Raises InputError for options that do nothing, or name a key that is not there."""
        given = {
            "--embedding-base-url": self.base_url,
            "--embedding-key-env": self.key_env,
            "--embedding-near": self.near,
        }
        lone = [name for name, value in given.items() if value is not None]
        if self.model is None and lone:
            raise InputError(f"{lone[0]} goes with --embedding-model")
        if self.model is not None and not experiences:
            raise InputError(
                "--embedding-model compares experiences, and --no-experiences leaves none; give one of them"
            )
        if self.key_env and not os.environ.get(self.key_env):
            raise InputError(f"--embedding-key-env: the variable {self.key_env} is not set")

    @property
    def settings(self) -> "dict[str, JSON]":
        """What they set of a run's settings."""
        return {"embedding_near": self.near}

    @asynccontextmanager
    async def open(
        self, beside: str | None, settings: "Settings", journal: "Journal", budget: "Budget"
    ) -> "AsyncIterator[Upstream | None]":
        """The upstream of the embedding model, under the run's journal and budget; None where no model is named.

        `beside` is the base URL of the model that learns, which serves the embeddings where no other is named.
        """
        from dataclasses import replace

        from ...model.upstream import Upstream

        if self.model is None:
            yield None
            return
        key = os.environ.get(self.key_env) if self.key_env else None
        hasty = replace(settings, call_timeout=min(settings.call_timeout, _SECONDS))
        url, options = self.base_url or beside, "--embedding-"
        async with Upstream(
            url, api_key=key, settings=hasty, journal=journal, budget=budget, options=options
        ) as upstream:
            yield upstream


NO_EMBEDDING = EmbeddingOptions()

_option = partial(titled(ADVANCED), rare=True)

embedding_options = gathered(
    "embedding",
    EmbeddingOptions,
    _option(
        "--embedding-model",
        help="Embedding model by which a proposal that says in other words what another says is told.  [default: none,"
        " wording alone decides]",
    ),
    _option(
        "--embedding-base-url",
        metavar="URL",
        help="Endpoint of the embedding model.  [default: that of the model itself]",
    ),
    _option(
        "--embedding-key-env",
        metavar="NAME",
        help="Environment variable with the key for its endpoint.  [default: OPENAI_API_KEY]",
    ),
    _option(
        "--embedding-near",
        type=float,
        help="Cosine from which two proposals count as the same; models differ.  [default: 0.9]",
    ),
    prefix="embedding_",
)
"""--embedding-model, -base-url, -key-env and -near; the command gets them as `embedding`."""
