"""The memory of it all, one SQLite file: what happened (`runs`), what was learned (`lineage`), on what evidence it went
live (`validations`), and what upstreams honour (`probes`).

Nothing outside this package speaks SQL. The tables are explained in `store/README.md`.
"""

from .check import CheckedStore, StoreInfo
from .lineage import SERVING, ExperienceHistory, ExperienceStatus, LineageEntry, LineageStore, Namespace
from .path import default_store_path
from .probes import ProbeStore
from .runs import RunEntry, RunStore
from .validations import ValidationStore

__all__ = [
    "SERVING",
    "ExperienceHistory",
    "ExperienceStatus",
    "LineageEntry",
    "Namespace",
    "RunEntry",
    "Store",
    "StoreInfo",
    "default_store_path",
]


class Store(RunStore, LineageStore, ValidationStore, ProbeStore, CheckedStore):
    """An open store. Any number of readers and writers, in threads and in processes, may have the same file open."""
