"""What all pages of one dashboard share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from starlette.requests import Request

from ...store import AccessKey, StorePath
from .counting import Counting
from .run_looks import RunLook
from .traffic import TrafficLook


@dataclass(frozen=True, slots=True)
class Site:
    """One dashboard."""

    path: StorePath
    """Of the store."""
    namespace: str
    """Of calls that name none."""
    secret: bytes
    """Of the server, and of all its workers."""
    keys: Callable[[], Mapping[str, AccessKey]]
    """Who may call, as of now."""
    traffic: Counting[TrafficLook]
    """By namespace."""
    runs: Counting[RunLook]
    """By the id that was asked for."""


def site_of(request: Request) -> Site:
    """The dashboard that was asked."""
    return cast(Site, request.app.state.site)
