"""What one step's rollouts say about each token: the policy gradient of GRPO, on a vector of logit biases.

A bias b_v is added to the logit of token v, so at temperature T the sampled policy is

    pi_b(v | s) = exp((l_v(s) + b_v) / T) / Z,        d/db_v log pi_b(y | s) = (1[y = v] - pi_b(v | s)) / T.

The score-function gradient of the expected reward, with the group's advantage A_i in the place of the reward, is

    g_v = sum_i A_i sum_t (1[y_it = v] - p_it(v)) / T,        p_it = pi_b at position t of rollout i,

and the curvature (the Fisher information's diagonal) is h_v = sum p_it(v) (1 - p_it(v)) / T^2 over the same positions,
those of mixed groups. One step of the shrunk natural gradient is b_v += eta g_v / (h_v + lambda), scaled so that the
mean KL divergence of the new policy from the old one, at the positions where it is not already decided, stays under a
limit; |b_v| is capped. The prior changes only between steps: the gradient is that of the policy which was sampled.
Requests carry the strongest biases only (`bias_entries`); the iterate behind them moves every listed token.

`policy` says what p_it is known from, and how far it may be off: the mean of that bound over positions is reported, and
above LOOSE_TAIL rollouts go on at T = 1. Tokens outside the list enter with p = 0: the gradient of such a token is off
by less than A_i exp(x_K / T) / Z a position, where x_K is the last log-probability of the list. `path` follows the
steps, and says which tokens survive.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ..records import Backend, Group, TokenTrace
from ..rollouts.advantage import advantages, group_kind
from ..settings import Settings
from .policy import Floats, Ints, is_special, look_up, packed, pieces, policy

DECIDED = 0.99
"""A position whose likeliest token has more than this probability takes no part in the KL limit."""
LOOSE_TAIL = 0.25
"""Mean bound on the relative error of probabilities from which on rollouts are sampled at T = 1, where it is 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """The answer positions of mixed groups in one step, N in all, with C listed tokens each."""

    tokens: Ints
    """Token ids, shape (N, C); column 0 was sampled; -1 where there is none."""
    probabilities: Floats
    """pi_b of each, shape (N, C)."""
    weights: Floats
    """The rollout's advantage, shape (N,)."""
    tasks: Ints
    """Index of the task in `Gradient.tasks`, ascending, shape (N,)."""
    tail: float
    """Mean bound on the relative error of `probabilities`, for what is not listed; 0 at T = 1."""


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
    for group in groups:
        if group_kind(group) != "mixed":
            continue
        tasks.append(group.task.id)
        advantage = advantages(group.rewards, divide_by_std=settings.divide_by_std)
        for rollout, weight in zip(group.scored, advantage, strict=True):
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
        np.repeat(np.array(weights), lengths),
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


def natural_step(slope: Floats, curvature: Floats, settings: Settings) -> Floats:
    """eta g / (h + lambda), any shape."""
    return settings.learning_rate * slope / (curvature + settings.shrinkage)


def within_kl_limit(step: Gradient, found: Positions, temperature: float, settings: Settings) -> Gradient:
    """The gradient with the largest `scale` at which the mean KL(new || old) at undecided positions is in the limit."""
    undecided = found.probabilities.max(axis=1, initial=0.0) < DECIDED
    if not undecided.any():
        return step
    move = natural_step(step.slope.sum(axis=0), step.curvature.sum(axis=0), settings) / temperature
    change = look_up(found.tokens[undecided], dict(zip(step.tokens.tolist(), move.tolist(), strict=True)))
    old = found.probabilities[undecided]
    low, high = 0.0, 1.0
    if _mean_kl(old, change) <= settings.kl_limit:
        return step
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if _mean_kl(old, middle * change) <= settings.kl_limit else (low, middle)
    return replace(step, scale=low)


def _mean_kl(old: Floats, change: Floats) -> float:
    """Mean over rows of KL(new || old), nats, where new is old times exp(change), unlisted tokens unchanged."""
    raised = old * np.exp(change)
    total = raised.sum(axis=1) + np.clip(1.0 - old.sum(axis=1), 0.0, 1.0)
    return float(((raised * change).sum(axis=1) / total - np.log(total)).mean())


def step_gradient(
    groups: Sequence[Group], bias: Mapping[int, float], temperature: float, backend: Backend, settings: Settings
) -> Gradient:
    """Everything that one step's rollouts say, given the biases that they were sampled under."""
    found, tasks = positions(groups, bias, temperature, backend, settings)
    special = {token for token, piece in pieces(groups).items() if is_special(piece)}
    return within_kl_limit(gradient(found, tasks, special, temperature), found, temperature, settings)
