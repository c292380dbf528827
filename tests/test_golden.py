"""One seeded run against a deterministic fake, and all that it leaves in the store: what no move of code may change.

`python -m tests.test_golden` writes the golden files anew, for a change that is meant to change what is learned.
"""

import asyncio
import json
import re
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.routing import ADVICE, HARM, TOPICS, WORDS, plan, talkative, upstream
from tfgrpo.learning.run import carry_out
from tfgrpo.observer import Silent
from tfgrpo.records import ChatBody, Task, message_text
from tfgrpo.settings import Settings
from tfgrpo.store import Store, StorePath
from tfgrpo.testing import Answer, ScriptedModel, SimulatedPolicy

GOLDEN = Path(__file__).parent / "golden"
CLOCKS = {"at", "started", "ended", "checksum"}
"""Columns that hold a time, or a sum over one."""
SETTINGS = Settings(steps=2, group_size=4, concurrency=1, trial_experiences=4, gate_passes=3)
TRAIN, VALIDATION = (
    tuple(
        Task(f"{part} {number} about {topic}", label) for number, (topic, label) in enumerate(list(TOPICS.items()) * 2)
    )
    for part in ("message", "letter")
)


def model() -> ScriptedModel:
    """A simulated policy that also proposes, always the same two texts."""
    policy = SimulatedPolicy(WORDS, talkative)

    def script(body: ChatBody) -> Answer:
        texts = "\n".join(message_text(message) for message in body["messages"])
        if "<attempts>" not in texts and "<proposals>" not in texts:
            return policy(body)
        sources = ["P1", "P2", "P3", "P4"]
        edits = [{"operation": "ADD", "text": text, "target": "", "from": sources} for text in (ADVICE, HARM)]
        return Answer(json.dumps(edits))

    return ScriptedModel(script)


async def learned(path: StorePath) -> str:
    """Learn, with experiences, a token prior and the gate; the id of what was learned."""
    wanted = replace(plan(SETTINGS, TRAIN), validation=VALIDATION)
    with Store(path) as store:
        async with upstream(model(), store, SETTINGS) as calls:
            found = await carry_out(wanted, store, calls, Silent())
    return found.candidate.id if found.candidate else "nothing"


def dump(path: Path) -> str:
    """Every row of the store as a line of text, by table, without what differs from run to run."""
    with sqlite3.connect(path) as db:
        db.row_factory = sqlite3.Row
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        return "".join(f"{line}\n" for table in tables if "migration" not in table for line in _rows(db, table))


def _rows(db: sqlite3.Connection, table: str) -> Iterator[str]:
    yield f"== {table}"
    yield from sorted(_plain_text(row) for row in db.execute(f"SELECT * FROM {table}"))


def _plain_text(row: sqlite3.Row) -> str:
    """A row as JSON; the last digits of a figure differ from processor to processor."""
    whole = json.dumps(
        {name: _plain(row[name]) for name in tuple(row.keys()) if name not in CLOCKS}, ensure_ascii=False
    )
    return re.sub(r"\d+\.\d{9,}(?:e-\d+)?", lambda number: f"{float(number.group()):.7g}", whole)


def _plain(value: object) -> object:
    if not isinstance(value, bytes):
        return value
    try:
        return zlib.decompress(value).decode()
    except zlib.error:
        return value.hex()


def test_a_seeded_run_learns_the_same_and_leaves_the_same_in_the_store(tmp_path: Path) -> None:
    found = asyncio.run(learned(tmp_path / "golden.db"))
    assert found == (GOLDEN / "prior.txt").read_text().strip()
    assert dump(tmp_path / "golden.db") == (GOLDEN / "store.txt").read_text()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "golden.db"
        (GOLDEN / "prior.txt").write_text(asyncio.run(learned(path)) + "\n")
        (GOLDEN / "store.txt").write_text(dump(path))
