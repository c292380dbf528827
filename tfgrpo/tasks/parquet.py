"""Parquet files, by pyarrow where it is installed; labels by their names where Hugging Face's metadata has them."""

import io
import json
from collections.abc import Iterator, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from importlib import import_module
from typing import Any
from uuid import UUID

from ..errors import InputError
from ..extras import install_hint
from ..records import JSON
from ..text import shortened
from .containers import with_labels

MOST_ROWS = 100_000


def parquet_entries(name: str, raw: bytes) -> Iterator[tuple[str, JSON]]:
    """The rows of a Parquet file; InputError for one that cannot be read, and without pyarrow."""
    try:
        pyarrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise InputError(f"{name} is Parquet, which needs pyarrow: {install_hint('parquet')}") from error
    try:
        file = parquet.ParquetFile(io.BytesIO(raw))
        names = _label_names(file.schema_arrow.metadata or {})
        if file.metadata.num_rows > MOST_ROWS:
            raise InputError(
                f"{name} has {file.metadata.num_rows:,} rows; at most {MOST_ROWS:,} are read: take a sample"
            )
        rows = [row for batch in file.iter_batches(1000) for row in batch.to_pylist()]
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{name}: not readable as Parquet ({shortened(error)})") from error
    return (
        (f"row {number}", with_labels({field: _json(held) for field, held in row.items()}, names))
        for number, row in enumerate(rows, 1)
    )


def _json(value: Any) -> JSON:
    """What Parquet holds and JSON does not, as text; bytes stay, for they may be an image's, unless they are text."""
    if isinstance(value, dict):
        return {name: held if isinstance(held, bytes) else _json(held) for name, held in value.items()}
    if isinstance(value, list):
        return [_json(held) for held in value]
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, timedelta | Decimal | UUID):
        return str(value)
    return _text(value) if isinstance(value, bytes) else value


def _text(value: bytes) -> JSON:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _label_names(metadata: Mapping[bytes, bytes]) -> Mapping[str, list[str]]:
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return {field: told["names"] for field, told in features.items() if told.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
