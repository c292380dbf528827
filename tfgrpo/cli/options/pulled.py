"""Options of a proxy whose prior comes from elsewhere, and of who vouches for it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .gathered import gathered, titled

if TYPE_CHECKING:
    from ...serve.proxy import PulledFrom
    from ...store import StorePath


@dataclass(frozen=True, slots=True)
class PulledOptions:
    """The options as they were given."""

    prior_from: str | None
    trust: str | None

    def check(self) -> None:
        """Raise InputError for a trust file, or a key to sign with, that cannot be used."""
        from pathlib import Path

        from ...priors.signing import signer, trusted_keys

        if self.trust and self.prior_from:
            trusted_keys(Path(self.trust).expanduser())
        signer()

    def source(self, store: str | None, namespace: str) -> "StorePath | PulledFrom":
        """Where the proxy's prior is; raises InputError for a place that is a store."""
        from ...errors import InputError
        from ...serve.places import StorePlace
        from ...serve.proxy import PulledFrom
        from ...serve.source import place_of
        from ...store import default_store_path

        path = default_store_path(store)
        if self.prior_from is None:
            return path
        place = place_of(self.prior_from, namespace, self.trust)
        if isinstance(place, StorePlace):
            raise InputError(
                f"--prior-from {place.path}: give the URL of a `tfgrpo serve`, or of an exported prior (.json);"
                " a store goes with --store"
            )
        return PulledFrom(place, path)


_option = titled("The prior")

pulled_options = gathered(
    "pulled",
    PulledOptions,
    _option(
        "--prior-from",
        metavar="URL",
        help="Serve the live prior of another `tfgrpo serve`, or an exported one: a file, https://, s3:// (.json).",
    ),
    _option(
        "--trust",
        envvar="TFGRPO_TRUST",
        metavar="FILE",
        help="Take it from there only where a key of FILE signed it (`tfgrpo prior trust`).",
    ),
)
"""--prior-from and --trust; the command gets them as `pulled`."""
