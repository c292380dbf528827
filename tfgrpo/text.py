"""Text for people and from people: numbers in sentences, untrusted text in errors, the words of any script. Pure."""

import re


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


def named_file(path: str) -> str:
    """A file's name for people: where it is a URL, as a store's may be by mistake, without user and password."""
    return re.sub(r"(?<=://).*@", "...@", path, flags=re.DOTALL)


_PASSWORDS = (
    re.compile(r"(?<=://)[^\s/@:]*:[^\s/@]*(?=@)"),
    re.compile(r"(?:(?<=\bpostgresql:/)|(?<=\bpostgres:/))(?!/\.{3}@)/?[^\s'\"]*(?=@)"),
    re.compile(r"(?<=\bpostgresql:/)/?[^\s'\"/@:]*:(?!\d{1,5}(?:['\"/?:\s]|$))[^\s'\"@]*"),
)
"""User and password of any URL; of a store's also where the password has a slash or an @, or the URL was cut at it."""


def without_passwords(text: str) -> str:
    """A message without the password of any URL in it, as a store's has one, which may stand anywhere by mistake."""
    for pattern in _PASSWORDS:
        text = pattern.sub("...", text)
    return text


_HARMLESS = "\n\t\u200c\u200d"
"""Not printable, yet wanted: line ends, and the joiners of some scripts and emoji."""


def shown(value: object, harmless: str = _HARMLESS) -> str:
    """Text of models and users, with what nobody could see, or what would turn the line around, made visible."""
    return "".join(c if c.isprintable() or c in harmless else repr(c)[1:-1] for c in str(value))


WORD_CHARS = 12
"""No text is longer than this many characters for each word that it may have."""
_IDEOGRAPHS = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Scripts without spaces between words (Thai, Japanese, Chinese)."""
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])\s*")
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W{_IDEOGRAPHS}]+")


def words(text: str) -> list[str]:
    """The words of a text, lower case, without punctuation; each ideograph counts as one."""
    return [word.casefold() for word in _WORD.findall(text)]


def too_long(text: str, limit: int) -> str | None:
    """Why a text is longer than `limit` words, or None; two ideographs make a word."""
    ideographs = len(re.findall(f"[{_IDEOGRAPHS}]", text))
    spaced = len(re.sub(f"[{_IDEOGRAPHS}]", " ", text).split())
    count = spaced + (ideographs + 1) // 2
    if count > limit:
        return f"the text has {counted(count, 'word')}; at most {limit} are allowed"
    if len(text) > limit * WORD_CHARS:
        return f"the text has {len(text)} characters; at most {limit * WORD_CHARS} are allowed"
    return None


def whole_sentences(text: str, limit: int) -> str:
    """The whole sentences from the beginning of a text that are no longer than `limit` words; none may be."""
    ends = [*(match.start() for match in _SENTENCE_END.finditer(text)), len(text)]
    return next((text[:end] for end in reversed(ends) if not too_long(text[:end], limit)), "")
