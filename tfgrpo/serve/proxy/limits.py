"""What one exchange, and all of them together, may take."""

from dataclasses import dataclass, fields
from math import inf

from ...errors import InputError


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, bytes and numbers; the defaults suit models that think for minutes and callers that upload files."""

    connect: float = 10.0
    """Seconds until an upstream has taken a connection; then the next one is tried."""
    first_byte: float = 600.0
    """Seconds until the head of an answer has come, once the request has gone."""
    silence: float = 600.0
    """Seconds between two parts of an answer, or of a request; and until a caller takes more of an answer."""
    total: float = 3_600.0
    """Seconds for the whole exchange."""
    rewrite: int = 32 * 2**20
    """Bytes of a request body that are held to add a prior; a longer one is relayed as it is, without."""
    parse: int = 4 * 2**20
    """Bytes of JSON that are read at once, long texts and images aside: other calls wait while they are."""
    request: int = 512 * 2**20
    """Bytes of a request body that are relayed; a longer one is a 413."""
    response: int = 2**30
    """Bytes of an answer that are relayed; a longer one breaks off."""
    in_flight: int = 1_000
    """Calls at once in one worker; the next one is a 429 with Retry-After."""

    def __post_init__(self) -> None:
        """Raises InputError for a limit of nothing."""
        for each in fields(self):
            if not 0 < getattr(self, each.name) < inf:
                raise InputError(f"limit {each.name} is {getattr(self, each.name)!r}; it must be a number above 0")
