"""One SQLite file that remembers it all: what happened (`runs`), what raced (`variants`), what was learned
(`experiences`, `lineage`), on what evidence it went live (`trials`), and what upstreams honour (`probes`).

Nothing outside this package speaks SQL. The tables are explained in `store/README.md`.
"""

from .check import CheckedStore, StoreInfo
from .experiences import ExperienceHistory, ExperienceStatus, ExperienceStore, VariantStore
from .inferences import Feedback, Inference, InferenceStore
from .keys import AccessKey, KeySpending, KeyStore
from .lineage import SERVING, LineageEntry, LineageStore, Namespace
from .path import default_store_path
from .probes import ProbeStore
from .runs import RunEntry, RunStore
from .trials import TrialStore

__all__ = [
    "SERVING",
    "AccessKey",
    "ExperienceHistory",
    "ExperienceStatus",
    "Feedback",
    "Inference",
    "KeySpending",
    "LineageEntry",
    "Namespace",
    "RunEntry",
    "Store",
    "StoreInfo",
    "default_store_path",
]


class Store(
    RunStore,
    ExperienceStore,
    VariantStore,
    LineageStore,
    TrialStore,
    ProbeStore,
    KeyStore,
    InferenceStore,
    CheckedStore,
):
    """An open store. Any number of readers and writers, in threads and in processes, may have the same file open."""
