"""Tasks made for `peers` by generators with a seed of their own: the same on every machine. Pure.

`ids`, `money`, `keep_or_drop` and `components` are of the kinds on which examples in the prompt beat a learner that had
none (issue 13); their texts are new.
"""

from collections.abc import Iterator
from random import Random

from tfgrpo.hashing import derive_seed
from tfgrpo.records import Task

MADE = 120
"""Tasks of each kind at most; equal ones are one."""


def _random(kind: str, number: int) -> Random:
    return Random(derive_seed("peers made", kind, number))


def ids() -> Iterator[Task]:
    """A reference as people type it, to be written as the register has it: two capitals, a dash, six digits."""
    for number in range(MADE):
        random = _random("ids", number)
        letters = "".join(random.choices("BCDFGHKLMNPRSTVWX", k=2))
        digits = str(random.randrange(100, 99_999))
        typed = letters.lower() if random.random() < 0.6 else letters
        between = random.choice(("", " ", "-", " / ", "."))
        before = random.choice(("", "ref ", "no. ", "#", "file "))
        yield Task(f"{before}{typed}{between}{digits}", f"{letters}-{digits:0>6}")


def money() -> Iterator[Task]:
    """An amount as it came in, to be written in the house's format: thousands apart by a point, EUR behind."""
    for number in range(MADE):
        random = _random("money", number)
        whole, cents = random.randrange(1, 90) * 10 ** random.randrange(4) + random.randrange(10), random.randrange(100)
        given = f"{whole}.{cents:02}" if random.random() < 0.7 else f"{whole:,}.{cents:02}"
        sign = random.choice(("€{}", "{} euros", "{} EUR", "EUR {}"))
        grouped = f"{whole:,}".replace(",", ".")
        yield Task(sign.format(given), f"{grouped},{cents:02} EUR")


_THINGS = (
    "lamp", "bowl", "chair", "clock", "radio", "violin", "camera", "kettle", "basket", "mirror", "drum", "saddle",
    "typewriter", "teapot", "umbrella",
)  # fmt: skip
_WORN = ("a cracked {}", "a {} with a missing part", "a rusty {}", "a {} that no longer works")
_FINE = ("a brand new {}", "a {} in perfect condition", "a shiny {}", "a {} still in its box")


def keep_or_drop() -> Iterator[Task]:
    """What a museum of repairs takes in: it keeps what is broken and drops what is as good as new."""
    for thing in _THINGS:
        for worn, fine in zip(_WORN, _FINE, strict=True):
            yield Task(worn.format(thing), "keep")
            yield Task(fine.format(thing), "drop")


_COMPONENTS = {
    "inkwell": ("the font", "bold text", "the line spacing", "the page margin", "a heading"),
    "ferry": ("the upload", "syncing with the phone", "the shared folder", "the backup", "the offline copy"),
    "lantern": ("the search box", "find and replace", "the search index", "a search for whole words", "the results"),
    "porter": ("the login window", "my password", "the licence key", "signing in", "two-factor codes"),
}
_TROUBLE = (
    "{} is wrong since the update", "something broke with {}", "how do I change {}?", "{} takes for ever",
    "the program closes when I touch {}", "{} ignores what I set",
)  # fmt: skip


def components() -> Iterator[Task]:
    """Reports about a text editor, by the component that is behind it: names that nobody outside can guess."""
    for name, topics in _COMPONENTS.items():
        for topic in topics:
            for trouble in _TROUBLE:
                text = trouble.format(topic)
                yield Task(text[0].upper() + text[1:], name)


_TRUE = """\
Is a lemon sour?
Do owls have wings?
Is Madrid in Spain?
Is 12 less than 20?
Can frogs jump?
Is wool warm?
Does a car have wheels?
Is a violin smaller than a house?"""
_FALSE = """\
Is coal white?
Do sheep drive buses?
Is Lisbon in Norway?
Is 15 less than 4?
Can tables sing?
Is the sea dry?
Does a cat have five legs?
Is a bee larger than a horse?"""


def more_facts() -> Iterator[Task]:
    """More of the questions of `conventions.CONVENTIONS["facts"]`, which are too few here."""
    yield from (Task(line, "yes") for line in _TRUE.splitlines())
    yield from (Task(line, "no") for line in _FALSE.splitlines())
