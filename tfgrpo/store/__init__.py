"""The memory of it all, one SQLite file: what happened (`runs`) and what was learned (`lineage`).

Nothing outside this package speaks SQL. The tables are explained in `store/README.md`.
"""

from .check import CheckedStore, StoreInfo
from .file import default_store_path
from .lineage import ExperienceStatus, LineageEntry, LineageStore, Namespace
from .runs import RunEntry, RunStore

__all__ = [
    "ExperienceStatus",
    "LineageEntry",
    "Namespace",
    "RunEntry",
    "Store",
    "StoreInfo",
    "default_store_path",
]


class Store(RunStore, LineageStore, CheckedStore):
    """An open store. Any number of readers and writers, in threads and in processes, may have the same file open."""
