"""Where the calls of a command that learns or measures go, and the display that shows how it goes."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .options.embedding import NO_EMBEDDING, EmbeddingOptions
from .options.target import endpoint

if TYPE_CHECKING:
    from ..model.budget import Budget
    from ..model.journal import Journal
    from ..model.tokenizer import Tokenizer
    from ..model.upstream import Upstream
    from ..progress import Display
    from ..settings import Settings
    from .options.distiller import DistillerOptions, Elsewhere
    from .options.spending import SpendingOptions
    from .options.target import Target


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The model that makes the rollouts, and the one that proposes experiences."""

    url: str | None
    model: str
    elsewhere: "Elsewhere"
    distiller: str | None
    """The name of the model that proposes; None: the model itself."""
    budget: "Budget"
    """Of all calls together."""
    tokenizer: "Tokenizer | None"
    embedding: EmbeddingOptions

    @asynccontextmanager
    async def open(self, settings: "Settings", journal: "Journal") -> "AsyncIterator[Opened]":
        """All upstreams under one journal and budget, and a display of what they spend."""
        from ..model.upstream import Upstream
        from ..progress import Display

        own, budget = self.tokenizer, self.budget
        async with (
            Upstream(self.url, settings=settings, journal=journal, tokenizer=own, budget=budget) as upstream,
            self.elsewhere.open(settings, journal, budget) as distiller,
            self.embedding.open(self.url, settings, journal, budget) as embedding,
        ):
            others = [each for each in (distiller, embedding) if each]
            with Display(lambda: sum((each.usage for each in others), upstream.usage)) as display:
                yield Opened(upstream, distiller, embedding, display)


@dataclass(frozen=True, slots=True)
class Opened:
    """Where calls go while a command works, and who tells of them."""

    upstream: "Upstream"
    distiller: "Upstream | None"
    """None where the model's own endpoint serves what proposes."""
    embedding: "Upstream | None"
    """None where there is no embedding model."""
    display: "Display"


@contextmanager
def endpoints(
    target: "Target",
    distiller: "DistillerOptions",
    spending: "SpendingOptions",
    tokenizer: "Tokenizer | None",
    embedding: EmbeddingOptions = NO_EMBEDDING,
) -> Iterator[Endpoints]:
    """What the options name; starts embedded models, and stops them on exit."""
    with (
        endpoint(target.base_url, target.model) as (url, model),
        distiller.endpoint(target.base_url) as (elsewhere, proposer),
    ):
        budget = spending.budget(target.base_url, model, proposer, embedding.model)
        yield Endpoints(url, model, elsewhere, proposer, budget, tokenizer, embedding)
