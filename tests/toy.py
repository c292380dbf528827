"""A tiny tiktoken encoding, made without a network."""

from collections.abc import Sequence

import tiktoken

from tfgrpo.model.tokenizer import Tokenizer, encoding_tokenizer

END = 9_999
"""Id of the special token <|end|>."""


def encoding(words: Sequence[str], name: str = "toy") -> tiktoken.Encoding:
    """Each word is the token of its place; every other byte is a token of its own, from 1,000 on."""
    ranks = {bytes([byte]): 1_000 + byte for byte in range(256)}
    ranks |= {word.encode(): place for place, word in enumerate(words)}
    return tiktoken.Encoding(name, pat_str=r"\w+|\W", mergeable_ranks=ranks, special_tokens={"<|end|>": END})


def tokenizer(words: Sequence[str], name: str = "toy") -> Tokenizer:
    """The same as a Tokenizer."""
    return encoding_tokenizer(encoding(words, name))
