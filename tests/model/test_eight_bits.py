"""SmolLM2's weights with 8 bits each: a file made by hand, and what it is made into."""

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tfgrpo.model.local.eight_bits import eight_bit_blocks, in_eight_bits
from tfgrpo.model.local.model import EIGHT_BITS, FILE, faster, served_name

RANDOM = np.random.default_rng(5)


def text(said: bytes) -> bytes:
    return struct.pack("<Q", len(said)) + said


def four_bit_blocks(count: int) -> NDArray[np.uint8]:
    halves = RANDOM.normal(0, 0.1, (count, 2)).astype("<f2").view(np.uint8)
    return np.concatenate([halves, RANDOM.integers(0, 256, (count, 16), dtype=np.uint8)], axis=1)


def weights(blocks: NDArray[np.uint8], bits: int) -> NDArray[np.float32]:
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    if bits == 8:
        return scale * blocks[:, 2:].view(np.int8).astype(np.float32)
    halves = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    return scale * halves.astype(np.float32) + blocks[:, 2:4].copy().view("<f2").astype(np.float32)


def test_no_weight_moves_by_more_than_half_a_step_of_eight_bits() -> None:
    blocks = four_bit_blocks(500)
    blocks[7] = 0  # a block of nothing but zeros
    before, after = weights(blocks, 4), weights(eight_bit_blocks(blocks), 8)
    allowed = np.abs(before).max(axis=1, keepdims=True) * (1 / 254 + 1 / 1024) + 1e-6  # and what a half rounds off
    assert np.all(np.abs(after - before) <= allowed)
    assert not after[7].any()


def test_all_but_the_four_bit_tensors_is_kept_byte_for_byte(tmp_path: Path) -> None:
    values = [
        text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama"),
        text(b"general.name") + struct.pack("<I", 8) + text("Zwölf".encode()),
        text(b"words") + struct.pack("<IIQ", 9, 8, 2) + text(b"a") + text(b"bc"),
        text(b"sizes") + struct.pack("<IIQ3f", 9, 6, 3, 1, 2, 3),
        text(b"rate") + struct.pack("<Id", 12, 0.5),
    ]
    norm, blocks = RANDOM.normal(size=5).astype("<f4").tobytes(), four_bit_blocks(6)
    head = struct.pack("<4sIQQ", b"GGUF", 3, 2, len(values)) + b"".join(values)
    head += text(b"norm") + struct.pack("<IQIQ", 1, 5, 0, 0) + text(b"matrix") + struct.pack("<IQQIQ", 2, 64, 3, 3, 32)
    source, target = tmp_path / "four.gguf", tmp_path / "eight.gguf"
    source.write_bytes(head.ljust(-(-len(head) // 32) * 32, b"\0") + norm.ljust(32, b"\0") + blocks.tobytes())
    in_eight_bits(source, target)
    made = target.read_bytes()
    assert made.startswith(head[: head.index(text(b"norm"))])
    start = -(-len(head) // 32) * 32
    assert made[len(head) - 12 : len(head)] == struct.pack("<IQ", 8, 32)
    assert made[start : start + 20] == norm
    assert made[start + 32 :].startswith(eight_bit_blocks(blocks).tobytes())
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_that_the_model_is_served_as_it_came_is_said(tmp_path: Path) -> None:
    (tmp_path / "four.gguf").write_bytes(b"GGUF")
    said: list[str] = []
    assert faster(tmp_path / "four.gguf", said.append) == tmp_path / "four.gguf"
    assert ["4-bit weights, as four," in one for one in said] == [True]
    names = [served_name(tmp_path / name) for name in (EIGHT_BITS, FILE)]
    assert names == ["smollm2-135m-instruct", "SmolLM2-135M-Instruct.Q4_1"]  # one family, two models: tokens stay


def test_where_what_makes_the_eight_bits_is_missing_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    monkeypatch.delitem(sys.modules, "tfgrpo.model.local.eight_bits")
    said: list[str] = []
    assert faster(tmp_path / "four.gguf", said.append) == tmp_path / "four.gguf"
    assert ["gguf" in one and "[local]" in one for one in said] == [True]


@pytest.mark.parametrize("content", [b"GGUF", b"GGUF" + bytes(20), b"none at all, but long enough for a head"])
def test_what_is_no_such_file_leaves_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(content)
    with pytest.raises(ValueError):  # whatever it says: the model is served as it came
        in_eight_bits(tmp_path / "broken.gguf", tmp_path / "eight.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["broken.gguf"]
