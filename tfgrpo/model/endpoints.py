"""The models that a run calls and where each is served: as a user names them, started, and open under one budget."""

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace

from ..errors import InputError
from ..records import JSON, Usage
from ..settings import PROPOSES_SLOWLY, ROLLS_SLOWLY, Settings
from .budget import Budget, Spending
from .tokenizer import Tokenizer
from .upstream import Journal, Upstream

LOCAL = "local"
"""As a base URL, also `local:FILE`: the embedded model."""
EMBEDDING_SECONDS = 60.0
"""How long to wait for the vectors of a few sentences: wording decides where they do not come."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model, and where it is served."""

    base_url: str | None = None
    """An OpenAI-compatible one, or that of the embedded model; None: OpenAI's, or that of the model beside it."""
    model: str | None = None
    key: str | None = field(default=None, repr=False)
    """None: that in OPENAI_API_KEY."""

    @property
    def is_local(self) -> bool:
        """Whether it is the embedded model, which is not running yet."""
        return self.base_url is not None and self.base_url.partition(":")[0] == LOCAL

    @property
    def is_ours(self) -> bool:
        """Whether it is the embedded model, and no GGUF file of the user's, which may think before it answers."""
        return self.base_url == LOCAL and not os.environ.get("TFGRPO_LOCAL_MODEL")

    @property
    def name(self) -> str:
        """What the model goes by, as far as it is known."""
        return self.model or self.base_url or ""

    @contextmanager
    def started(self, slots: int | None = None) -> "Iterator[Endpoint]":
        """The same with the name of its model; starts the embedded one with so many slots, and stops it on exit."""
        if not self.is_local:
            if self.model is None:
                raise InputError("which model? Name it with --model, or use --base-url local for the embedded one")
            yield self
            return
        from .local.server import SLOTS, upstream

        with upstream(self.base_url or LOCAL, slots or SLOTS) as (url, own):
            yield replace(self, base_url=url, model=self.model or own)


@dataclass(frozen=True, slots=True)
class Upstreams:
    """Where the calls of a run go while it works."""

    own: Upstream
    """Of the model that makes the rollouts."""
    distiller: Upstream | None
    """None where the model's own endpoint serves what proposes."""
    embedding: Upstream | None
    """None where there is no embedding model."""
    budget: Budget
    """Of all calls together."""

    @property
    def usage(self) -> Usage:
        """What all of them have spent."""
        return sum((each.usage for each in (self.distiller, self.embedding) if each), self.own.usage)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The model that makes the rollouts, the one that proposes experiences, and one that compares them."""

    own: Endpoint
    distiller: Endpoint = field(default_factory=Endpoint)
    """Without a base URL it is served where the model itself is; without a name it is the model itself."""
    embedding: Endpoint = field(default_factory=Endpoint)
    """Without a name there is none."""
    tokenizer: Tokenizer | None = None
    """Of the model that makes the rollouts, where the server gives tokens no ids."""
    spending: Spending = field(default_factory=Spending)

    def __post_init__(self) -> None:
        """Raises InputError for what is said of a model that there is not."""
        if self.distiller.key and not self.distiller.base_url:
            raise InputError("a key of the distiller's own (--distiller-key-env) goes with --distiller-base-url")
        if self.embedding.model is None and (self.embedding.base_url or self.embedding.key):
            given = "--embedding-base-url" if self.embedding.base_url else "--embedding-key-env"
            raise InputError(f"{given} goes with --embedding-model")

    @property
    def defaults(self) -> Mapping[str, JSON]:
        """Defaults of settings that go with them: the embedded model is asked for less."""
        proposes = self.distiller if self.distiller.base_url else self.own
        slow = (ROLLS_SLOWLY, self.own), (PROPOSES_SLOWLY, proposes)
        return {name: value for each, one in slow if one.is_local for name, value in each.items()}

    def budget(self) -> Budget:
        """One budget for all calls; raises InputError as `Spending` does."""
        return self.spending.budget(self.own.base_url, self.own.name, self.distiller.model, self.embedding.model)

    @contextmanager
    def started(self, *, decides: bool = False) -> "Iterator[Endpoints]":
        """The same with the names of all models; starts the embedded ones, and stops them on exit.

        `decides`: the embedded ones answer questions of the decisions API too.
        """
        from .local.server import ONE_AFTER_THE_OTHER

        with (
            self.own.started(ONE_AFTER_THE_OTHER) as own,
            _proposing(self.distiller, self.own) as distiller,
            _deciding(own, self.own, decides) as rolls,
            _deciding(distiller, self.distiller, decides) as proposes,
        ):
            yield replace(self, own=rolls, distiller=proposes)

    @asynccontextmanager
    async def opened(
        self, settings: Settings, journal: Journal, budget: Budget | None = None
    ) -> AsyncIterator[Upstreams]:
        """All of them, once they are started, under one journal and one budget: their own, where none is given."""
        budget = budget or self.budget()
        async with AsyncExitStack() as stack:

            async def to(
                at: Endpoint, settings: Settings, tokenizer: Tokenizer | None = None, options: str = "--"
            ) -> Upstream:
                made = Upstream(
                    at.base_url,
                    api_key=at.key,
                    settings=settings,
                    journal=journal,
                    budget=budget,
                    tokenizer=tokenizer,
                    options=options,
                )
                return await stack.enter_async_context(made)

            own = await to(self.own, settings, self.tokenizer)
            distiller = embedding = None
            if self.distiller.base_url:
                distiller = await to(self.distiller, settings, options="--distiller-")
            if self.embedding.model:
                hasty = replace(settings, call_timeout=min(settings.call_timeout, EMBEDDING_SECONDS))
                beside = replace(self.embedding, base_url=self.embedding.base_url or self.own.base_url)
                embedding = await to(beside, hasty, options="--embedding-")
            yield Upstreams(own, distiller, embedding, budget)


@contextmanager
def _deciding(started: Endpoint, named: Endpoint, decides: bool) -> Iterator[Endpoint]:
    """An endpoint; if it decides, the embedded model behind what answers questions and passes on all else."""
    if not (decides and named.is_local and started.base_url):
        yield started
        return
    from .local.front import decisions_front

    with decisions_front(started.base_url, started.name) as url:
        yield replace(started, base_url=url)


@contextmanager
def _proposing(distiller: Endpoint, beside: Endpoint) -> Iterator[Endpoint]:
    """The distiller, started; at the URL of the model itself, with its key, it has no endpoint of its own."""
    if distiller.base_url is None or (distiller.base_url == beside.base_url and not distiller.key):
        yield Endpoint(model=distiller.model)
        return
    if not (distiller.model or distiller.is_local):
        raise InputError("which model proposes? Name it with --distiller-model")
    with distiller.started() as own:
        yield own
