"""The live prior around what others have made: clients of openai and anthropic, and transports of httpx and httpx2."""

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import InputError
from .access import Access, open_access
from .wire import AsyncSending, Sending

if TYPE_CHECKING:
    from ..store import StorePath

C = TypeVar("C")


def wrap(
    client: C,
    *,
    store: "str | StorePath | None" = None,
    namespace: str | None = None,
    strict: bool = False,
    record: bool = False,
) -> C:
    """A copy of a client of openai or anthropic whose calls have the live prior; the client itself stays as it is.

    Both share their connections. What `tfgrpo.OpenAI` offers as `client.tfgrpo` the copy has too.
    """
    inner, copy = getattr(client, "_client", None), getattr(client, "copy", None)
    access = open_access(store, namespace, strict=strict, record=record)
    carrying = carrier(inner, access) if callable(copy) else None
    if carrying is None or not callable(copy):
        raise InputError(
            f"tfgrpo.wrap takes a client of openai or anthropic, and this is a {type(client).__name__};"
            " for another that speaks by httpx, give its HTTP client the transport tfgrpo.transport(inner)"
        )
    wrapped: Any = copy(http_client=carrying)
    wrapped.tfgrpo = access
    return wrapped  # pyrefly: ignore[no-any-return-explicit]  # a copy is of the client's own class


def transport(
    inner: Any,
    *,
    store: "str | StorePath | None" = None,
    namespace: str | None = None,
    strict: bool = False,
    record: bool = False,
) -> Any:
    """A transport of httpx or httpx2, blocking or async, that adds the live prior to what passes through to `inner`."""
    access = open_access(store, namespace, strict=strict, record=record)
    for library, kinds in _libraries():
        bases = ((library.BaseTransport, kinds[0]), (library.AsyncBaseTransport, kinds[1]))
        if fitting := tuple(kind for base, kind in bases if isinstance(inner, base)):
            return (type("EitherPriorTransport", fitting, {}) if len(fitting) > 1 else fitting[0])(inner, access)
    raise InputError(
        f"tfgrpo.transport takes a transport of httpx or httpx2, and this is a {type(inner).__name__}; give it one such"
        " as httpx.HTTPTransport()"
    )


def carrier(inner: object, access: Access, make: Callable[[], Any] | None = None) -> Any:
    """A client of the same library that sends through another, with the prior; None for what is no HTTP client."""
    if isinstance(inner, Sending | AsyncSending):
        inner = inner.inner  # one prior is enough
    for library, kinds in _libraries():
        for base, kind in ((library.Client, kinds[2]), (library.AsyncClient, kinds[3])):
            if isinstance(inner, base):
                return kind(inner, access, make)
    return None


def _libraries() -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Those that are loaded (what is not loaded can have made nothing), and what there is of ours over each."""
    if library := sys.modules.get("httpx2"):
        from . import over_httpx2 as ours

        yield library, (ours.PriorTransport, ours.AsyncPriorTransport, ours.PriorClient, ours.AsyncPriorClient)
    if library := sys.modules.get("httpx"):
        from . import over_httpx as older

        yield (
            library,
            (
                older.HttpxPriorTransport,
                older.AsyncHttpxPriorTransport,
                older.HttpxPriorClient,
                older.AsyncHttpxPriorClient,
            ),
        )
