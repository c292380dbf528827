"""Regular expressions that cannot hold up a request: time is linear in the length of the text, whatever it is. Pure.

Python's own `re` goes back and forth, on a hostile text for years. A pattern here has characters, classes (`.`, `\\d`,
`[a-f]`), groups, `|`, `?`, `*`, `+`, `{2,5}`, `^` at its beginning, `$` at its end, and nothing that needs going back:
all its places are followed at once, a character at a time (Glushkov's automaton, its steps kept). Case does not matter.
"""

import re
from typing import NamedTuple, TypeAlias

from ..errors import InputError

PLACES = 100
"""The most characters and classes of a pattern, each as often as it is repeated."""
MATCHED_CHARS = 2_000
"""The most characters of a text that are looked at: half where it begins, half where it ends."""
_KEPT_STEPS = 4_000
"""Of a pattern, and at most as many characters of which it is known where they fit."""
_ATOM = re.compile(r"\\[dDwWsStn]|\\[^a-zA-Z0-9]|\[\^?\]?(?:\\.|[^\[\]\\])*\]|[^\\\[\](){}*+?|^$]")
_TIMES = re.compile(r"[?*+]|\{(\d{1,3})(,?)(\d{0,3})\}")
_RANGES = {"?": (0, 1), "*": (0, None), "+": (1, None)}
_SET_OPERATIONS = ("--", "&&", "||", "~~")

_Node: TypeAlias = "_Any | _Times | str"
"""A part of a pattern as it is written; a text is one character or class."""


class _Any(NamedTuple):
    """One of several ways to go on, each a row of parts."""

    ways: list[list[_Node]]


class _Times(NamedTuple):
    """A part several times; at most: None for any number."""

    part: _Node
    least: int
    most: int | None


class _Part(NamedTuple):
    """What a part begins and ends with, as bits of the pattern's places, and whether it may be empty."""

    first: int
    last: int
    empty: bool


class Pattern:
    """A pattern made ready; raises InputError where it is none, and says why."""

    def __init__(self, written: str) -> None:
        self._anchored, self._ends = written.startswith("^"), re.search(r"(?<!\\)(?:\\\\)*\$$", written) is not None
        self._atoms: list[re.Pattern[str]] = []
        self._follow: list[int] = []
        self._steps: dict[tuple[int, str], int] = {}
        self._fits: dict[str, int] = {}
        self._leads_to: dict[tuple[int, int], int] = {}
        """Where eight places lead, by which eight, and which of them."""
        read = _read(written[self._anchored : len(written) - self._ends])
        if len(read.ways) > 1 and (self._anchored or self._ends):
            raise InputError("^ and $ hold for one of several: put these in a group, as in ^(a|b)")
        whole = self._any(read)
        if whole.empty:
            raise InputError("it fits an empty text, and so every message")
        self._last, self._begin = whole.last, 1 << len(self._atoms)
        self._follow.append(whole.first)

    def found_in(self, text: str) -> bool:
        """Whether it is found anywhere in a text."""
        if len(text) > MATCHED_CHARS:
            text = f"{text[: MATCHED_CHARS // 2]}\n{text[-MATCHED_CHARS // 2 :]}"
        now, steps, fits = self._begin, self._steps, self._fits_of(text)
        for char in text:
            known = steps.get((now, char))
            now = self._step(now, char, fits[char]) if known is None else known
            if now & self._last and not self._ends:
                return True
        return bool(now & self._last)

    def _fits_of(self, text: str) -> dict[str, int]:
        """Where each character of a text fits: those that are new are held against each atom all at once."""
        if not (new := set(text) - self._fits.keys()):
            return self._fits
        if len(self._fits) + len(new) > _KEPT_STEPS:
            self._fits, new = {}, set(text)
        places, told, found = dict[re.Pattern[str], int](), "".join(new), dict.fromkeys(new, 0)
        for place, atom in enumerate(self._atoms):
            places[atom] = places.get(atom, 0) | 1 << place
        for atom, bits in places.items():
            for char in atom.findall(told):
                found[char] |= bits
        self._fits = {**self._fits, **found}
        return self._fits

    def _step(self, now: int, char: str, fits: int) -> int:
        """The places that a character leads to from others."""
        may = 0
        for eight, which in enumerate(now.to_bytes(PLACES // 8 + 1, "little")):
            if which:
                known = self._leads_to.get((eight, which))
                may |= self._leads_from(eight, which) if known is None else known
        if len(self._steps) >= _KEPT_STEPS:
            self._steps.clear()
        found = self._steps[now, char] = may & fits | (0 if self._anchored else self._begin)
        return found

    def _leads_from(self, eight: int, which: int) -> int:
        may = 0
        for place in range(8):
            may |= self._follow[8 * eight + place] if which >> place & 1 else 0
        self._leads_to[eight, which] = may
        return may

    def _any(self, node: _Any) -> _Part:
        found = [self._row([self._part(one) for one in way]) for way in node.ways]
        first = last = 0
        for part in found:
            first, last = first | part.first, last | part.last
        return _Part(first, last, any(part.empty for part in found))

    def _row(self, parts: list[_Part]) -> _Part:
        whole = _Part(0, 0, True)
        for part in parts:
            self._leads(whole.last, part.first)
            first = whole.first | part.first if whole.empty else whole.first
            last = whole.last | part.last if part.empty else part.last
            whole = _Part(first, last, whole.empty and part.empty)
        return whole

    def _part(self, node: _Node) -> _Part:
        if isinstance(node, _Any):
            return self._any(node)
        if isinstance(node, _Times):
            copies = [self._part(node.part) for _ in range(node.most or max(node.least, 1))]
            if node.most is None:
                self._leads(copies[-1].last, copies[-1].first)
            optional = (place >= node.least for place in range(len(copies)))
            return self._row([one._replace(empty=one.empty or may) for one, may in zip(copies, optional, strict=True)])
        if len(self._atoms) == PLACES:
            raise InputError(f"it has more than {PLACES} characters and classes, those repeated counted each time")
        self._atoms.append(re.compile(node, re.IGNORECASE))
        self._follow.append(0)
        bit = 1 << len(self._atoms) - 1
        return _Part(bit, bit, False)

    def _leads(self, last: int, first: int) -> None:
        for place in range(len(self._atoms)):
            self._follow[place] |= first if last >> place & 1 else 0


def _read(written: str) -> _Any:
    """The parts of a pattern as they are written."""
    opened, at = [_Any([[]])], 0
    while at < len(written):
        row = opened[-1].ways[-1]
        times, atom = _TIMES.match(written, at), _ATOM.match(written, at)
        if written[at] == "(":
            opened.append(_Any([[]]))
            at += len("(?:") if written.startswith("(?:", at) else 1
            continue
        if written[at] == "|" and row:
            opened[-1].ways.append([])
        elif written[at] == ")" and row and len(opened) > 1:
            closed = opened.pop()
            opened[-1].ways[-1].append(closed)
        elif times and row:
            row.append(_times(row.pop(), times))
        elif atom:
            row.append(_atom(atom[0]))
        else:
            raise InputError(f"it cannot be read from {written[at:]!r} on")
        found = times or atom
        at = found.end() if found else at + 1
    if len(opened) > 1 or not opened[0].ways[-1]:
        raise InputError("a bracket is not closed" if len(opened) > 1 else "there is nothing in it, or behind a |")
    return opened[0]


def _times(part: _Node, found: re.Match[str]) -> _Times:
    if found[0] in _RANGES:
        return _Times(part, *_RANGES[found[0]])
    least = int(found[1])
    most = int(found[3]) if found[3] else None if found[2] else least
    if most is not None and not least <= most > 0:
        raise InputError(f"{found[0]} is no number of times")
    return _Times(part, least, most)


def _atom(written: str) -> str:
    if written.startswith("[") and any(operation in written for operation in _SET_OPERATIONS):
        raise InputError(f"{written}: write each character of a class once, and - at its end")
    try:
        re.compile(written)
    except re.error as error:
        raise InputError(f"{written}: {error.msg}") from None
    return written
