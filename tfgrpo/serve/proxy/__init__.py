"""The proxy: an OpenAI-compatible endpoint that adds the live prior, in front of any other.

`serve` runs it; `Proxy` is the ASGI app; `RelayTarget` says where requests go. It needs the extra `tfgrpo[serve]`.

POST requests to `.../chat/completions` get the prior by the rules of `surfaces.http`, which has the opt-out too. Their
responses tell by `x-tfgrpo-prior` which prior they had, or `none`, and by `x-tfgrpo-variant` its state (`live`,
`ungated`), or `none` when this proxy added nothing. All else passes byte for byte in both directions, as it comes; only
hop-by-hop headers and Host are the proxy's own.
"""

from ...errors import InputError
from ...extras import install_hint

try:
    from .app import Limits, Proxy
    from .server import serve
except ModuleNotFoundError as error:
    raise InputError(f"the proxy needs {error.name}, of the extra `serve`: {install_hint('serve')}") from error
from .relay import RelayTarget

__all__ = ["Limits", "Proxy", "RelayTarget", "serve"]
