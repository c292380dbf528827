"""Options that say which embedding model tells the same advice in other words, and which examples are nearest."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ...errors import InputError
from .gathered import ADVANCED, gathered, titled
from .shared import key_in

if TYPE_CHECKING:
    from ...model.endpoints import Endpoint
    from ...records import JSON


@dataclass(frozen=True, slots=True)
class EmbeddingOptions:
    """The options as they were given."""

    model: str | None = None
    base_url: str | None = None
    key_env: str | None = None
    near: float | None = None

    @property
    def endpoint(self) -> "Endpoint":
        """The embedding model; raises InputError for options that do nothing, and for a key that is not there."""
        from ...model.endpoints import Endpoint

        if self.model is None and self.near is not None:
            raise InputError("--embedding-near goes with --embedding-model")
        return Endpoint(self.base_url, self.model, key_in("--embedding-key-env", self.key_env))

    @property
    def settings(self) -> "dict[str, JSON]":
        """What they set of a run's settings."""
        return {"embedding_near": self.near}


_option = partial(titled(ADVANCED), rare=True)

embedding_options = gathered(
    "embedding",
    EmbeddingOptions,
    _option(
        "--embedding-model",
        help="Embedding model: it tells proposals that say the same in other words, and, where the model's own endpoint"
        " serves it, the examples nearest to a request.  [default: none, wording alone decides]",
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
