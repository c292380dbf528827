"""An exported prior in any file or object store that fsspec reads: `s3://bucket/prior.json`, `gs://...`, `file://...`."""

import random
from pathlib import Path

from ..errors import StoreError
from ..extras import install_hint
from ..text import shortened
from .places import InForce, exported_in_force
from .pulled import KeptCopy, without_secrets_in

_SECONDS = 4.0
"""Between two looks at most: object stores charge for each."""
_BYTES = 32_000_000


class ObjectPlace:
    """An exported prior at a URL that fsspec reads. What was read last is kept, on disk too."""

    keeps = True

    def __init__(self, url: str, namespace: str, *, trust: Path | None = None, only: bool = False) -> None:
        self._url, self._namespace, self._trust, self._only = url, namespace, trust, only
        self.name = without_secrets_in(url)
        self._copy = KeptCopy(self.name)
        self.path = self._copy.path
        self._read: str | None = None

    @property
    def seconds(self) -> float:
        """As a PriorPlace's; each time another, so that a fleet does not ask all at once."""
        return _SECONDS * random.uniform(0.6, 1.0)

    def listen(self) -> bool:
        """Nobody tells it."""
        return False

    def look(self, known: InForce) -> InForce:
        """Raises StoreError for what cannot be read, or is no prior, where no copy is kept either."""
        try:
            moment, text = self._fetched()
        except StoreError as error:
            return self._copy.in_force(known, error, self._namespace, self._trust, only=self._only)
        if text is None:
            return known
        try:
            found = exported_in_force(self.name, text, known, self._namespace, self._trust, only=self._only)
        except StoreError as error:
            return self._copy.in_force(known, error, self._namespace, self._trust, only=self._only)
        self._read = moment
        self._copy.keep(text)
        return found

    def beside(self, namespace: str) -> "ObjectPlace":
        """The same object, if it is of this namespace."""
        return ObjectPlace(self._url, namespace, trust=self._trust, only=True)

    def close(self) -> None:
        """Read it anew at the next look."""
        self._read = None

    def renew(self) -> None:
        """Nothing is the parent's alone."""

    def _fetched(self) -> tuple[str, str | None]:
        """What tells this version from others, and its text where it is a new one."""
        try:
            from fsspec.core import url_to_fs
        except ModuleNotFoundError as error:
            raise StoreError(f"{self.name} needs fsspec, of the extra `objects`: {install_hint('objects')}") from error
        try:
            system, path = url_to_fs(self._url)
            system.invalidate_cache()
            moment = str(system.ukey(path))
            if moment == self._read:
                return moment, None
            content = system.cat_file(path, start=0, end=_BYTES + 1)
            if len(content) > _BYTES:
                raise StoreError(f"{self.name} holds more than {_BYTES} bytes, which is no prior")
            return moment, content.decode()
        except StoreError:
            raise
        except FileNotFoundError as error:
            raise StoreError(f"{self.name}: there is no such file") from error
        except Exception as error:  # of whichever library fsspec has for it
            raise StoreError(f"{self.name} cannot be read: {type(error).__name__}: {shortened(error, 200)}") from error
