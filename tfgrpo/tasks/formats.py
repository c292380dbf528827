"""The entries of a file, whatever kind of file it is: JSONL, JSON, CSV with any separator, YAML or Parquet.

A file of an unknown name is taken for what its content looks like. Each entry comes with its place ("line 3").
"""

import codecs
import csv
import io
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from math import isfinite
from pathlib import Path
from typing import NoReturn, TypeAlias

from ..errors import InputError
from ..records import JSON
from ..text import shortened
from .cells import written_out
from .containers import LIST_FIELDS, listed
from .fields import CONTEXT_FIELDS, INPUT_FIELDS, either, folded, named
from .messages import is_chat

Entry: TypeAlias = tuple[str, JSON]
"""Where a task stands in its file ("line 3"), and what stands there."""
MOST_BYTES = 50_000_000
MOST_VALUES_READ = 5_000_000
"""Of a JSON text that is read whole: each takes more memory than its text, objects most."""
_LONGEST_LINE = 1_000_000
"""Characters of a first line that may be looked at twice."""
_LAID_OUT = re.compile(r"\s*(\{\s*\n|\[[^\n]*\n\s*\S|\{[^\n]*\},\s*\n)")
"""How JSON over several lines begins, and objects that are divided by commas."""
_OBJECTS = re.compile(r"\s*(\[\s*)?\{")
"""How a cell with an object or messages begins; a long list of numbers is not looked into."""
_BEGINS = re.compile(r"[^\s,]")
"""Where a value begins: after spaces, and commas."""
_KNOWN = {folded(name) for name in (*INPUT_FIELDS, *CONTEXT_FIELDS)}


def entries_of(name: str, raw: bytes, suffix: str) -> Iterator[Entry]:
    """The entries of a file's bytes; InputError names the line of whatever cannot be read."""
    if raw[:2] == b"\x1f\x8b":
        raw, suffix = _unzipped(name, raw), Path(name.removesuffix(".gz")).suffix.lower()
    if len(raw) > MOST_BYTES:
        raise too_large(name)
    if raw[:4] == b"PAR1":
        from .parquet import parquet_entries

        return parquet_entries(name, raw)
    if raw[:4] == b"PK\x03\x04":
        raise InputError(f"{name} is a zip or Excel file; save its sheet as CSV, or unpack it")
    text = _decoded(name, raw)
    if suffix in (".yaml", ".yml"):
        from .yaml_file import yaml_value

        value = yaml_value(name, text)
        return iter(()) if value is None else _listed(name, value)
    if suffix in (".csv", ".tsv"):
        return _csv(name, text, "\t" if suffix == ".tsv" else None)
    if suffix in (".jsonl", ".ndjson"):
        return _jsonl(name, text)
    return _by_content(name, text, whole=suffix == ".json")


def too_large(name: str) -> InputError:
    """The error for a file that holds more than is read."""
    few = "a few hundred tasks are enough: head -n 500 takes the first of a JSONL"
    return InputError(f"{name} is too large: at most {MOST_BYTES // 1_000_000} MB are read, and {few}")


def _unzipped(name: str, raw: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(raw, MOST_BYTES + 1)
    except zlib.error as error:
        raise InputError(f"{name}: it begins as gzip does, and cannot be unpacked ({error})") from error


def _decoded(name: str, raw: bytes) -> str:
    """The text of a file: UTF-8, or UTF-16 where its first bytes say so (Excel's Unicode text, PowerShell)."""
    encoding = "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
    raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        wrong = f"byte 0x{raw[error.start]:02x} is not {encoding.upper()}"
        raise InputError(f"{name}, line {line}: {wrong}; {_utf8_hint(raw[error.start :][:100_000])}") from error


def _utf8_hint(raw: bytes) -> str:
    """How a file that is not UTF-8 becomes it: which encoding it seems to have, and the command."""
    lone = re.findall(rb"(?<![\x80-\xff])[\x80-\xff](?![\x80-\xff])", raw)
    is_western = len(lone) * 2 > len(re.findall(rb"[\x80-\xff]", raw))  # accents and quotes stand among plain letters
    seems, encoding = ("it seems to be Windows-1252; ", "WINDOWS-1252") if is_western else ("", "ENCODING")
    return f"{seems}save the file as UTF-8: iconv -f {encoding} -t UTF-8 FILE > NEW"


def _by_content(name: str, text: str, *, whole: bool) -> Iterator[Entry]:
    """A line that is a whole JSON object, and no list of tasks, begins a JSONL; `whole`: the name says it is JSON."""
    first, _, rest = text.lstrip().partition("\n")
    if not whole and not first.startswith(("[", "{")):
        return _csv(name, text, None)
    try:
        value = json.loads(first) if len(first) <= _LONGEST_LINE else None
    except (ValueError, RecursionError):
        value = None
    is_task = isinstance(value, dict) and (named(value, INPUT_FIELDS) is not None or listed(value) is None)
    one_a_line = is_task and (not whole or bool(rest.strip()))
    return _jsonl(name, text) if one_a_line else _json(name, text)


def _jsonl(name: str, text: str) -> Iterator[Entry]:
    if _LAID_OUT.match(text):
        return _json(name, text)
    lines = ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())  # U+2028 ends no line
    return ((f"line {number}", _unwrapped(json_value(name, line, number))) for number, line in lines)


def _unwrapped(value: JSON) -> JSON:
    """A row without what Hugging Face's viewer wraps it in."""
    wrapped = isinstance(value, dict) and {"row", "row_idx"} <= value.keys() and isinstance(value["row"], dict)
    return value["row"] if wrapped else value


def _json(name: str, text: str) -> Iterator[Entry]:
    """The entries of a list, or of the object that holds one; or objects that stand one after another (`jq .`)."""
    values = _values(name, text)
    first = list(islice(values, 2))
    if len(first) == 1:
        return _listed(name, first[0][1])
    every = chain(first, values)  # one at a time: there may be 25 million numbers
    return ((f"line {line}", _unwrapped(value)) for line, value in every)


def _values(name: str, text: str) -> Iterator[tuple[int, JSON]]:
    """The values that a text holds, each with the line on which it begins; commas may stand between them."""
    _refuse_many(name, text)
    decoder = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_once)
    place, line = 0, 1
    with _telling(name, text, 1):
        while found := _BEGINS.search(text, place):
            line += text.count("\n", place, found.start())
            value, end = decoder.raw_decode(text, found.start())
            yield line, value
            line += text.count("\n", found.start(), end)
            place = end


def _listed(name: str, value: JSON) -> Iterator[Entry]:
    """The entries of a list, or of the object that holds one."""
    found = listed(value)
    if found is None:
        raise InputError(f"{name}: {_no_list(value)}")
    return ((f"entry {number}", entry) for number, entry in enumerate(found, 1))


def _no_list(value: JSON) -> str:
    if isinstance(value, Mapping) and {"prompts", "tests"} <= value.keys():
        return (
            "it is a configuration of promptfoo; make tasks of it: tfgrpo tasks from promptfoo FILE --out tasks.jsonl"
        )
    return f"expected a list of tasks, or an object with one under {either(LIST_FIELDS)}"


def json_value(name: str, text: str, line: int, *, deepest: int | None = None) -> JSON:
    """The JSON value of a text that begins on the given line of the file, checked.

    InputError, with the line, for what is none, for NaN and Infinity, for fields that are there twice, and for too many
    values or levels.
    """
    _refuse_many(name, text)
    with _telling(name, text, line):
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_once)
        if deepest is not None and _depth(value, deepest) > deepest:
            raise InputError(f"it is nested more than {deepest} levels deep")
        return value


def _refuse_many(name: str, text: str) -> None:
    if text.count(",") + 3 * (text.count("{") + text.count("[")) > MOST_VALUES_READ:
        raise too_large(name)


@contextmanager
def _telling(name: str, text: str, line: int) -> Iterator[None]:
    """What is wrong with a text as JSON is told with its line, the text beginning on the given one."""
    try:
        yield
    except json.JSONDecodeError as error:
        read = text.split("\n")[error.lineno - 1]
        where = f"{name}, line {line + error.lineno - 1}"
        raise InputError(f"{where}: not JSON ({error.msg}, column {error.colno}): {shortened(read)}") from error
    except InputError as error:
        place = f"from line {line}" if "\n" in text else f"line {line}"
        raise InputError(f"{name}, {place}: {error}") from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits; brackets 5,000 deep
        raise InputError(f"{name}, from line {line}: not readable as JSON ({shortened(error)})") from error


def _no_constant(name: str) -> NoReturn:
    raise InputError(f"a value that JSON cannot carry ({name})")


def _finite(text: str) -> float:
    number = float(text)
    return number if isfinite(number) else _no_constant(text)


def _depth(value: JSON, most: int) -> int:
    """How many levels there are; it looks no deeper than one below `most`."""
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 0 if most < 0 else 1 + max((_depth(one, most - 1) for one in held), default=0)


def _once(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    """An object; a field that is there twice would lose one of its values."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [field for field, _ in pairs]
        twice = next(field for field in names if names.count(field) > 1)
        raise InputError(f"an object has two fields named {shortened(twice)!r}")
    return found


def _csv(name: str, text: str, separator: str | None) -> Iterator[Entry]:
    skip = 0
    if text[:4].lower() == "sep=" and text[5:6] in ("\r", "\n"):  # Excel says so in a line of its own
        separator, skip = text[4], 1
    separator = separator or _separator(text)
    rows = _rows(name, text, separator, skip)
    if separator == "|":
        rows = _of_table(rows)
    line, header = next(rows, (1, []))
    names = [cell.strip() for cell in header]
    if repeated := [field for field in names if field and names.count(field) > 1]:
        raise InputError(f"{name}, line {line}: two columns are named {shortened(repeated[0])!r}")
    for line, cells in rows:
        if len(cells) != len(names):
            hint = "quote a cell that holds a separator or a line break"
            raise InputError(f"{name}, line {line}: {len(cells)} cells under {len(names)} columns; {hint}")
        pairs = zip(names, cells, strict=True)
        yield f"line {line}", _with_json({field: cell for field, cell in pairs if field and cell.strip()})


def _of_table(rows: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    """Rows whose cells are set between bars with spaces, as in Markdown, without the line under the header."""
    for line, cells in rows:
        if not all(re.fullmatch(r"\s*(:?-+:?\s*)?", cell) for cell in cells):
            yield line, [cell.strip() for cell in cells]


def _separator(text: str) -> str:
    """The separator under which the first line has most names that are known, then most columns; a comma else."""

    def fit(separator: str) -> tuple[int, int]:
        try:
            header = next(csv.reader(io.StringIO(text[:100_000], newline=""), delimiter=separator), [])
        except csv.Error:
            return 0, 0
        return sum(folded(cell) in _KNOWN for cell in header), len(header)

    return max((",", ";", "\t", "|"), key=fit)


def _rows(name: str, text: str, separator: str, skip: int) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each with the line on which it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    usual = csv.field_size_limit(MOST_BYTES)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells) and line > skip:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{name}, line {line}: not CSV ({shortened(error)})") from error
    finally:
        csv.field_size_limit(usual)


def _with_json(row: dict[str, str]) -> Mapping[str, JSON]:
    """A row whose input is JSON with the input's own fields, or messages, as tools export it; else the row as it is."""
    field = named(row, ("input", "inputs", "messages", "conversations", "prompt", "request"))
    if field is None or not _OBJECTS.match(row[field]) or (asked := _object(row[field])) is None:
        return row
    if not (is_chat(asked) or (isinstance(asked, Mapping) and _holds_input(field, row[field], asked))):
        return row
    beside = ("outputs", "output", "expected_output", "expected", "reference_outputs", "expectations", "metadata",
              "expected_facts", "guidelines", "reward_model")  # fmt: skip
    told = {name: _object(row[name]) for name in map(lambda one: named(row, (one,)), beside) if name is not None}
    return {**row, field: asked, **{name: value for name, value in told.items() if value is not None}}


def _holds_input(field: str, cell: str, asked: Mapping[str, JSON]) -> bool:
    """Whether an object in a cell holds the input; one of Python's under `input` may be the input itself."""
    is_alone = len(asked) == 1 and (cell.lstrip(" \t\r\n{").startswith('"') or folded(field) == "inputs")
    return is_alone or named(asked, INPUT_FIELDS) is not None


def _object(cell: str) -> JSON:
    """The object or list that a cell holds, as JSON or as Python wrote it, or a text in quotes; None: anything else."""
    if not cell.lstrip().startswith('"'):
        return written_out(cell)
    try:
        return json.loads(cell)
    except ValueError:
        return None
