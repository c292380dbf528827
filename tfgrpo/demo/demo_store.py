"""The store of a demo in the user's cache: an interrupted demo goes on from it, and a finished one is never lost."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..model.local import cached_path
from ..store import Store

_FILES = ("", "-wal", "-shm")
"""What a store's path ends with: the database, and what SQLite may have left beside it."""


def demo_path(seed: int) -> Path:
    """Where a seed's store is."""
    path = cached_path().with_name(f"demo-{seed}.db")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def demo_store(path: Path) -> Iterator[Store]:
    """The store at a path, to be opened when all that the demo needs is at hand.

    One that holds a finished demo is put aside, as `*.previous.db`, and put back if the new one ends before its run
    has begun.
    """
    if not _is_finished(path):
        with Store(path) as store:
            yield store
        return
    aside, begun = path.with_name(f"{path.stem}.previous{path.suffix}"), False
    _move(path, aside)
    try:
        with Store(path) as store:
            try:
                yield store
            finally:
                begun = bool(store.runs())
    finally:
        if not begun:
            _move(aside, path)


def _is_finished(path: Path) -> bool:
    """Whether a demo was measured there, which is the last thing it does."""
    if not path.exists():
        return False
    with Store(path) as store:
        return any(entry.run.kind == "eval" and entry.run.status == "finished" for entry in store.runs())


def _move(path: Path, to: Path) -> None:
    """A store to another name, in place of what is there."""
    for ending in _FILES:
        old, new = path.with_name(path.name + ending), to.with_name(to.name + ending)
        if old.exists():
            old.replace(new)
        else:
            new.unlink(missing_ok=True)
