"""The embedded model's weights with 8 bits each in place of 4: the same model, read about twice as fast. No download.

llama.cpp reads a prompt by multiplying many tokens at once. It has fast code for that with 8-bit weights (Q8_0), and
none with the 4-bit ones that SmolLM2 comes in (Q4_1). A GGUF file is copied byte for byte but for those. 32 weights are
a block:

    Q4_1: half d, half m, 16 bytes of two q each         w = d q + m     the first 16 weights are the low halves
    Q8_0: half d, 32 signed bytes q                      w = d q         d = max |w| / 127

which moves a weight by at most max |w| / 254, about a sixteenth of what 4 bits already had cost it.
"""

import os
import struct
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

_Q4_1, _Q8_0 = 3, 8
"""Types of tensors, as GGUF numbers them."""
_BLOCK = 32
_BYTES = {_Q4_1: 20, _Q8_0: 34}
"""Of a block."""
_ALIGNED = 32
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value of the file's metadata, by its type."""
_TEXT, _LIST = 8, 9


class _Tensor(NamedTuple):
    name: bytes
    dimensions: tuple[int, ...]
    kind: int
    place: int
    """Where its data begin, after the header."""


def in_eight_bits(source: Path, target: Path) -> None:
    """Write a GGUF file whose 4-bit tensors have 8 bits; it appears under its name only when it is complete.

    Raises OSError where it cannot be written, ValueError for a file that is no such GGUF.
    """
    with TemporaryDirectory(prefix=".8-bits-", dir=target.parent) as folder:
        written = Path(folder) / target.name
        with source.open("rb") as file, written.open("wb") as made:
            _rewrite(file, made)
        os.replace(written, target)


def _rewrite(file: BinaryIO, made: BinaryIO) -> None:
    magic, version, tensors, values = struct.unpack("<4sIQQ", _read(file, 24))
    if magic != b"GGUF" or version != 3:
        raise ValueError(f"not a GGUF file of version 3: {magic!r} {version}")
    for _ in range(values):
        _skip_text(file)
        _skip_value(file, *struct.unpack("<I", _read(file, 4)))
    end = file.tell()
    listed = [_tensor(file) for _ in range(tensors)]
    start, size = _aligned(file.tell()), os.fstat(file.fileno()).st_size
    file.seek(0)
    made.write(_read(file, end))
    ends = sorted([one.place for one in listed] + [size - start])
    data, place = [], 0
    for one in listed:
        file.seek(start + one.place)
        told = _read(file, ends[ends.index(one.place) + 1] - one.place)
        kind = _Q8_0 if one.kind == _Q4_1 else one.kind
        data.append(_eight_bit(one, told) if one.kind == _Q4_1 else told)
        made.write(struct.pack("<Q", len(one.name)) + one.name)
        made.write(struct.pack(f"<I{len(one.dimensions)}QIQ", len(one.dimensions), *one.dimensions, kind, place))
        place = _aligned(place + len(data[-1]))
    for part in data:
        made.write(bytes(_aligned(made.tell()) - made.tell()))
        made.write(part)
    made.write(bytes(_aligned(made.tell()) - made.tell()))


def _eight_bit(tensor: _Tensor, data: bytes) -> bytes:
    blocks = int(np.prod(tensor.dimensions)) // _BLOCK
    return eight_bit_blocks(np.frombuffer(data, np.uint8, blocks * _BYTES[_Q4_1]).reshape(blocks, -1)).tobytes()


def eight_bit_blocks(blocks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blocks of Q4_1, shape (n, 20), as blocks of Q8_0, shape (n, 34)."""
    halves = blocks[:, :4].copy().view("<f2").astype(np.float32)
    packed = blocks[:, 4:]
    weights = halves[:, :1] * np.concatenate([packed & 15, packed >> 4], axis=1).astype(np.float32) + halves[:, 1:]
    scales = np.abs(weights).max(axis=1, keepdims=True) / np.float32(127)
    whole = np.rint(weights / np.where(scales > 0, scales, np.float32(1))).astype(np.int8)
    return np.concatenate([scales.astype("<f2").view(np.uint8), whole.view(np.uint8)], axis=1)


def _tensor(file: BinaryIO) -> _Tensor:
    name = _read(file, struct.unpack("<Q", _read(file, 8))[0])
    (count,) = struct.unpack("<I", _read(file, 4))
    *dimensions, kind, place = struct.unpack(f"<{count}QIQ", _read(file, 8 * count + 12))
    return _Tensor(name, tuple(dimensions), kind, place)


def _skip_value(file: BinaryIO, kind: int) -> None:
    if kind == _TEXT:
        _skip_text(file)
    elif kind == _LIST:
        inner, count = struct.unpack("<IQ", _read(file, 12))
        if inner in _SIZES:
            file.seek(count * _SIZES[inner], os.SEEK_CUR)
            return
        for _ in range(count):
            _skip_value(file, inner)
    elif kind in _SIZES:
        file.seek(_SIZES[kind], os.SEEK_CUR)
    else:
        raise ValueError(f"a value of an unknown type, {kind}")


def _skip_text(file: BinaryIO) -> None:
    file.seek(struct.unpack("<Q", _read(file, 8))[0], os.SEEK_CUR)


def _read(file: BinaryIO, count: int) -> bytes:
    found = file.read(count)
    if len(found) != count:
        raise ValueError("the file ends early")
    return found


def _aligned(place: int) -> int:
    return -(-place // _ALIGNED) * _ALIGNED
