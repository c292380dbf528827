"""The policy that was sampled: its probabilities, from what a server lists of it.

A bias b_v is added to the logit of token v, so at temperature T the sampled policy is

    pi_b(v | s) = exp((l_v(s) + b_v) / T) / Z.

Servers report log-probabilities of the K likeliest tokens and of the sampled one, mostly at T = 1 and, llama.cpp for
one, *before* the bias. With x_v the reported log-probability,

    pi_b(v) = exp((x_v + b_v) / T) / (sum over listed u of exp((x_u + b_u) / T) + tail).

The probability outside the list is R = 1 - sum exp(x_u). At T = 1 the tail is R exactly, for unbiased tail tokens. At
T < 1 each unlisted token has x <= x_K, so tail <= R exp(x_K (1/T - 1)): that bound is what is used, and tail / Z bounds
the relative error of every probability. At T > 1 the same expression is a lower bound, and what is used; from above the
tail is bounded by R spread evenly over a whole vocabulary of at most n = VOCABULARY tokens, n^(1 - 1/T) R^(1/T), and
what lies between the two, over Z, bounds the relative error.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..records import Backend, Group, Rollout, TokenTrace

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
VOCABULARY = 2**18
"""Tokens that any tokenizer in use has, at most."""


def policy(reported: Floats, bias: Floats, temperature: float, backend: Backend) -> tuple[Floats, Floats]:
    """pi_b of the listed tokens, shape (N, C), and the bound on their relative error at each position, shape (N,).

    `reported` are log-probabilities, the sampled token's first, with -inf where there is none; `bias` the biases that
    were in force; both (N, C).
    """
    inverse = 1.0 if backend.includes_temperature else 1.0 / temperature
    rest = np.clip(1.0 - np.exp(reported).sum(axis=1), 0.0, 1.0)
    others = reported[:, 1:]  # the sampled token may be less likely than tokens that are not listed: it bounds nothing
    least = np.where(np.isfinite(others), others, 0.0).min(axis=1, initial=0.0)
    tail, unknown = unlisted(rest, least, inverse)
    weights = np.exp(reported * inverse + (0.0 if backend.includes_bias else 1.0) * bias / temperature)
    total = weights.sum(axis=1) + tail
    return weights / total[:, None], unknown / total


def unlisted(rest: Floats, least: Floats, inverse: float) -> tuple[Floats, Floats]:
    """The tail's weight that is used, and by how much it may be off: below it at T < 1, above it at T > 1; shapes (N,).

    `rest` is the probability outside the lists, `least` the last log-probability of each, `inverse` 1 / T.
    """
    tail = rest * np.exp(least * (inverse - 1.0))
    return tail, tail if inverse > 1 else np.maximum(VOCABULARY ** (1.0 - inverse) * rest**inverse - tail, 0.0)


def is_special(piece: bytes) -> bool:
    """Control tokens (end of turn, padding, ...) render as nothing or as <...>; they never enter a token prior."""
    text = piece.strip()
    return not piece or (text.startswith(b"<") and text.endswith(b">") and len(text) > 2)


def is_whole(rollout: Rollout) -> bool:
    """Whether every token of an answer has a log-probability, the one that ended it included.

    It ends with a control token, or was cut off; of other answers the chance of ending there is not known.
    """
    trace = rollout.trace
    if trace is None or not len(trace.ids) or len(trace.ids) < rollout.usage.completion_tokens:
        return False
    ended = rollout.finish_reason == "length" or is_special(trace.pieces.get(int(trace.ids[-1, 0]), b"?"))
    return ended and bool(np.isfinite(trace.logprobs[:, 0]).all())


def packed(traces: Sequence[TokenTrace]) -> tuple[Ints, Floats, Ints]:
    """Token ids and reported log-probabilities of all positions, shapes (N, C), and each trace's number of them.

    Column 0 was sampled; -1 and -inf where there is no token.
    """
    lengths = np.array([len(trace.ids) for trace in traces], dtype=np.int64)
    width = max((trace.ids.shape[1] for trace in traces), default=1)
    tokens = np.full((int(lengths.sum()), width), -1, dtype=np.int64)
    reported = np.full(tokens.shape, -np.inf)
    start = 0
    for trace in traces:
        stop = start + len(trace.ids)
        tokens[start:stop, : trace.ids.shape[1]] = trace.ids
        reported[start:stop, : trace.ids.shape[1]] = trace.logprobs
        start = stop
    return tokens, reported, lengths


def look_up(tokens: Ints, values: Mapping[int, float]) -> Floats:
    """The value of each token, 0 where there is none; same shape as `tokens`."""
    if not values:
        return np.zeros(tokens.shape)
    known = np.array(sorted(values), dtype=np.int64)
    table = np.array([values[int(token)] for token in known])
    place = np.clip(np.searchsorted(known, tokens), 0, len(known) - 1)
    return np.where(known[place] == tokens, table[place], 0.0)


def pieces(groups: Sequence[Group]) -> dict[int, bytes]:
    """The bytes of every token that was listed."""
    known: dict[int, bytes] = {}
    for group in groups:
        for rollout in group.rollouts:
            if rollout.trace is not None:
                known.update(rollout.trace.pieces)
    return known
