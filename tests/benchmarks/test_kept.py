"""What a benchmark keeps of itself."""

import json
from pathlib import Path

from benchmarks.kept import RUN, KeptCalls, KeptCells
from tfgrpo.records import CallKey, Usage


async def test_a_call_that_was_made_is_known_to_the_next_process_but_for_one_that_was_being_written(
    tmp_path: Path,
) -> None:
    path, key = tmp_path / "calls.jsonl", CallKey(RUN, "predict", 1, "task", 2)
    await KeptCalls(path).record(key, "request", '{"a": 1}', Usage())
    path.write_text(path.read_text() + '[["benchmark", "pre')  # killed as it wrote
    again = KeptCalls(path)
    assert await again.reply(key, "request") == '{"a": 1}'
    assert await again.reply(key, "another") is None
    await again.record(key, "another", "{}", Usage())
    assert [json.loads(line)[1] for line in path.read_text().splitlines()] == ["request", "another"]
    await KeptCalls(None).record(key, "request", "{}", Usage())


def test_a_cell_is_computed_once(tmp_path: Path) -> None:
    def made() -> int:
        counts.append(1)
        return 7

    counts: list[int] = []
    assert [KeptCells(tmp_path / "cells.jsonl")("one", made) for _ in range(2)] == [7, 7]
    assert len(counts) == 1
