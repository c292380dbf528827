"""One autopilot at a namespace: a lock, which the system lets go of however its process ends."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..errors import StoreError
from ..hashing import content_id
from ..store import Store, StorePath


@contextmanager
def alone_at(place: StorePath, namespace: str) -> Iterator[bool]:
    """Whether this is the only autopilot of a namespace; while inside, it stays so.

    The lock is on a file beside the store's, or in the database that the store is in. Raises StoreError where there is
    no such folder, or the database is out of reach.
    """
    with ExitStack() as held:
        yield _locked_beside(place, namespace, held) if isinstance(place, Path) else _claimed(place, namespace, held)


def _claimed(place: StorePath, namespace: str, held: ExitStack) -> bool:
    store = held.enter_context(Store(place, create=False))
    try:
        held.enter_context(store.only_learner(f"the autopilot of {namespace}"))
    except StoreError:
        return False
    return True


def _locked_beside(place: Path, namespace: str, held: ExitStack) -> bool:
    place = place.resolve()  # whoever names it by a link is at the same store
    path = place.with_name(f"{place.name}-{content_id('autopilot', namespace)}.lock")
    try:
        opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}; an autopilot writes beside its store") from error
    held.callback(os.close, opened)
    try:
        import fcntl

        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # Windows: nobody keeps two from running there
        return True
    except OSError:
        return False
    return True
