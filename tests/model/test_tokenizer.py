"""Ids of tokens that a server names by text alone, without a network."""

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiktoken
import tokenizers

from tests import toy
from tests.tables import each
from tfgrpo.errors import InputError
from tfgrpo.model.replies import parse_trace
from tfgrpo.model.tokenizer import (
    TELLING_TEXT,
    Tokenizer,
    encoding_name,
    file_tokenizer,
    fingerprint,
    tiktoken_tokenizer,
)

TOY = toy.tokenizer(("The", "billing", "naïve"))


def test_a_token_is_known_by_its_bytes() -> None:
    assert [TOY.id_of(piece) for piece in (b"The", "naïve".encode(), b"\xc3", b"nothing", b"")] == [
        0,
        2,
        1_000 + 0xC3,
        None,
        None,
    ]
    assert [TOY.piece_of(token) for token in TOY.encode("The billing")] == [b"The", b" ", b"billing"]


def test_a_special_token_has_no_id_and_its_spelling_is_ordinary_text() -> None:
    assert TOY.id_of(b"<|end|>") is None
    assert toy.END not in TOY.encode("The<|end|>")


@pytest.mark.parametrize(
    ("model", "name"),
    [("gpt-4.1-mini", "o200k_base"), ("gpt-3.5-turbo", "cl100k_base"), ("SmolLM2", None), ("openai/gpt-4o", None)],
)
def test_which_models_are_openais_is_known_without_a_network(model: str, name: str | None) -> None:
    assert encoding_name(model) == name


def unreachable(name: str) -> tiktoken.Encoding:
    raise ConnectionError("no route to host")


def cut_off(name: str) -> tiktoken.Encoding:
    raise ValueError("Hash mismatch")


def hangs(name: str) -> tiktoken.Encoding:
    threading.Event().wait()
    raise AssertionError("never reached")


@pytest.mark.parametrize(
    ("get", "why"),
    [(unreachable, "ConnectionError"), (cut_off, "ValueError"), (hangs, "no answer within 0.01 s")],
)
def test_an_encoding_that_cannot_be_fetched_says_what_to_set(
    get: Callable[[str], tiktoken.Encoding], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiktoken, "get_encoding", get)
    with pytest.raises(InputError, match="o200k_base cannot be fetched") as caught:
        tiktoken_tokenizer("o200k_base", seconds=0.01 if get is hangs else 60.0)
    assert why in str(caught.value)
    assert "TIKTOKEN_CACHE_DIR" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_encoding_carries_its_name_as_its_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: toy.encoding(("a",), name))
    assert tiktoken_tokenizer("o200k_base").fingerprint == "tiktoken:o200k_base"


# tokenizer.json


def byte_level(path: Path) -> Path:
    """As GPT-2's and its heirs' are."""
    trained = tokenizers.Tokenizer(tokenizers.models.BPE())
    trained.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400,
        show_progress=False,
        special_tokens=["<|im_end|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )
    trained.train_from_iterator(["the billing queue naïve"] * 5, trainer)
    trained.save(str(path))
    return path


def sentence_piece(path: Path) -> Path:
    """As Llama 2's is: spaces as U+2581, bytes outside the alphabet by name."""
    vocabulary = {"<unk>": 0, "</s>": 1, "<0x0A>": 2, "<0x41>": 3, "A": 4, "\u2581A": 5, "\u2581": 6, "é": 7}
    made = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocabulary, [("\u2581", "A")], unk_token="<unk>", byte_fallback=True)
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(prepend_scheme="never")
    made.add_special_tokens(["<unk>", "</s>"])
    made.save(str(path))
    return path


def test_a_byte_level_tokenizer_is_read_byte_by_byte(tmp_path: Path) -> None:
    read = file_tokenizer(byte_level(tmp_path / "tokenizer.json"))
    for text in ("the billing queue", "naïve", " \n\x00é 你好"):
        ids = read.encode(text)
        assert b"".join(read.piece_of(token) for token in ids) == text.encode()
        assert [read.id_of(read.piece_of(token)) for token in ids] == list(ids)
    assert len(read.encode(" billing")) == 1
    assert read.id_of(b"\xc3") is not None
    assert read.id_of(b"never one token") is None


def test_a_sentence_piece_tokenizer_is_read_with_its_spaces_and_bytes(tmp_path: Path) -> None:
    read = file_tokenizer(sentence_piece(tmp_path / "tokenizer.json"))
    assert [read.id_of(piece) for piece in (b" A", b"A", b"\n", "é".encode(), b" ")] == [5, 4, 2, 7, 6]
    assert [read.piece_of(token) for token in read.encode("A A\n")] == [b"A", b" A", b"\n"]
    assert [read.piece_of(token) for token in read.encode("B")] == [b""], "a token for what is unknown"


@pytest.mark.parametrize(("make", "special"), [(byte_level, "<|im_end|>"), (sentence_piece, "</s>")])
def test_a_special_token_of_a_file_never_enters(tmp_path: Path, make: Callable[[Path], Path], special: str) -> None:
    read = file_tokenizer(make(tmp_path / "tokenizer.json"))
    assert read.id_of(special.encode()) is None
    whole = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert whole.token_to_id(special) in whole.encode(f"A{special}").ids
    assert whole.token_to_id(special) not in read.encode(f"A{special}")


def test_a_file_has_the_fingerprint_of_a_server_that_tokenizes_alike(tmp_path: Path) -> None:
    path = byte_level(tmp_path / "tokenizer.json")
    ids = tokenizers.Tokenizer.from_file(str(path)).encode(TELLING_TEXT).ids
    assert file_tokenizer(path).fingerprint == fingerprint(ids)
    assert file_tokenizer(path).fingerprint != file_tokenizer(sentence_piece(tmp_path / "other.json")).fingerprint


@pytest.mark.parametrize("content", [b"", b"{}", b"[1, 2]", b"\xff\xfe", None], ids=repr)
def test_a_file_that_is_none_is_a_clear_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"tokenizer\.json") as caught:
        file_tokenizer(path)
    assert "\n" not in str(caught.value)


def test_without_the_library_a_file_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = byte_level(tmp_path / "tokenizer.json")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match=r"extra `tokenizer`: .*pip install .*\[tokenizer\]'"):
        file_tokenizer(path)


# Log-probabilities


def listed(text: str, logprob: object = -0.5, **more: object) -> dict[str, Any]:
    return {"token": text, "bytes": list(text.encode()), "logprob": logprob, **more}


def trace_ids(*entries: object, tokenizer: Tokenizer | None = TOY) -> list[list[int]] | None:
    trace = parse_trace(json.loads(json.dumps(entries)), tokenizer.id_of if tokenizer else None)
    return None if trace is None else trace.ids.tolist()


def test_tokens_without_ids_are_told_by_their_bytes() -> None:
    entry = listed("The", top_logprobs=[listed("The"), listed("billing", -2.0)])
    assert trace_ids(entry) == [[0, 1]]
    assert trace_ids(entry, tokenizer=None) is None


def test_the_servers_own_ids_come_first() -> None:
    assert trace_ids(listed("The", id=77)) == [[77]]


@each(
    "bad",
    [
        listed("nothing"),
        listed("<|end|>"),
        listed("The", None),
        listed("The", float("nan")),
        {"token": "", "bytes": None, "logprob": -1.0},
        {"logprob": -1.0},
        None,
        "The",
    ],
)
def test_a_token_that_cannot_be_told_is_left_out_and_with_it_its_position(bad: object) -> None:
    assert trace_ids(bad) is None
    assert trace_ids(bad, listed("billing", top_logprobs=[bad, listed("naïve")])) == [[1, 2]]


def test_tokens_without_bytes_are_told_by_their_text() -> None:
    assert trace_ids({"token": "billing", "bytes": None, "logprob": -1.0}) == [[1]]
    assert trace_ids({"token": "x", "bytes": [0xC3], "logprob": -1.0}) == [[1_000 + 0xC3]]
