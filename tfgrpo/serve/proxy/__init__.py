"""The proxy: an OpenAI-compatible endpoint that adds the live prior, in front of any other.

`serve` runs it, as Serving says; `Proxy` is the ASGI app; `RelayTarget` says where calls go. It needs the extra
`tfgrpo[serve]`.

POST requests of the surfaces get the prior by the rules of `surfaces.http`, which has the opt-out too. Answers tell by
`x-tfgrpo-prior` which prior they had, or `none` with `x-tfgrpo-reason`, and by `x-tfgrpo-variant` its state (`live`,
`ungated`), or `none` when this proxy added nothing. All else passes byte for byte in both directions, as it comes; only
hop-by-hop headers, Host, and what callers say to the proxy itself go no further.
"""

from ...errors import InputError
from ...extras import install_hint

try:
    from .app import Proxy
    from .server import serve
except ModuleNotFoundError as error:
    raise InputError(f"the proxy needs {error.name}, of the extra `serve`: {install_hint('serve')}") from error
from ..writing import Recording
from .door import Door
from .limits import Limits
from .listening import Listening
from .pulled_shelf import PulledFrom, PulledShelf
from .relay import RelayTarget
from .serving import Serving
from .shelf import Shelf

__all__ = [
    "Door",
    "Limits",
    "Listening",
    "Proxy",
    "PulledFrom",
    "PulledShelf",
    "Recording",
    "RelayTarget",
    "Serving",
    "Shelf",
    "serve",
]
