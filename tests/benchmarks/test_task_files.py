"""The benchmark of fuzzed files, in small."""

import random
from pathlib import Path

from benchmarks.task_files import READERS, content, fuzzed, tried


def test_fuzzed_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    found = fuzzed(400, 3, tmp_path)
    assert [one.wrong for one in found if one.wrong] == []
    assert {one.kind for one in found} == {"read", "refused"}


def test_large_files_are_read_or_refused_within_bounds(tmp_path: Path) -> None:
    large = {
        "t.json": b"[" + b"1," * 1_000_000 + b"1]", "u.json": b"[" * 2_000_000, "t.jsonl": b'{"input": "a"}\n' * 5_000,
        "t.csv": b"input,answer\n" + b"a,b\n" * 5_000, "t.yaml": b"- a\n" * 100_000, "v.jsonl": b"x" * 51_000_000,
    }  # fmt: skip
    for name, raw in large.items():
        outcome = tried(tmp_path / name, raw, READERS["tasks"])
        assert (name, outcome.wrong) == (name, None)
        assert outcome.seconds < 60  # one second at most, and far more where it grows with the square of the size


def test_the_same_seed_makes_the_same_files() -> None:
    one, other = random.Random(1), random.Random(1)
    assert [content(one) for _ in range(20)] == [content(other) for _ in range(20)]
