"""One autopilot at a namespace: a lock on a file, which the system lets go of however its process ends."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import StoreError
from ..hashing import content_id
from ..store import StorePath


@contextmanager
def alone_at(place: StorePath, namespace: str) -> Iterator[bool]:
    """Whether this is the only autopilot of a namespace; while inside, it stays so. Raises StoreError for no folder.

    The lock stands beside the store's file; for a store elsewhere it holds on this machine alone.
    """
    path = lock_file(place, namespace)
    try:
        opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}; an autopilot writes beside its store") from error
    try:
        yield _locked(opened)
    finally:
        os.close(opened)


def lock_file(place: StorePath, namespace: str) -> Path:
    """Where the lock is."""
    named = content_id("autopilot", namespace, "" if isinstance(place, Path) else str(place))
    if isinstance(place, Path):
        return place.with_name(f"{place.name}-{named}.lock")
    return Path(tempfile.gettempdir()) / f"tfgrpo-{named}.lock"


def _locked(opened: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: nobody keeps two from running there
        return True
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
