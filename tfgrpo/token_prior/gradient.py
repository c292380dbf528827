"""The policy that was sampled, from what a server lists of it, and its gradient on a vector of logit biases.

A bias b_v is added to the logit of token v, so at temperature T the sampled policy is

    pi_b(v | s) = exp((l_v(s) + b_v) / T) / Z,        d/db_v log pi_b(y | s) = (1[y = v] - pi_b(v | s)) / T.

Servers report log-probabilities of the K likeliest tokens and of the sampled one, mostly at T = 1 and, llama.cpp for
one, *before* the bias. With x_v the reported log-probability,

    pi_b(v) = exp((x_v + b_v) / T) / (sum over listed u of exp((x_u + b_u) / T) + tail).

The probability outside the list is R = 1 - sum exp(x_u). At T = 1 the tail is R exactly, for unbiased tail tokens. At
T < 1 each unlisted token has x <= x_K, so tail <= R exp(x_K (1/T - 1)): that bound is what is used, and tail / Z bounds
the relative error of every probability. At T > 1 the same expression is a lower bound, and what is used; from above the
tail is bounded by R spread evenly over a whole vocabulary of at most n = VOCABULARY tokens, n^(1 - 1/T) R^(1/T), and
what lies between the two, over Z, bounds the relative error. The mean of that bound over positions is reported, and
above LOOSE_TAIL rollouts go on at T = 1.

The score-function gradient of the expected reward (GRPO's), with an advantage in the place of the reward, is

    g_v = sum_i A_i sum_t (1[y_it = v] - p_it(v)) / T,        p_it = pi_b at position t of rollout i,
    A_i = (r_i - mean of its group) / s,                      s^2 = mean over mixed groups of the variance of their r.

GRPO's s is each group's own. Then a task that is nearly sure, whose s is small, pulls as hard as one that is open, and
biases come to where those pulls balance, which is not where the expected reward is largest: a gain was lost again with
further steps (`docs/benchmarks.md`). Divided by one s for all, g is the gradient of the mean reward times a number.

and the curvature (the Fisher information's diagonal) is h_v = sum p_it(v) (1 - p_it(v)) / T^2 over the same positions,
those of mixed groups. One step of the shrunk natural gradient is b_v += eta g_v / (h_v + lambda), scaled so that the
mean KL divergence of the new policy from the old one, at the positions where it is not already decided, stays under a
limit; |b_v| is capped. The prior changes only between steps: the gradient is that of the policy which was sampled.
Tokens outside the list enter with p = 0: the gradient of such a token is off by less than A_i exp(x_K / T) / Z a
position, where x_K is the last log-probability of the list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..model.tokenizer import is_special
from ..records import Backend, Group, Rollout, TokenTrace
from ..rollouts.group import advantages, group_kind
from ..settings import Settings

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
VOCABULARY = 2**18
"""Tokens that any tokenizer in use has, at most."""
DECIDED = 0.99
"""A position whose likeliest token has more than this probability takes no part in the KL limit."""
LOOSE_TAIL = 0.25
"""Mean bound on the relative error of probabilities from which on rollouts are sampled at T = 1, where it is 0."""


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


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """The answer positions of mixed groups in one step, N in all, with C listed tokens each."""

    tokens: Ints
    """Token ids, shape (N, C); column 0 was sampled; -1 where there is none."""
    probabilities: Floats
    """pi_b of each, shape (N, C)."""
    weights: Floats
    """The rollout's advantage, by what all groups share, shape (N,)."""
    tasks: Ints
    """Index of the task in `Gradient.tasks`, ascending, shape (N,)."""
    tail: float
    """Mean bound on the relative error of `probabilities`, for what is not listed; 0 at T = 1."""
    visits: Floats | None = None
    """How many answers pass each, shape (N,); None: one each."""


@dataclass(frozen=True, slots=True, eq=False)
class Gradient:
    """What one step's rollouts say about V tokens, task by task."""

    tokens: Ints
    """Distinct token ids, ascending, shape (V,)."""
    tasks: tuple[str, ...]
    """Ids of the mixed tasks, J of them."""
    slope: Floats
    """g, shape (J, V), per unit of bias."""
    curvature: Floats
    """h, shape (J, V)."""
    scale: float
    """Factor in (0, 1] that keeps the step within the KL limit."""
    tail: float
    """As in Positions."""


def positions(
    groups: Sequence[Group], bias: Mapping[int, float], frame_temperature: float, backend: Backend, settings: Settings
) -> tuple[Positions, tuple[str, ...]]:
    """The positions of all mixed groups' traced rollouts, and the ids of those groups' tasks."""
    traces: list[TokenTrace] = []
    weights: list[float] = []
    owners: list[int] = []
    tasks: list[str] = []
    spreads: list[float] = []
    for group in groups:
        if group_kind(group) != "mixed":
            continue
        tasks.append(group.task.id)
        spreads.append(float(group.rewards.std()))
        for rollout, weight in zip(group.scored, advantages(group.rewards, divide_by_std=False), strict=True):
            if rollout.trace is not None:
                traces.append(rollout.trace)
                weights.append(float(weight))
                owners.append(len(tasks) - 1)
    tokens, reported, lengths = packed(traces)
    in_force = look_up(tokens, bias)
    probabilities, error = policy(reported, in_force, frame_temperature, backend)
    bound = float(error.mean()) if len(error) else 0.0
    found = Positions(
        tokens,
        probabilities,
        np.repeat(np.array(weights), lengths) / common_spread(spreads, settings),
        np.repeat(np.array(owners, dtype=np.int64), lengths),
        bound,
    )
    return found, tuple(tasks)


def gradient(found: Positions, tasks: tuple[str, ...], special: set[int], temperature: float) -> Gradient:
    """g and h by task, before the KL limit (`scale` 1).

    Task by task, so that besides the result only one task's positions are held, however many there are.
    """
    tokens, columns = token_columns([found.tokens], special)
    slope, curvature = np.zeros((len(tasks), len(tokens))), np.zeros((len(tasks), len(tokens)))
    bounds = np.searchsorted(found.tasks, np.arange(len(tasks) + 1))
    for row, (start, stop) in enumerate(pairwise(bounds.tolist())):
        column = columns[found.tokens[start:stop] + 1].ravel()
        probability, weight = found.probabilities[start:stop], found.weights[start:stop]
        score = -probability * weight[:, None]
        score[:, 0] += weight
        spread = probability * (1.0 - probability)
        slope[row] = np.bincount(column, (score / temperature).ravel(), len(tokens) + 1)[:-1]
        curvature[row] = np.bincount(column, (spread / temperature**2).ravel(), len(tokens) + 1)[:-1]
    return Gradient(tokens, tasks, slope, curvature, 1.0, found.tail)


def token_columns(listed: Sequence[Ints], special: set[int]) -> tuple[Ints, Ints]:
    """Distinct token ids, ascending, shape (V,), and by 1 + id the column of each; V for what has no place there.

    A table over all ids is far faster than sorting the ids listed.
    """
    seen = np.zeros(max((tokens.max(initial=-1) for tokens in listed), default=-1) + 2, dtype=bool)
    for tokens in listed:
        seen[tokens + 1] = True
    seen[[0, *(token + 1 for token in special if token + 1 < len(seen))]] = False
    found = np.flatnonzero(seen) - 1
    return found, np.where(seen, np.cumsum(seen) - 1, len(found))


def common_spread(spreads: Sequence[float], settings: Settings) -> float:
    """s, from the standard deviation of each mixed group's rewards; 1 where nothing is to be divided."""
    return float(np.sqrt(np.mean(np.square(spreads)))) if settings.divide_by_std and len(spreads) else 1.0


def natural_step(slope: Floats, curvature: Floats, settings: Settings) -> Floats:
    """eta g / (h + lambda), any shape."""
    return settings.learning_rate * slope / (curvature + settings.shrinkage)


def within_kl_limit(step: Gradient, found: Positions, temperature: float, settings: Settings) -> Gradient:
    """The gradient with the largest `scale` at which the mean KL(new || old) at undecided positions is in the limit."""
    undecided = found.probabilities.max(axis=1, initial=0.0) < DECIDED
    visits = np.ones(len(undecided)) if found.visits is None else found.visits
    if not visits[undecided].any():
        return step
    move = natural_step(step.slope.sum(axis=0), step.curvature.sum(axis=0), settings) / temperature
    change = look_up(found.tokens[undecided], dict(zip(step.tokens.tolist(), move.tolist(), strict=True)))
    old, weights = found.probabilities[undecided], visits[undecided] / visits[undecided].sum()
    low, high = 0.0, 1.0
    if _mean_kl(old, change, weights) <= settings.kl_limit:
        return step
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if _mean_kl(old, middle * change, weights) <= settings.kl_limit else (low, middle)
    return replace(step, scale=low)


def _mean_kl(old: Floats, change: Floats, weights: Floats) -> float:
    """Mean over rows of KL(new || old), nats, where new is old times exp(change), unlisted tokens unchanged."""
    raised = old * np.exp(change)
    total = raised.sum(axis=1) + np.clip(1.0 - old.sum(axis=1), 0.0, 1.0)
    return float(((raised * change).sum(axis=1) / total - np.log(total)) @ weights)


def step_gradient(
    groups: Sequence[Group], bias: Mapping[int, float], temperature: float, backend: Backend, settings: Settings
) -> Gradient:
    """Everything that one step's rollouts say, given the biases that they were sampled under."""
    found, tasks = positions(groups, bias, temperature, backend, settings)
    special = {token for token, piece in pieces(groups).items() if is_special(piece)}
    return within_kl_limit(gradient(found, tasks, special, temperature), found, temperature, settings)
