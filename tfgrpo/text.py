"""Text fit for people: numbers in sentences, and untrusted text in errors. Pure."""


def counted(number: int, noun: str) -> str:
    """A number and its noun: `1 task`, `1,234 tasks`, `2 passes`, `2 strategies`."""
    return f"{number:,} {noun if number == 1 else _plural(noun)}"


def _plural(noun: str) -> str:
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"


def is_unicode(text: str) -> bool:
    """Whether a text holds characters alone, and no half of a surrogate pair, which no file and no hash can hold."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def shortened(value: object, limit: int = 80) -> str:
    """Untrusted text made fit for an error: one line, printable, at most `limit` characters."""
    line = " ".join(str(value).split())
    safe = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"
