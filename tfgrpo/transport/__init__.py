"""How a prior travels over HTTP: one decision without I/O (`decision`), which clients, transports and the proxy drive
with what is live (`source`).

A POST to `.../chat/completions` leaves with the prior that is live, and with its mark: the header `x-tfgrpo-prior`
names the prior. A request that has the mark is never biased again, so a client may speak through a proxy; a caller who
wants no prior sends `x-tfgrpo-prior: none`. Each attempt of a client that retries starts from what the caller wrote,
and is biased once. Everything else passes as it is: other routes, bodies that are no chat request, and bodies that a
signature binds. The response gets the same header; where a token prior was left out, `x-tfgrpo-token-prior` says why:
`rejected` or `inert` (as `tfgrpo probe` found the upstream), `other-tokenizer`, `other-model`.
"""

from .decision import (
    NO_PRIOR,
    PRIOR_HEADER,
    STANDARD,
    TOKEN_PRIOR_HEADER,
    Codec,
    Decision,
    decide,
    is_completion,
    takes_prior,
)
from .source import CHECK_SECONDS, PriorSource, prior_source
from .wire import AsyncPriorTransport, PriorTransport, send_with_prior, send_with_prior_async

__all__ = [
    "CHECK_SECONDS",
    "NO_PRIOR",
    "PRIOR_HEADER",
    "STANDARD",
    "TOKEN_PRIOR_HEADER",
    "AsyncPriorTransport",
    "Codec",
    "Decision",
    "PriorSource",
    "PriorTransport",
    "decide",
    "is_completion",
    "prior_source",
    "send_with_prior",
    "send_with_prior_async",
    "takes_prior",
]
