"""What an embedding model tells of proposals: which pairs count as one, by wording alone and by its vectors too.

    python -m benchmarks.near_duplicates --model all-MiniLM-L6-v2 --base-url http://127.0.0.1:8901/v1

The pairs are those of `data/near-duplicates.jsonl`: the same advice in other words, written for this and as a 0.5B
model restated it (those of 28 restatements that kept the meaning); opposites in like words and in others; and
neighbours, different advice on one occasion, in like words and in others. All but the same are honest proposals, and
none of them should be merged. Prints a row a kind: how many pairs are merged by wording, how many with the model's
vectors too from each threshold (`--embedding-near`), and how many a cosine alone would merge from the default one.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click

from tfgrpo.experiences.embedding import TEXTS_A_CALL
from tfgrpo.experiences.overlap import NO_MEANINGS, Meanings, cosine, repeated
from tfgrpo.model.upstream import Upstream
from tfgrpo.records import CallKey, Experience, Task, Vector
from tfgrpo.settings import Settings

FILE = Path(__file__).with_name("data") / "near-duplicates.jsonl"
THRESHOLDS = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
LABELS = tuple(
    Task(f"{label}, message {number}", label)
    for label in ("BILL", "TECH", "SALE", "PRAISE", "COMPLAINT")
    for number in range(2)
)
"""Tasks as learning knows them: a label is an answer that several share."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two proposals, and how they stand to each other."""

    kind: str
    one: str
    other: str

    def merged(self, meanings: Meanings = NO_MEANINGS) -> bool:
        """Whether admission would refuse the first where the second is known."""
        return repeated(self.one, [Experience(self.other)], LABELS, meanings) is not None


def read_pairs() -> tuple[Pair, ...]:
    """The pairs of the file, in its order."""
    return tuple(Pair(**json.loads(line)) for line in FILE.read_text(encoding="utf-8").splitlines())


async def embedded(upstream: Upstream, model: str, texts: Sequence[str]) -> Mapping[str, Vector]:
    """The vector of each text."""
    found: dict[str, Vector] = {}
    for start in range(0, len(texts), TEXTS_A_CALL):
        batch = texts[start : start + TEXTS_A_CALL]
        answer = await upstream.embed(model, batch, CallKey("", "embedding"))
        found |= dict(zip(batch, answer.vectors, strict=True))
    return found


def table(pairs: Sequence[Pair], vectors: Mapping[str, Vector]) -> list[str]:
    """A row for each kind of pair, as Markdown."""
    near = Settings().embedding_near
    names = [
        "",
        "pairs",
        "median cosine",
        "wording",
        *(f"from {each:g}" for each in THRESHOLDS),
        f"cosine {near:g} alone",
    ]
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for kind in dict.fromkeys(pair.kind for pair in pairs):
        these = [pair for pair in pairs if pair.kind == kind]
        cosines = [cosine(vectors[pair.one], vectors[pair.other]) for pair in these]
        counts = [sum(pair.merged() for pair in these)]
        counts += [sum(pair.merged(Meanings(each, vectors)) for pair in these) for each in THRESHOLDS]
        counts.append(sum(each >= near for each in cosines))
        lines.append(f"| {kind} | {len(these)} | {median(cosines):.2f} | " + " | ".join(map(str, counts)) + " |")
    return lines


@click.command()
@click.option("--model", required=True, help="Embedding model.")
@click.option("--base-url", required=True, help="Its OpenAI-compatible endpoint.")
def main(model: str, base_url: str) -> None:
    """Embed all texts of the pairs, then print the table."""
    pairs = read_pairs()
    texts = list(dict.fromkeys(text for pair in pairs for text in (pair.one, pair.other)))

    async def vectors() -> Mapping[str, Vector]:
        async with Upstream(base_url) as upstream:
            return await embedded(upstream, model, texts)

    print("\n".join(table(pairs, asyncio.run(vectors()))))


if __name__ == "__main__":
    main()
