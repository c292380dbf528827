"""What a cell of a table holds: an object or a list, in JSON or as Python writes it. Pure."""

import ast
import json
import warnings
from math import isfinite
from typing import NoReturn

from ..records import JSON

_LONGEST_LITERAL = 100_000


def written_out(text: str) -> JSON:
    """The list or the object that a text is, in JSON or as Python writes it; None: it is none."""
    if not text.lstrip().startswith(("[", "{")):
        return None
    for parse in (_json, _literal):
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    return None


def _json(text: str) -> JSON:
    return json.loads(text, parse_constant=_no_number, parse_float=_finite)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"JSON cannot carry {text}")


def _finite(text: str) -> float:
    number = float(text)
    return number if isfinite(number) else _no_number(text)


def _literal(text: str) -> JSON:
    """A value of Python's that JSON can carry, of bounded size; Python bounds its depth."""
    if len(text) > _LONGEST_LITERAL:
        raise ValueError("too long")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes that are none
        return json.loads(json.dumps(ast.literal_eval(text.strip()), allow_nan=False))
