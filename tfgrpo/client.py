"""The SDK's clients with the live prior in every call: `from tfgrpo import OpenAI`.

They take a few arguments more, and leave all else to the SDK: its HTTP client (yours, or the SDK's own with its
timeouts, limits and proxies) is neither replaced nor altered, so another SDK client that shares it stays without a
prior. What is sent goes through an HTTP client of ours, given to the SDK by its public `http_client`, on its way there.

`client.tfgrpo` tells the prior in force and takes feedback; `tfgrpo.info(response)` tells what a call came to, and the
headers of a raw response do. `extra_headers={"x-tfgrpo-prior": "none"}`, or `with tfgrpo.disabled()`, makes a call
without; `with tfgrpo.using("name")`, or `extra_headers={"x-tfgrpo-namespace": "name"}`, one with another prior.

Out of reach are the web-socket APIs (`realtime`), and providers that sign the body (AWS SigV4): these go out unchanged.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Self, TypedDict

import openai

if TYPE_CHECKING:
    from typing import Unpack

    import httpx2
    from openai._provider import _Provider
    from openai.auth import WorkloadIdentity, X509WorkloadIdentity

    from .serve.access import Access
    from .store import StorePath


_BYTES_SINCE = 2, 17
"""The first version of the SDK that sends a JSON body which is bytes already, and writes others as we do."""
_HOOKS = ("_prepare_options", "_prepare_request", "_build_request", "_send_request", "_process_response")
"""Of the SDK's: those of a subclass, which see the options of a call or what is built of them, see them as ever."""


def _version() -> tuple[int, ...]:
    """Of the SDK: its first two numbers; none where somebody's own build names itself otherwise."""
    found = re.match(r"(\d+)\.(\d+)", openai.__version__)
    return (int(found[1]), int(found[2])) if found else ()


class Additions(TypedDict, total=False):
    """What the clients take beside what the SDK's own do."""

    store: "str | StorePath | None"
    """A store's path or PostgreSQL's URL, an exported prior (`.json`), or the URL of a `tfgrpo serve`.

    Else TFGRPO_STORE, ./tfgrpo.db.
    """
    namespace: str | None
    """Whose prior calls have; else TFGRPO_NAMESPACE, `default`."""
    strict: bool
    """A call that fails with the prior in it fails, where it would go once more without."""
    record: bool
    """Keep calls in the store, for learning; off unless it is said."""


class _Options(Additions, total=False):
    """What the SDK's own constructors take as well."""

    admin_api_key: str | None
    workload_identity: "WorkloadIdentity | X509WorkloadIdentity | None"
    organization: str | None
    project: str | None
    webhook_secret: str | None
    provider: "_Provider | None"
    base_url: "str | httpx2.URL | openai.NotGiven | None"
    data_residency: "openai.DataResidency | None"  # older versions have none
    websocket_base_url: "str | httpx2.URL | None"
    timeout: "float | openai.Timeout | openai.NotGiven | None"
    max_retries: int
    default_headers: Mapping[str, str] | None
    default_query: Mapping[str, object] | None


class ClientOptions(_Options, total=False):
    """What `openai.OpenAI` takes."""

    api_key: str | Callable[[], str] | None
    http_client: "httpx2.Client | None"


class AsyncClientOptions(_Options, total=False):
    """What `openai.AsyncOpenAI` takes."""

    api_key: str | Callable[[], Awaitable[str]] | None
    http_client: "httpx2.AsyncClient | None"


class _Azure(TypedDict, total=False):
    azure_endpoint: str | None
    azure_deployment: str | None
    api_version: str | None
    azure_ad_token: str | None


class AzureOptions(_Azure, ClientOptions, total=False):
    """What `openai.AzureOpenAI` takes."""

    azure_ad_token_provider: Callable[[], str] | None


class AsyncAzureOptions(_Azure, AsyncClientOptions, total=False):
    """What `openai.AsyncAzureOpenAI` takes."""

    azure_ad_token_provider: Callable[[], str | Awaitable[str]] | None


class _WithPrior:
    """What the four have in common: the SDK's client is given an HTTP client that adds the prior."""

    tfgrpo: "Access"
    """Where the prior comes from: `.prior` and `.current()` tell what is in force; `.feedback()` takes rewards."""
    _make: Callable[[], Any]
    _known: Callable[[Any], Any] | None = None

    if not TYPE_CHECKING:  # for editors and type checkers the SDK's own signature stays

        def __init__(self, *, store=None, namespace=None, strict=False, record=False, http_client=None, **options):
            from .serve.access import open_access  # here and below: the import of a client takes as long as the SDK's

            kept = getattr(http_client, "access", None)  # a copy of the SDK's hands the HTTP client on
            if kept and not (store or namespace or strict or record):
                self.tfgrpo = kept
            else:
                self.tfgrpo = open_access(store, namespace, strict=strict, record=record)
                http_client = self._carrier(http_client)
            super().__init__(http_client=http_client, **options)
            self._known = self._knowing(options)

        def _knowing(self, options):
            """What makes the options of a call known ahead; None where the SDK cannot send what it has not written
            itself (older ones), where it signs what it has built, and where a subclass has a say."""
            ours = next(kind for kind in type(self).__mro__ if kind.__module__ == __name__)
            altered = any(getattr(type(self), name, None) is not getattr(ours, name, None) for name in _HOOKS)
            if altered or options.get("provider") or _version() < _BYTES_SINCE:
                return None
            from .serve.ahead import with_known_body

            return with_known_body

        def _carrier(self, http_client):
            from .serve.carriers import carrier

            made = http_client is None
            given = self._make() if made else http_client
            return carrier(given, self.tfgrpo, self._make if made else None) or given  # which the SDK will refuse

        def copy(self, *, http_client=None, **options) -> Self:
            """The SDK's `copy`; the store, the namespace and what is in memory of them are kept."""
            if http_client and not hasattr(http_client, "access"):  # one of ours, of `wrap`, has a prior of its own
                http_client = self._carrier(http_client)
            return super().copy(http_client=http_client, **options)

        with_options = copy


class OpenAI(_WithPrior, openai.OpenAI):
    """`openai.OpenAI` with the live prior of a namespace in every call."""

    _make = openai.DefaultHttpxClient

    if TYPE_CHECKING:

        def __init__(self, **options: "Unpack[ClientOptions]") -> None: ...

    else:

        def _prepare_options(self, options):
            options = super()._prepare_options(options)
            return self._known(options) if self._known else options


class AsyncOpenAI(_WithPrior, openai.AsyncOpenAI):
    """`openai.AsyncOpenAI` with the live prior of a namespace in every call."""

    _make = openai.DefaultAsyncHttpxClient

    if TYPE_CHECKING:

        def __init__(self, **options: "Unpack[AsyncClientOptions]") -> None: ...

    else:

        async def _prepare_options(self, options):
            options = await super()._prepare_options(options)
            return self._known(options) if self._known else options


class AzureOpenAI(_WithPrior, openai.AzureOpenAI):
    """`openai.AzureOpenAI` with the live prior of a namespace in every call."""

    _make = openai.DefaultHttpxClient

    if TYPE_CHECKING:

        def __init__(self, **options: "Unpack[AzureOptions]") -> None: ...


class AsyncAzureOpenAI(_WithPrior, openai.AsyncAzureOpenAI):
    """`openai.AsyncAzureOpenAI` with the live prior of a namespace in every call."""

    _make = openai.DefaultAsyncHttpxClient

    if TYPE_CHECKING:

        def __init__(self, **options: "Unpack[AsyncAzureOptions]") -> None: ...
