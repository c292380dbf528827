"""The live prior over httpx2: transports to put around your own, and the clients that an SDK is given."""

import httpx2

from .wire import AsyncCarrying, AsyncSending, Carrying, Sending


class PriorTransport(Carrying, httpx2.BaseTransport):
    """Another httpx2 transport, with the prior added to the requests that pass through it."""


class AsyncPriorTransport(AsyncCarrying, httpx2.AsyncBaseTransport):
    """As PriorTransport, for `httpx2.AsyncClient`."""


class PriorClient(Sending, httpx2.Client):
    """A `httpx2.Client` that sends through another one, with the prior."""


class AsyncPriorClient(AsyncSending, httpx2.AsyncClient):
    """A `httpx2.AsyncClient` that sends through another one, with the prior."""
