"""The live prior over httpx: transports to put around your own, and the clients that an SDK is given."""

import httpx

from .wire import AsyncCarrying, AsyncSending, Carrying, Sending


class HttpxPriorTransport(Carrying, httpx.BaseTransport):
    """Another httpx transport, with the prior added to the requests that pass through it."""


class AsyncHttpxPriorTransport(AsyncCarrying, httpx.AsyncBaseTransport):
    """As HttpxPriorTransport, for `httpx.AsyncClient`."""


class HttpxPriorClient(Sending, httpx.Client):
    """A `httpx.Client` that sends through another one, with the prior."""


class AsyncHttpxPriorClient(AsyncSending, httpx.AsyncClient):
    """A `httpx.AsyncClient` that sends through another one, with the prior."""
