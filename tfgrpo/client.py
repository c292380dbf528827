"""The SDK's clients with the live prior in every chat completion: `from tfgrpo import OpenAI`.

They take two arguments more, and leave all else to the SDK: its HTTP client (yours, or the SDK's own with its timeouts,
limits and proxies) is neither replaced nor altered, so another SDK client that shares it stays without a prior. What is
sent goes through `transport.send_with_prior` on its way there. `client.tfgrpo.prior` is the prior in force; the header
`x-tfgrpo-prior` of a raw response names the one that the call had, and `extra_headers={"x-tfgrpo-prior": "none"}` makes
a call without.

Out of reach are the web-socket APIs (`realtime`), and providers that sign the body (AWS SigV4): these go out unchanged.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import httpx2
import openai

if TYPE_CHECKING:
    from typing import Unpack

    from openai._provider import _Provider
    from openai._types import HttpxSendArgs
    from openai.auth import WorkloadIdentity, X509WorkloadIdentity

    from .serve.source import PriorSource


class _Options(TypedDict, total=False):
    """What the SDK's own constructors take."""

    admin_api_key: str | None
    workload_identity: "WorkloadIdentity | X509WorkloadIdentity | None"
    organization: str | None
    project: str | None
    webhook_secret: str | None
    provider: "_Provider | None"
    base_url: str | httpx2.URL | openai.NotGiven | None
    data_residency: "openai.DataResidency | None"  # older versions have none
    websocket_base_url: str | httpx2.URL | None
    timeout: float | openai.Timeout | openai.NotGiven | None
    max_retries: int
    default_headers: Mapping[str, str] | None
    default_query: Mapping[str, object] | None


class ClientOptions(_Options, total=False):
    """What `openai.OpenAI` takes."""

    api_key: str | Callable[[], str] | None
    http_client: httpx2.Client | None


class AsyncClientOptions(_Options, total=False):
    """What `openai.AsyncOpenAI` takes."""

    api_key: str | Callable[[], Awaitable[str]] | None
    http_client: httpx2.AsyncClient | None


if not all(hasattr(sdk, "_send_request") for sdk in (openai.OpenAI, openai.AsyncOpenAI)):
    raise ImportError(f"tfgrpo cannot add a prior to openai {openai.__version__}: install 'openai>=3,<4'")


class OpenAI(openai.OpenAI):
    """`openai.OpenAI` with the live prior of a namespace in every chat completion."""

    tfgrpo: "PriorSource"
    """Where the prior comes from: `.prior` and `.current()` tell what is in force."""

    def __init__(
        self,
        *,
        store: str | Path | None = None,
        namespace: str | None = None,
        _source: "PriorSource | None" = None,
        **options: "Unpack[ClientOptions]",
    ) -> None:
        from .serve.source import prior_source  # here and below: the import of a client takes as long as the SDK's

        self.tfgrpo = _source or prior_source(store, namespace)
        super().__init__(**options)

    def _send_request(
        self, request: httpx2.Request, *, stream: bool, **kwargs: "Unpack[HttpxSendArgs]"
    ) -> httpx2.Response:
        from .serve.wire import send_with_prior

        return send_with_prior(request, self.tfgrpo, partial(super()._send_request, stream=stream, **kwargs))

    if not TYPE_CHECKING:  # for editors and type checkers the SDK's own signature stays

        def copy(self, *, _extra_kwargs=None, **options):
            """The SDK's `copy`; the store, the namespace and what is in memory of them are kept."""
            return super().copy(_extra_kwargs={"_source": self.tfgrpo, **(_extra_kwargs or {})}, **options)

        with_options = copy


class AsyncOpenAI(openai.AsyncOpenAI):
    """`openai.AsyncOpenAI` with the live prior of a namespace in every chat completion."""

    tfgrpo: "PriorSource"
    """Where the prior comes from: `.prior` and `.current()` tell what is in force."""

    def __init__(
        self,
        *,
        store: str | Path | None = None,
        namespace: str | None = None,
        _source: "PriorSource | None" = None,
        **options: "Unpack[AsyncClientOptions]",
    ) -> None:
        from .serve.source import prior_source  # here and below: the import of a client takes as long as the SDK's

        self.tfgrpo = _source or prior_source(store, namespace)
        super().__init__(**options)

    async def _send_request(
        self, request: httpx2.Request, *, stream: bool, **kwargs: "Unpack[HttpxSendArgs]"
    ) -> httpx2.Response:
        from .serve.wire import send_with_prior_async

        send = partial(super()._send_request, stream=stream, **kwargs)
        return await send_with_prior_async(request, self.tfgrpo, send)

    if not TYPE_CHECKING:  # for editors and type checkers the SDK's own signature stays

        def copy(self, *, _extra_kwargs=None, **options):
            """The SDK's `copy`; the store, the namespace and what is in memory of them are kept."""
            return super().copy(_extra_kwargs={"_source": self.tfgrpo, **(_extra_kwargs or {})}, **options)

        with_options = copy
