"""The models that options name, and where they are served."""

from typing import TYPE_CHECKING

from .options.target import Target, read_tokenizer

if TYPE_CHECKING:
    from ..model.budget import Spending
    from ..model.endpoints import Endpoints
    from .options.distiller import DistillerOptions
    from .options.embedding import EmbeddingOptions


def named_endpoints(
    target: Target,
    distiller: "DistillerOptions",
    tokenizer: str | None,
    spending: "Spending",
    embedding: "EmbeddingOptions | None" = None,
) -> "Endpoints":
    """All that a command calls; raises InputError for options that do not go together."""
    from ..model.endpoints import Endpoint, Endpoints

    return Endpoints(
        Endpoint(target.base_url, target.model),
        distiller.endpoint,
        embedding.endpoint if embedding else Endpoint(),
        read_tokenizer(tokenizer),
        spending,
    )
