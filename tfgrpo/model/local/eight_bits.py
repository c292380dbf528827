"""The embedded model's weights with 8 bits each in place of 4: the same model, read about twice as fast. No download.

llama.cpp reads a prompt by multiplying many tokens at once. It has fast code for that with 8-bit weights (Q8_0), and
none with the 4-bit ones that SmolLM2 comes in (Q4_1). A GGUF file is copied, all but those as it is. 32 weights are a
block:

    Q4_1: half d, half m, 16 bytes of two q each         w = d q + m     the first 16 weights are the low halves
    Q8_0: half d, 32 signed bytes q                      w = d q         d = max |w| / 127

which moves a weight by at most max |w| / 254, about a sixteenth of what 4 bits already had cost it.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, ReaderTensor
from numpy.typing import NDArray

_Q4_1_BYTES = 20
"""Of a block."""


def in_eight_bits(source: Path, target: Path) -> None:
    """Write a GGUF file whose 4-bit tensors have 8 bits; it appears under its name only when it is complete.

    Raises OSError where it cannot be written, ValueError for a file that is no such GGUF.
    """
    try:
        read = GGUFReader(source)
        model = read.fields["general.architecture"].contents()
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError(f"no whole GGUF file: {error}") from error
    with TemporaryDirectory(prefix=".8-bits-", dir=target.parent) as folder:
        written = Path(folder) / target.name
        _write(read, GGUFWriter(written, model))
        os.replace(written, target)


def _write(read: GGUFReader, made: GGUFWriter) -> None:
    for name, value in read.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":  # which the writer has put there
            inner = value.types[-1] if value.types[0] == GGUFValueType.ARRAY else None
            made.add_key_value(name, value.contents(), value.types[0], inner)
    for tensor in read.tensors:
        _add(made, tensor)
    made.write_header_to_file()
    made.write_kv_data_to_file()
    made.write_tensors_to_file()
    made.close()


def _add(made: GGUFWriter, tensor: ReaderTensor) -> None:
    kind, data = tensor.tensor_type, tensor.data
    if kind == GGMLQuantizationType.Q4_1:
        data = eight_bit_blocks(data.reshape(-1, _Q4_1_BYTES)).reshape(*data.shape[:-1], -1)
        kind = GGMLQuantizationType.Q8_0
    made.add_tensor(tensor.name, data, raw_dtype=kind)


def eight_bit_blocks(blocks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blocks of Q4_1, shape (n, 20), as blocks of Q8_0, shape (n, 34)."""
    halves = blocks[:, :4].copy().view("<f2").astype(np.float32)
    packed = blocks[:, 4:]
    weights = halves[:, :1] * np.concatenate([packed & 15, packed >> 4], axis=1).astype(np.float32) + halves[:, 1:]
    scales = np.abs(weights).max(axis=1, keepdims=True) / np.float32(127)
    whole = np.rint(weights / np.where(scales > 0, scales, np.float32(1))).astype(np.int8)
    return np.concatenate([scales.astype("<f2").view(np.uint8), whole.view(np.uint8)], axis=1)
