"""How long the nearest demonstrations of a pool take to find, for a short request.

`python -m benchmarks.nearest` prints Markdown: the median microseconds of one choice out of pools of several sizes and
of a whole request with the prior added, and the milliseconds that making a pool ready takes, once a prior. The texts
are about 100 characters each, of a few hundred made-up words. Below it stands the same by vectors of 384 and 1,536
numbers, drawn by chance, that of the request at hand.
"""

import random
import time
from collections.abc import Callable
from statistics import median

from tfgrpo.records import Demonstration, Prior
from tfgrpo.surfaces.chat import with_prior
from tfgrpo.surfaces.nearest import compact, nearest, nearest_by_vector, pool_of, vector_pool_of
from tfgrpo.surfaces.surface import Manner

SIZES = (50, 500, 5_000)
DIMENSIONS = (384, 1_536)
CHARS, CHOSEN, ROUNDS = 100, 8, 3_000
_SYLLABLES = [first + vowel + last for first in "bdfgklmnprst" for vowel in "aeiou" for last in ("", "n", "r", "s")]


def words(seed: int, count: int = 400) -> list[str]:
    """A vocabulary of made-up words."""
    draw = random.Random(seed)
    return ["".join(draw.choices(_SYLLABLES, k=draw.randint(1, 3))) for _ in range(count)]


def texts(count: int, seed: int = 0) -> list[str]:
    """Texts of about CHARS characters."""
    draw, known, made = random.Random(seed), words(0), []
    for _ in range(count):
        text = ""
        while len(text) < CHARS:
            text += f"{draw.choice(known)} "
        made.append(text.strip())
    return made


def microseconds(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The median time of one call."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return 1e6 * median(taken)


def row(size: int) -> str:
    """One line of the table."""
    pool, asked = texts(size), texts(1, seed=1)[0]
    ready = pool_of(pool)
    prior = Prior(demonstrations=tuple(Demonstration(text, "BILL") for text in pool), nearest=CHOSEN)
    body = {"model": "m", "messages": [{"role": "user", "content": asked}]}
    with_prior(body, prior)
    figures = (
        microseconds(lambda: nearest(ready, asked, CHOSEN)),
        microseconds(lambda: with_prior(body, prior)),
        microseconds(lambda: pool_of(pool), rounds=5) / 1_000,
    )
    return f"| {size:,} | {figures[0]:.0f} | {figures[1]:.0f} | {figures[2]:.0f} |"


def vector_row(size: int, dimensions: int) -> str:
    """One line of the table by vectors."""
    draw = random.Random(0)
    vectors = [compact([draw.gauss(0, 1) for _ in range(dimensions)]) for _ in range(size + 1)]
    asked, pool = vectors[0], vectors[1:]
    ready = vector_pool_of(pool)
    shown = zip(texts(size), pool, strict=True)
    prior = Prior(
        demonstrations=tuple(Demonstration(text, "BILL", vector=vector) for text, vector in shown),
        nearest=CHOSEN,
        embedding="near",
    )
    body, manner = {"model": "m", "messages": [{"role": "user", "content": "which?"}]}, Manner(vector=asked)
    with_prior(body, prior, manner)
    figures = (
        microseconds(lambda: nearest_by_vector(ready, asked, CHOSEN)),
        microseconds(lambda: with_prior(body, prior, manner)),
        microseconds(lambda: vector_pool_of(pool), rounds=5) / 1_000,
    )
    return f"| {size:,} | {dimensions:,} | {figures[0]:.0f} | {figures[1]:.0f} | {figures[2]:.1f} |"


def main() -> None:
    """Print the table."""
    print("| demonstrations | choosing 8 (µs) | a request with the prior (µs) | making the pool ready (ms) |")
    print("|---|---|---|---|")
    for size in SIZES:
        print(row(size))
    print("\n| demonstrations | numbers | choosing 8 by vector (µs) | with the prior (µs) | making it ready (ms) |")
    print("|---|---|---|---|---|")
    for size in SIZES:
        for dimensions in DIMENSIONS:
            print(vector_row(size, dimensions))


if __name__ == "__main__":
    main()
