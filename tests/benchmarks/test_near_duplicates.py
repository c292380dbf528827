"""The pairs by which an embedding model is judged, and the table of what it tells."""

from collections import Counter
from collections.abc import Sequence

from benchmarks.near_duplicates import embedded, read_pairs, table
from tests.inprocess import upstream
from tfgrpo.experiences.overlap import similarity
from tfgrpo.testing import ScriptedModel

PAIRS = read_pairs()


def test_no_pair_is_there_twice() -> None:
    assert len({(pair.one, pair.other) for pair in PAIRS}) == len(PAIRS) == 268
    assert [*Counter(pair.kind for pair in PAIRS).values()] == [40, 8, 100, 40, 40, 40]


def test_what_is_in_other_words_shares_little_wording() -> None:
    worded = [pair for pair in PAIRS if pair.kind.endswith("other words")]
    assert max(similarity(pair.one, pair.other) for pair in worded) < 0.3


async def test_the_table_counts_what_wording_and_vectors_would_merge() -> None:
    def embed(text: str) -> Sequence[float]:
        return (1.0, float(text == PAIRS[0].other))

    texts = list(dict.fromkeys(text for pair in PAIRS for text in (pair.one, pair.other)))
    async with upstream(ScriptedModel(lambda body: "", embed=embed).app) as calling:
        _, _, same, *others = table(PAIRS, await embedded(calling, "m", texts))
    assert same == "| same in other words | 40 | 1.00 | 0 | 29 | 29 | 29 | 29 | 29 | 29 | 39 |", (
        "11 differ in a number or negation"
    )
    assert [row.split(" | ")[:2] for row in others] == [
        ["| same as a 0.5B model restated it", "8"],
        ["| opposite in like words", "100"],
        ["| opposite in other words", "40"],
        ["| neighbour in like words", "40"],
        ["| neighbour in other words", "40"],
    ]
