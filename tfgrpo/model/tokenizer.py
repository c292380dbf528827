"""Tokens by their bytes: a tokenizer on this machine (tiktoken, or a `tokenizer.json`) for servers that name tokens by
text alone, and the bytes of those that a server names by their ids alone (vLLM's `token_id:5`), asked for once each.

Special tokens never enter: neither is text that spells one read as one, nor has its spelling an id.
"""

import asyncio
import re
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ..errors import InputError, ModelError
from ..extras import install_hint
from ..hashing import content_id
from ..records import JSON, CallKey, Reply
from ..text import shortened

if TYPE_CHECKING:
    from tiktoken import Encoding
    from tokenizers import Tokenizer as FileTokenizer


TELLING_TEXT = (
    "Tokenizers split THIS text, naïve façade, 你好 \U0001f642, 12345.678 and\n\tindentation, in their own way."
)
"""A text whose token ids tell tokenizers apart."""
FETCH_SECONDS = 20.0
"""How long tiktoken may take to have an encoding; behind a firewall that drops packets it would try for minutes."""

TokenId: TypeAlias = Callable[[bytes], int | None]
"""The id of the one token with these bytes; None where there is none."""


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Text to token ids, and the bytes of single tokens to theirs and back."""

    fingerprint: str
    encode: Callable[[str], Sequence[int]]
    """The ids of a text, without those that begin or end one."""
    id_of: TokenId
    piece_of: Callable[[int], bytes]
    """The bytes of an id that `encode` or `id_of` gave; none for a token that stands for no text."""


def fingerprint(ids: Sequence[int]) -> str:
    """The fingerprint of the tokenizer that gives TELLING_TEXT these ids."""
    return content_id("tokenizer", list(ids))


def encoding_name(model: str) -> str | None:
    """The name of tiktoken's encoding for a model of OpenAI's; None for any other. Needs no network."""
    import tiktoken

    try:
        return tiktoken.encoding_name_for_model(model)
    except KeyError:
        return None


def tiktoken_fingerprint(name: str) -> str:
    """The fingerprint of one of tiktoken's encodings, which is known where its ranks are not."""
    return f"tiktoken:{name}"


def tiktoken_tokenizer(name: str, seconds: float = FETCH_SECONDS) -> Tokenizer:
    """One of tiktoken's encodings, fetched at first use into TIKTOKEN_CACHE_DIR or a temporary folder.

    Raises InputError, saying what to set, where it cannot be had in that time. Blocks: call it in a thread.
    """
    import tiktoken

    return encoding_tokenizer(_within(seconds, lambda: tiktoken.get_encoding(name), f"tiktoken's {name}"))


def encoding_tokenizer(encoding: "Encoding") -> Tokenizer:
    """An encoding of tiktoken's as a Tokenizer."""
    special = {word.encode() for word in encoding.special_tokens_set}

    def id_of(piece: bytes) -> int | None:
        try:
            return None if piece in special else encoding.encode_single_token(piece)
        except KeyError:
            return None

    return Tokenizer(
        tiktoken_fingerprint(encoding.name), encoding.encode_ordinary, id_of, encoding.decode_single_token_bytes
    )


def _within(seconds: float, fetch: "Callable[[], Encoding]", what: str) -> "Encoding":
    """What `fetch` returns; in a daemon thread, so that one that hangs keeps neither the run nor its end waiting."""
    found: list[Encoding] = []
    failures: list[Exception] = []

    def work() -> None:
        try:
            found.append(fetch())
        except (OSError, ValueError) as error:  # no network, no such cache folder, a file that was cut off
            failures.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if found:
        return found[0]
    why = type(failures[0]).__name__ if failures else f"no answer within {seconds:g} s"
    raise InputError(
        f"{what} cannot be fetched ({why}); set TIKTOKEN_CACHE_DIR to a tiktoken cache from a machine that is online,"
        " or give --tokenizer FILE"
    )


def file_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer in a `tokenizer.json`, as Hugging Face publishes them; raises InputError where it cannot be read.

    Needs the extra `tfgrpo[tokenizer]`. Its fingerprint is that of a server that tokenizes alike.
    """
    text = _read(path)
    loaded = _loaded(path, text)
    special = {token for token, added in loaded.get_added_tokens_decoder().items() if added.special}
    words = {word: token for word, token in loaded.get_vocab().items() if token not in special}
    letters = _byte_letters() if '"ByteLevel"' in text else {}
    pieces: dict[int, bytes] = {}
    ids: dict[bytes, int] = {}
    for word in sorted(words, key=lambda word: (_BYTE.fullmatch(word) is not None, words[word])):
        pieces[words[word]] = piece = _piece(word, letters)
        ids.setdefault(piece, words[word])

    def encode(given: str) -> list[int]:
        return loaded.encode(given, add_special_tokens=False).ids

    return Tokenizer(fingerprint(encode(TELLING_TEXT)), encode, ids.get, lambda token: pieces.get(token, b""))


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no tokenizer.json: not UTF-8") from error


def _loaded(path: str | Path, text: str) -> "FileTokenizer":
    try:
        from tokenizers import Tokenizer as FileTokenizer
    except ImportError:
        raise InputError(f"--tokenizer needs the extra `tokenizer`: {install_hint('tokenizer')}") from None
    try:
        loaded = FileTokenizer.from_str(text)
    except Exception as error:  # the library raises this very class
        raise InputError(f"{path} is no tokenizer.json: {shortened(error)}") from error
    loaded.encode_special_tokens = True  # as ordinary text
    return loaded


_BYTE = re.compile("<0x([0-9A-Fa-f]{2})>")


def _piece(word: str, letters: Mapping[str, int]) -> bytes:
    """The bytes of an entry of the vocabulary, by either of the two spellings in use.

    Byte-level BPE (GPT-2's) writes each byte as one of `letters`. SentencePiece, which has none, writes a space as
    U+2581, and bytes outside its alphabet as <0x0A>.
    """
    if letters:
        return bytes(letters[letter] for letter in word) if letters.keys() >= set(word) else word.encode()
    byte = _BYTE.fullmatch(word)
    return bytes([int(byte[1], 16)]) if byte else word.replace("\u2581", " ").encode()


def _byte_letters() -> dict[str, int]:
    """GPT-2's printable character of each byte: itself where it is one, else the next from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + place): byte for place, byte in enumerate(others)}


_END = re.compile(rb"</s>|<eos>|<\|[^|]*\|>|<end_of_turn>")
"""How control tokens that end an answer are written."""
NAMED_BY_ID = re.compile(rb"token_id:(\d{1,9})$")
"""How vLLM names tokens where it is asked to name them by their ids."""
_AT_ONCE = 16

Ask = Callable[[str, JSON, CallKey], Awaitable[JSON]]
"""A POST to a path at the server's root: the JSON answer, or None."""


class TokenNames:
    """What the tokens of one upstream stand for, as far as it was asked.

    A token whose text cannot be had has none, as control tokens have; it enters no token prior.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask, self._slots = ask, asyncio.Semaphore(_AT_ONCE)
        self._known: dict[int, asyncio.Task[bytes]] = {}

    async def named(self, reply: Reply, run: str) -> Reply:
        """The reply with the bytes of all its tokens."""
        unnamed = (
            [
                token
                for token, piece in reply.trace.pieces.items()
                if piece[:9] == b"token_id:" and NAMED_BY_ID.match(piece)
            ]
            if reply.trace
            else []
        )
        if not reply.trace or not unnamed:
            return reply
        for token in unnamed:
            if token not in self._known:
                self._known[token] = asyncio.create_task(self._piece(token, run))
        found = {token: await self._known[token] for token in unnamed}
        return replace(reply, trace=replace(reply.trace, pieces={**reply.trace.pieces, **found}))

    async def _piece(self, token: int, run: str) -> bytes:
        async with self._slots:
            try:
                answer = await self._ask("/detokenize", {"tokens": [token]}, CallKey(run, "detokenize", sample=token))
            except ModelError:
                return b""
        text = answer.get("prompt") if isinstance(answer, Mapping) else None
        return text.encode(errors="replace") if isinstance(text, str) else b""


def ends_answer(piece: bytes) -> bool:
    """Whether a token is one that ends an answer, by its bytes; llama.cpp shows none."""
    return not piece or (piece[:1] == b"<" and _END.fullmatch(piece) is not None)


def is_special(piece: bytes) -> bool:
    """Control tokens (end of turn, padding, ...) render as nothing or as <...>; they never enter a token prior."""
    text = piece.strip()
    return not piece or (text.startswith(b"<") and text.endswith(b">") and len(text) > 2)
