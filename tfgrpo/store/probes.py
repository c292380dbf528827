"""What upstreams were seen to honour. Rows are appended only; the latest of an upstream and a model counts."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields

from sqlite_utils import Database

from ..records import Backend
from . import rows
from .file import StoreFile
from .writer import Row, insert

_LATEST = "SELECT upstream, model, found FROM probes WHERE id IN (SELECT max(id) FROM probes GROUP BY upstream, model)"
_KNOWN = {field.name for field in fields(Backend)}


class ProbeStore(StoreFile):
    """The part of the store that remembers backends."""

    def add_probe(self, upstream: str, model: str, found: Backend, *, anew: bool = False) -> None:
        """Write down what a probe found at a base URL (by `backend_key`) for a model, unless it is known already.

        `anew`: even then, for clients and proxies to see that it was probed.
        """
        row: Row = {"upstream": upstream, "model": model, "found": rows.dumps(asdict(found))}

        def work(db: Database) -> None:
            latest = "SELECT found FROM probes WHERE upstream = ? AND model = ? ORDER BY id DESC LIMIT 1"
            if anew or db.execute(latest, [upstream, model]).fetchone() != (row["found"],):
                insert(db, "probes", [row])

        self._write(f"remembering what {upstream} honours", work)

    def probes(self) -> Mapping[str, Mapping[str, Backend]]:
        """What is known of each base URL, model by model."""
        with self._read("reading what upstreams honour") as db:
            found: dict[str, dict[str, Backend]] = {}
            for upstream, model, text in db.execute(_LATEST):
                told = {name: value for name, value in json.loads(text).items() if name in _KNOWN}
                found.setdefault(upstream, {})[model] = Backend(**told)
            return found
