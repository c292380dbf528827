"""Numbers in sentences for people. Pure."""


def counted(number: int, noun: str) -> str:
    """A number and its noun: `1 task`, `1,234 tasks`, `2 passes`, `2 strategies`."""
    return f"{number:,} {noun if number == 1 else _plural(noun)}"


def _plural(noun: str) -> str:
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"
