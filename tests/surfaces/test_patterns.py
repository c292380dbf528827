"""Patterns of triggers: as Python's own where both know them, in linear time on any text, else refused."""

import random
import re
from time import process_time

import pytest

from tests.tables import each
from tfgrpo.errors import InputError
from tfgrpo.surfaces.patterns import MATCHED_CHARS, Pattern


def drawn(draw: random.Random, depth: int = 0) -> str:
    """A pattern by chance."""
    kind = draw.random()
    if depth > 3 or kind < 0.4:
        return draw.choice(["a", "b", ".", "[ab]", "[^a]", r"\d", r"\.", "[]b-]"])
    first, second = drawn(draw, depth + 1), drawn(draw, depth + 1)
    if kind < 0.6:
        return first + second
    return (
        f"({first}|{second})" if kind < 0.8 else f"(?:{first})" + draw.choice(["?", "*", "+", "{2}", "{1,3}", "{2,}"])
    )


def test_a_pattern_finds_what_pythons_own_finds() -> None:
    draw = random.Random(0)
    compared = 0
    for _ in range(300):
        inner = drawn(draw)
        written = draw.choice(["{}", "^{}", "({})$", "^({})$"]).format(inner if "|" not in inner else f"({inner})")
        try:
            pattern = Pattern(written)
        except InputError as error:
            assert re.search("empty text|more than 100", str(error))
            continue
        own = re.compile(written.replace("$", r"\Z"), re.IGNORECASE)
        for _ in range(5):
            text = "".join(draw.choice("aAb1.]\n") for _ in range(draw.randrange(8)))
            compared += 1
            assert pattern.found_in(text) == bool(own.search(text)), (written, text)
    assert compared > 700


@pytest.mark.parametrize("written", ["(a+)+c", "(a|a)*c", "(.*a){20}c", "(a|b)*a(a|b){40}c"])
def test_no_text_holds_it_up(written: str) -> None:
    """Python's own takes years for these."""
    draw, pattern = random.Random(0), Pattern(written)
    began = process_time()
    assert not pattern.found_in("".join(draw.choice("ab") for _ in range(100_000)))
    assert process_time() - began < 1


def test_characters_that_are_all_different_do_not_hold_it_up() -> None:
    """Held against each place one by one they took 0.2 s."""
    text, took = "".join(chr(0x5200 + place) for place in range(MATCHED_CHARS)), list[float]()
    for _ in range(3):
        pattern, began = Pattern(".{99}z"), process_time()
        assert not pattern.found_in(text)
        took.append(process_time() - began)
    assert min(took) < 0.1
    assert pattern.found_in("y" * 99 + "z")


def test_of_a_long_text_beginning_and_end_are_looked_at() -> None:
    pattern = Pattern("needle")
    assert pattern.found_in("needle" + "x" * MATCHED_CHARS)
    assert pattern.found_in("x" * MATCHED_CHARS + "Needle")
    assert not pattern.found_in("x" * MATCHED_CHARS + "needle" + "x" * MATCHED_CHARS)


@each(
    ("written", "why"),
    [
        ("", "nothing in it"),
        ("a|", "nothing in it"),
        ("(a", "a bracket is not closed"),
        ("a)", r"cannot be read from '\)' on"),
        ("*a", r"cannot be read from '\*a' on"),
        ("(?=a)b", r"cannot be read from '\?=a\)b' on"),
        (r"(a)\1", r"cannot be read from '\\\\1' on"),
        ("a^b", r"cannot be read from '\^b' on"),
        ("[a", r"cannot be read from '\[a' on"),
        ("a{3,2}", r"\{3,2\} is no number of times"),
        ("a{0}", r"\{0\} is no number of times"),
        ("[z-a]", r"\[z-a\]: bad character range"),
        ("[a||b]", "write each character of a class once"),
        ("a?", "fits an empty text, and so every message"),
        ("^a|b", r"put these in a group, as in \^\(a\|b\)"),
        ("(a{50}){9}", "more than 100 characters and classes"),
    ],
)
def test_what_is_no_pattern_says_why(written: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        Pattern(written)
