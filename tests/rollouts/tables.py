"""The tables of docs/rewards.md: by heading, each row as its cells; what stands in backticks is read literally."""

import json
import re
from collections import defaultdict
from pathlib import Path

from tfgrpo.records import JSON

DOCUMENT = Path(__file__).parents[2] / "docs" / "rewards.md"
_SIGNS = {"⏎": "\n", "⍽": "\N{NO-BREAK SPACE}", "␣": " "}


def tables() -> dict[str, list[list[str]]]:
    """By the heading that they stand under, the rows whose first cell is code."""
    found: dict[str, list[list[str]]] = defaultdict(list)
    heading = ""
    for line in DOCUMENT.read_text(encoding="utf-8").split("\n"):
        heading = line.removeprefix("## ") if line.startswith("## ") else heading
        if heading and re.match(r"\| `", line):
            found[heading].append([_cell(part) for part in _cells(line)])
    return found


def _cells(line: str) -> list[str]:
    """The cells of a row; a bar inside of backticks divides none."""
    parts = re.findall(r"\|((?:\s*(`+)(?:.*?)\2\s*)|[^|`]*)(?=\|)", line)
    return [part for part, _ in parts]


def _cell(part: str) -> str:
    code = re.fullmatch(r"\s*(`+)(.*)\1\s*", part, re.DOTALL)
    text = code[2] if code else part.strip()
    for sign, meant in _SIGNS.items():
        text = text.replace(sign, meant)
    return text


def answer_of(cell: str) -> JSON:
    """An answer: JSON where it is JSON, else text."""
    try:
        return json.loads(cell)
    except ValueError:
        return cell
