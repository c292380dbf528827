"""The race of variants: which whole way to prompt is the best, from rollouts that were made anyway. Pure.

How the loop uses it:

    arms = (ids of the variants, the frozen one among them); share = None
    for each step:
        for tasks in rounds(ids of the step's tasks, 2, seed=..., step=...):
            deal = dealt(arms, share, seed=..., step=..., tasks=tasks, size=group_size)
            # rollout `sample` of `task` is made under the variant deal[task][sample], kept as Rollout.variant
            table = standings(all groups so far, arms)
            share = shares(table, arms)
        if it is not the last step:
            arms = survivors(table, frozen=id, step=step)  # what leaves never comes back
            share = shares(table, arms)
    winner(table, tokens)                                  # chance_of_overtaking(table) says whether to go on

An arm is a column of the regression of `credit.py`, jointly with the experiences that rollouts were shown:

    r_gi - mean_g = sum_a beta_a (z_gia - mean_g z_a) + sum_k gamma_k (x_gik - mean_g x_k) + noise
    beta_a ~ N(m_a, tau^2)      gamma_k ~ N(0, effect_scale^2)

With X (n, K) the centred columns, y the centred rewards, P the diagonal of inverse prior variances, s2 the variance
within groups that the columns leave unexplained, and m what was known of the arms before (0 of most),

    M = X'X / s2 + P      mean = M^-1 (X'y / s2 + P m)      covariance = D C M^-1 C D

C takes what is common to all arms away (only differences are seen), and the diagonal D widens an arm's standard
deviation to that of the sandwich clustered by task, where that is larger (`credit.py` has its formula and source). tau
is estimated along (empirical Bayes, by expectation maximisation): whole variants differ by nothing on one set of tasks
and by fifty points on another. `benchmarks/race.py` prints how often the right arm wins.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ..hashing import derive_seed
from ..records import Group
from .credit import FEWEST_TASKS, ROUNDING, Sums, gather, made_with

AS_GOOD = 0.01
"""Arms whose expected rewards differ by no more than one point are as good as each other."""
_SCALE, _SCALE_WEIGHT = 0.15, 2.0
"""tau before any evidence, in reward units, and how many arms that counts for."""
_ITERATIONS = 8
"""Of expectation maximisation for tau and s2."""
_DRAWS = 4_096
"""From the joint posterior; a chance is known to within 0.016."""

_LEAST, _FLATTER = 0.005, 0.7
"""Of the simulated rules for sharing that did equally well, the simplest; see `benchmarks/race.py`."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What one arm of a race is worth, as of the rollouts so far."""

    arm: str
    """Id of the variant."""
    mean: float
    """Posterior mean of its expected reward less the average of the arms'."""
    sd: float
    """Standard deviation of that."""
    reward: float
    """Expected reward: the mean over the tasks seen, had all their rollouts been made under this arm, with what they
    were shown besides; without what is part of another arm. In [0, 1], as rewards are, which a sum may exceed."""
    best: float
    """P(it is the best of the arms)."""
    near: float
    """P(it is within one point of the best)."""
    rollouts: int
    """Scored rollouts that were made under it."""


@dataclass(frozen=True, slots=True)
class Winner:
    """The arm that a race ends with, and why, in a sentence for people."""

    arm: str
    why: str


def standings(
    groups: Sequence[Group],
    arms: Collection[str],
    *,
    effect_scale: float = 0.15,
    known: Mapping[str, float] = MappingProxyType({}),
    parts: Collection[str] = (),
) -> tuple[Standing, ...]:
    """How the arms stand, the best first, by all rollouts so far; `known` is what they are expected to add (m).

    `parts` are experiences that belong to some arm: the other arms are told as they would be without them.
    Arms that left explain rollouts too, and nothing is said of them. Rollouts that failed for the upstream's sake are
    left out, but for those of an arm that loses more than chance allows: they earned nothing. Without evidence all arms
    stand alike.
    """
    raced = {rollout.variant for group in groups for rollout in group.scored if rollout.variant} | set(arms)
    sums = gather(groups, made_with, arms)
    return ranked(sums, arms, raced, effect_scale=effect_scale, known=known, parts=parts)


def ranked(
    sums: Sums,
    arms: Collection[str],
    raced: Collection[str],
    *,
    effect_scale: float = 0.15,
    known: Mapping[str, float] = MappingProxyType({}),
    parts: Collection[str] = (),
) -> tuple[Standing, ...]:
    """`standings` from sums; `raced` are the columns that are arms, those that left among them."""
    names = sorted(arms)
    own = np.array([sums.columns.index(arm) for arm in names])
    expected = np.array([known.get(column, 0.0) for column in sums.columns])
    fit = _fitted(sums, np.array([column in raced for column in sums.columns], dtype=bool), effect_scale, expected)
    contrasts = np.eye(len(sums.columns))[own]
    contrasts = contrasts - contrasts.mean(axis=0)
    means = contrasts @ fit.effects
    covariance = _widened(sums, fit, contrasts, own)
    best, near = _chances(means, covariance)
    apart = np.array([column in parts or column in raced for column in sums.columns], dtype=bool)
    rewards = np.clip(_level(sums, np.where(apart, fit.effects, 0.0)) + fit.effects[own], 0.0, 1.0)
    rollouts, sds = sums.shown[:, own].sum(axis=0), np.sqrt(np.diagonal(covariance))
    listed = [
        Standing(arm, _rounded(mean), _rounded(sd), _rounded(reward), _rounded(chance), _rounded(close), int(made))
        for arm, mean, sd, reward, chance, close, made in zip(
            names, means, sds, rewards, best, near, rollouts, strict=True
        )
    ]
    return tuple(sorted(listed, key=lambda entry: (-entry.mean, entry.arm)))


def survivors(table: Sequence[Standing], *, frozen: str, step: int) -> tuple[str, ...]:
    """The arms (ids) that stay in the race after a step (from 0), the best first.

    At least half of those that trail leave: those least likely to be within a point of the best, of equals the later
    id. The frozen arm stays until the second step is over, beside those that would.
    """
    most = 1 + (len(table) - 1) // 2
    order = sorted(table, key=lambda entry: (-entry.near, -entry.mean, entry.arm))
    stays = [entry.arm for entry in order[:most]]
    if step == 0 and frozen in {entry.arm for entry in table} - set(stays):
        stays.append(frozen)
    return tuple(stays)


def shares(table: Sequence[Standing], arms: Collection[str]) -> dict[str, float]:
    """The share of the next rollouts for each of these arms, in proportion to max(P(best), 0.5%)^0.7.

    More for whoever may still be the best, a little flatter than the chance itself (as top-two sampling is; Russo,
    2016), and for none so little that bad luck in its first rollouts could never be made up for.
    """
    weights = {entry.arm: max(entry.best, _LEAST) ** _FLATTER for entry in table if entry.arm in arms}
    return {arm: _rounded(weight / sum(weights.values())) for arm, weight in weights.items()}


def winner(table: Sequence[Standing], tokens: Mapping[str, int]) -> Winner:
    """The cheapest of the arms whose expected reward is within one point of the best; of equals the better, then by id.

    `tokens` are the prompt tokens that each arm adds to a call.
    """
    first = max(table, key=lambda entry: (entry.mean, entry.near))
    close = [entry for entry in table if first.mean - entry.mean <= AS_GOOD]
    chosen = min(close, key=lambda entry: (tokens[entry.arm], -entry.mean, entry.arm))
    return Winner(chosen.arm, _why(chosen, first, tokens))


def chance_of_overtaking(table: Sequence[Standing]) -> float:
    """P(some other arm is better than the leader by more than a point): near 0, more rollouts cannot change much."""
    return round(1.0 - max(table, key=lambda entry: entry.mean).near, ROUNDING)


def _why(chosen: Standing, first: Standing, tokens: Mapping[str, int]) -> str:
    said = (
        f"expected reward {chosen.reward:.2f} over {chosen.rollouts} rollouts, within a point of the best with a "
        f"chance of {chosen.near:.0%}, at {tokens[chosen.arm]} prompt tokens a call"
    )
    if chosen.arm == first.arm:
        return said
    return f"{said}; the best by its mean, {first.reward:.2f}, costs {tokens[first.arm]}"


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """The regression solved: K columns."""

    effects: NDArray[np.float64]
    """Posterior means, shape (K,)."""
    inverse: NDArray[np.float64]
    """M^-1, shape (K, K)."""
    precision: NDArray[np.float64]
    """P, its diagonal, shape (K,)."""
    variance: float
    """s2."""


def _fitted(sums: Sums, raced: NDArray[np.bool_], effect_scale: float, expected: NDArray[np.float64]) -> _Fit:
    """Means and M^-1, with tau and s2 by expectation maximisation; tau starts as if a few arms had shown _SCALE."""
    gram, moment = sums.grams.sum(axis=0), sums.moments.sum(axis=0)
    tau2, s2 = _SCALE**2, sums.variance
    for _ in range(_ITERATIONS):
        precision = np.where(raced, 1 / tau2, 1 / effect_scale**2)
        inverse = np.linalg.inv(gram / s2 + np.diag(precision))
        effects = inverse @ (moment / s2 + precision * expected)
        second = (effects - expected) ** 2 + np.diagonal(inverse)
        tau2 = (_SCALE_WEIGHT * _SCALE**2 + float(second[raced].sum())) / (_SCALE_WEIGHT + np.count_nonzero(raced))
        left = sums.squares - 2 * float(effects @ moment) + float(effects @ gram @ effects)
        s2 = (left + float(np.sum(gram * inverse))) / sums.freedom
    # pyrefly: ignore[unbound-name]  # there is more than one iteration
    return _Fit(effects, inverse, precision, s2)


def _level(sums: Sums, added: NDArray[np.float64]) -> float:
    """The mean over the tasks seen of a task's mean reward, less what the columns of its rollouts add to it."""
    seen = sums.sizes > 0
    return float(np.mean((sums.rewards - sums.shown @ added)[seen] / sums.sizes[seen])) if np.any(seen) else 0.0


def _widened(sums: Sums, fit: _Fit, contrasts: NDArray[np.float64], own: NDArray[np.intp]) -> NDArray[np.float64]:
    """Covariance of the arms' contrasts, shape (A, A): each deviation at least as large as clustering by task says."""
    weights = contrasts @ fit.inverse
    plain = weights @ contrasts.T
    scores = (sums.moments - sums.grams @ fit.effects) / fit.variance @ weights.T
    tasks = np.count_nonzero(sums.counts[:, own], axis=0)
    correction = tasks / np.maximum(tasks - 3, 1)
    between = (scores**2).sum(axis=0) * correction + (weights**2 * fit.precision).sum(axis=1)
    ratio = np.where(tasks >= FEWEST_TASKS, between / np.maximum(np.diagonal(plain), 1e-12), 1.0)
    widening = np.sqrt(np.maximum(ratio, 1.0))
    widened: NDArray[np.float64] = plain * np.outer(widening, widening)
    return widened


def _chances(
    means: NDArray[np.float64], covariance: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """P(best) and P(within AS_GOOD of the best) for each arm, shapes (A,), over draws from the joint posterior."""
    arms = len(means)
    root = np.linalg.cholesky(covariance + 1e-10 * np.eye(arms))  # contrasts add up to zero: without it, singular
    draws = means[:, None] + root @ _normals(arms)
    top = draws.max(axis=0)
    return np.mean(draws == top, axis=1), np.mean(draws >= top - AS_GOOD, axis=1)


@lru_cache(maxsize=64)
def _normals(arms: int) -> NDArray[np.float64]:
    """The same draws every time, shape (arms, _DRAWS): a chance changes with the evidence alone."""
    return np.random.default_rng(derive_seed("race", arms)).standard_normal((arms, _DRAWS))


def _rounded(figure: float) -> float:
    return round(float(figure), ROUNDING)
