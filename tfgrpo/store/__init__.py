"""One SQLite file, or a database of PostgreSQL's, that remembers it all: what happened, and what upstreams honour
(`runs`), what raced (`variants`), what was learned (`experiences`, `lineage`), and on what evidence it went live
(`trials`).

Nothing outside this package speaks SQL. The tables are explained in `store/README.md`.
"""

from .browse import BrowseStore
from .check import CheckedStore, StoreInfo
from .copying import CopiedStore
from .experiences import ExperienceHistory, ExperienceStatus, ExperienceStore, VariantStore
from .forgetting import ForgetfulStore
from .history import Actor, HistoryEntry, HistoryStore
from .inferences import CallCount, DrawnFeedback, Feedback, Inference, InferenceStore
from .keys import AccessKey, KeySpending, KeyStore
from .lineage import AUTOPILOT, IMPORTED, SERVING, LineageEntry, LineageStore, Namespace, rolled_back_by_a_person
from .opened import StorePath, StoreUrl, default_store_path
from .runs import ProbeStore, RunEntry, RunStore
from .trials import TrialStore

__all__ = [
    "AUTOPILOT",
    "IMPORTED",
    "SERVING",
    "AccessKey",
    "Actor",
    "CallCount",
    "DrawnFeedback",
    "ExperienceHistory",
    "ExperienceStatus",
    "Feedback",
    "HistoryEntry",
    "Inference",
    "KeySpending",
    "LineageEntry",
    "Namespace",
    "RunEntry",
    "Store",
    "StoreInfo",
    "StorePath",
    "StoreUrl",
    "default_store_path",
    "rolled_back_by_a_person",
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
    ForgetfulStore,
    HistoryStore,
    BrowseStore,
    CheckedStore,
    CopiedStore,
):
    """An open store. Any number of readers and writers, in threads and in processes, may have the same one open."""
