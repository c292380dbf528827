"""What a server of the proxy does: before which upstreams, with whose priors, for whom, and what it keeps."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from ...settings import Settings
from ...store import StorePath
from ..drawing import NOTHING_LEFT, DrawShares
from ..writing import NOT_RECORDED, Recording
from .door import Door
from .limits import Limits
from .listening import Listening
from .pulled_shelf import PulledFrom
from .relay import RelayTarget


@dataclass(frozen=True, slots=True)
class Serving:
    """All that a worker needs to know."""

    upstreams: Sequence[RelayTarget]
    store: StorePath | PulledFrom
    """With PulledFrom the live prior is another's."""
    namespace: str = "default"
    listening: Listening = field(default_factory=Listening)
    limits: Limits = field(default_factory=Limits)
    door: Door | None = None
    """None: as the address to listen on, the keys of the store and the upstreams' keys have it."""
    shares: DrawShares = NOTHING_LEFT
    recording: Recording = NOT_RECORDED
    bounded: str | None = None
    """CHUNK:CARRY:CHUNKS in tokens: how a long answer is asked for in chunks."""
    secret: bytes = field(default_factory=partial(secrets.token_bytes, 32), repr=False)
    """For the sessions of the dashboard."""

    def __post_init__(self) -> None:
        """Raises InputError for bounds that cannot be."""
        Settings(bounded=self.bounded)
