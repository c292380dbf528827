"""Values as two processes tell them to each other: numbers, texts, times and collections of them, by value. Pure.

Loaded by path in both, so it imports nothing of the package. What is none of these is for `held` to tell, and `theirs`
to find again.
"""

import builtins
import collections
import datetime
import decimal
import fractions
import importlib
import sys
from collections.abc import Callable
from typing import Any

_DEEPEST = 60
_SMALL = 2**60
_PLAIN = (bool, str, float, type(None))
_TIMES = (datetime.datetime, datetime.date, datetime.time)
_DICTS = (collections.Counter, collections.OrderedDict)
_COLLECTIONS: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
_SHARED = frozenset((
    "int", "float", "str", "bool", "bytes", "bytearray", "list", "tuple", "dict", "set", "frozenset", "complex",
    "object", "range", "len", "abs", "min", "max", "sum", "sorted", "reversed", "all", "any", "ord", "chr",
    "round", "repr", "print", "map", "filter", "zip", "enumerate", "isinstance", "Ellipsis", "NotImplemented",
))  # fmt: skip
"""Builtins that are passed by name; not `type`, which makes classes."""
ASKS = frozenset((
    "startswith", "endswith", "issubset", "issuperset", "isdisjoint", "isdigit", "isalpha", "isalnum", "isupper",
    "islower", "isspace", "isnumeric", "isdecimal", "isidentifier", "istitle",
))  # fmt: skip
"""Methods of builtin types that say yes or no."""


def told_as(value: Any, held: Callable[[Any], Any], depth: int = 0) -> Any:  # noqa: PLR0911  # one kind of value a line
    """The value, ready for JSON; subclasses of what is plain count as that."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < _SMALL else ["int", hex(value)]
    if isinstance(value, str | float):
        return str.__str__(value) if isinstance(value, str) else float.__float__(value)
    if depth > _DEEPEST:
        return held(value)
    if isinstance(value, tuple) and isinstance(fields := getattr(type(value), "_fields", None), tuple):
        return ["named", type(value).__name__, list(fields), [told_as(one, held, depth + 1) for one in value]]
    for name, base in _COLLECTIONS.items():
        if isinstance(value, base):
            return [name, [told_as(one, held, depth + 1) for one in base.__iter__(value)]]
    if isinstance(value, collections.deque):
        return ["deque", [told_as(one, held, depth + 1) for one in value], value.maxlen]
    if isinstance(value, dict):
        both = [[told_as(key, held, depth + 1), told_as(one, held, depth + 1)] for key, one in dict.items(value)]
        return ["dict", both, next((base.__name__ for base in _DICTS if isinstance(value, base)), "")]
    return _rare(value) or held(value)


def _rare(value: Any) -> Any:  # noqa: PLR0911  # one kind of value a line
    if isinstance(value, bytes | bytearray):
        return ["bytearray" if isinstance(value, bytearray) else "bytes", value.hex()]
    if isinstance(value, complex):
        return ["complex", value.real, value.imag]
    if isinstance(value, decimal.Decimal):
        return ["decimal", str(value)]
    if isinstance(value, fractions.Fraction):
        return ["fraction", hex(value.numerator), hex(value.denominator)]
    if isinstance(value, range):
        return ["range", value.start, value.stop, value.step]
    if isinstance(value, datetime.timedelta):
        return ["delta", value.days, value.seconds, value.microseconds]
    if type(value) in _TIMES:
        return ["time", type(value).__name__, value.isoformat()]
    return _numpy(value) if "numpy" in sys.modules and _numpy(value) is not None else by_name(value)


def by_name(value: Any) -> Any:
    """What has the same name on both sides."""
    if not isinstance(value, type | type(sys) | type(len)):
        return None
    name = value.__name__
    if name in _SHARED and getattr(builtins, name) is value:
        return ["builtin", name]
    return ["module", name] if type(value) is type(sys) and _is_known(name) else None


def _is_known(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names or module == "numpy"


def understood(told: Any, theirs: Callable[[str, list[Any]], Any]) -> Any:  # noqa: PLR0911  # one kind a line
    """The value; raises whatever comes of what is none."""
    if not isinstance(told, list):
        return told
    name, *more = told
    if name in ("yours", "mine"):
        return theirs(name, more)
    if name in _COLLECTIONS:
        return _COLLECTIONS[name](understood(one, theirs) for one in more[0])
    if name == "dict":
        kind = next((base for base in _DICTS if base.__name__ == more[1]), dict)
        return kind({understood(key, theirs): understood(one, theirs) for key, one in more[0]})
    if name == "named":
        values = tuple(understood(one, theirs) for one in more[2])
        return values if ASKS.intersection(more[1]) else collections.namedtuple(more[0], more[1])(*values)
    if name == "deque":
        return collections.deque((understood(one, theirs) for one in more[0]), more[1])
    return _RARE[name](*more)


def _numpy(value: Any) -> Any:
    numpy = sys.modules["numpy"]
    if isinstance(value, numpy.generic):
        return value.item() if isinstance(value.item(), bool | int | float | str) else None
    if isinstance(value, numpy.ndarray) and value.dtype.kind in "biufU":
        return ["array", value.dtype.str, value.tolist()]
    return None


def _array(kind: str, listed: Any) -> Any:
    return importlib.import_module("numpy").array(listed, dtype=kind)


def _module(name: str) -> Any:
    if not _is_known(name):
        raise ValueError(name)
    return importlib.import_module(name)


_RARE: dict[str, Callable[..., Any]] = {
    "int": lambda told: int(told, 16),
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "complex": complex,
    "decimal": decimal.Decimal,
    "fraction": lambda above, below: fractions.Fraction(int(above, 16), int(below, 16)),
    "range": range,
    "delta": datetime.timedelta,
    "time": lambda kind, told: next(one for one in _TIMES if one.__name__ == kind).fromisoformat(told),
    "builtin": lambda name: getattr(builtins, name) if name in _SHARED else None,
    "module": _module,
    "array": _array,
}
