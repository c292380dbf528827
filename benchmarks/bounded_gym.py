"""Tasks of reasoning-gym with a small state, and their answers worked out line by line, for `bounded`. Pure.

What is asked is in the family's own words, with how to work it out behind them, and the answer at the end is the
family's own; the lines before it are the way there. Needs the extra `tfgrpo[gym]`.
"""

import random
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate, pairwise
from typing import Any

PROGRAM = "program:\n\n"
"""What stands before an A::B program."""
FACING = {("A#", "#A"): [], ("B#", "#B"): [], ("A#", "#B"): ["#B", "A#"], ("B#", "#A"): ["#A", "B#"]}
"""What two neighbours of an A::B program become."""


def numbered(parts: Iterable[object]) -> str:
    """A list as a task gives it."""
    return "\n".join(f"{place}) {part}" for place, part in enumerate(parts, start=1))


def _entry(family: str, draw: random.Random, **settings: int) -> Mapping[str, Any]:
    import reasoning_gym  # the extra is needed where these families are asked for

    return reasoning_gym.create_dataset(family, size=1, seed=draw.randrange(2**31), **settings)[0]


def _worked(entry: Mapping[str, Any], how: str, lines: Iterable[str], end: str | None = None) -> tuple[str, str]:
    said = [*lines, f"Answer: {entry['answer']}" if end is None else end]
    return f"{entry['question'].strip()}\n{how}", "\n".join(filter(None, said))


def chain_sum(draw: random.Random, size: int) -> tuple[str, str]:
    """A sum of so many one-digit terms, some taken off, and its totals; the terms are numbered once more."""
    entry = _entry("chain_sum", draw, min_terms=size, max_terms=size, min_digits=1, max_digits=1)
    first, *rest = entry["metadata"]["expression"].split()
    terms = [f"{sign} {term}" for sign, term in zip(rest[::2], rest[1::2], strict=True)]
    totals = pairwise(accumulate((int(term.replace(" ", "")) for term in terms), initial=int(first)))
    lines = [f"{before} {term} = {after}" for (before, after), term in zip(totals, terms, strict=True)]
    how = f"Take one term after the other, one line for each:\n{numbered([first, *terms])}"
    return _worked(entry, how, numbered([first, *lines]).splitlines())


def letter_counting(draw: random.Random, size: int) -> tuple[str, str]:
    """How often a letter is in so many words, and the count after each word."""
    entry = _entry("letter_counting", draw, min_words=size, max_words=size)
    words, letter = entry["metadata"]["span"], entry["metadata"]["target_letter"]
    counts = accumulate(word.lower().count(letter) for word in words)
    lines = (f"{word}: {count}" for word, count in zip(words, counts, strict=True))
    return _worked(entry, "Take one word after the other, one line for each, with the count so far.", lines)


def number_filtering(draw: random.Random, size: int) -> tuple[str, str]:
    """So many numbers of two digits, of which some are kept, and which; the new list would be no small state."""
    entry = _entry("number_filtering", draw, min_numbers=size, max_numbers=size, max_decimals=0, min_value=10)
    kept = set(entry["metadata"]["result"])
    lines = (f"{one}: {'keep' if one in kept else 'remove'}" for one in entry["metadata"]["original_numbers"])
    return _worked(entry, "But first say of one number after the other whether it stays, one line for each.", lines, "")


def rewritten(program: list[str]) -> list[str] | None:
    """An A::B program after the first two neighbours that can be are rewritten; None where none can."""
    for place, pair in enumerate(pairwise(program)):
        if pair in FACING:
            return program[:place] + FACING[pair] + program[place + 2 :]
    return None


def rewriting(draw: random.Random, size: int) -> tuple[str, str]:
    """An A::B program of so many tokens, an automaton that rewrites neighbours, and its states."""
    entry = _entry("ab", draw, length=size)
    state: list[str] | None = entry["question"].partition(PROGRAM)[2].partition("\n")[0].split()
    states = []
    while state is not None:
        states.append(state)
        state = rewritten(state)
    assert " ".join(states[-1]) == entry["answer"]
    return _worked(entry, "Rewrite one pair after the other, one line for each.", map(" ".join, states))


GYM: Mapping[str, tuple[Callable[[random.Random, int], tuple[str, str]], int, int]] = {
    "chain-sum": (chain_sum, 12, 50),
    "letter-counting": (letter_counting, 30, 120),
    "number-filtering": (number_filtering, 25, 100),
    "a-b": (rewriting, 10, 22),
}
"""As `bounded.FAMILIES`."""
