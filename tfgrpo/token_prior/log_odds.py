"""The weaker estimator of a token prior, for upstreams that give no log-probabilities: weighted log-odds of tokens.

Monroe, Colaresi and Quinn (2008), "Fightin' Words", with each answer weighted by its advantage. Over the answers of one
step's mixed groups, token v is counted c_iv times in answer i, and

    won_v = sum over A_i > 0 of A_i c_iv,        lost_v = sum over A_i < 0 of |A_i| c_iv.

With an informative Dirichlet prior, alpha_v in proportion to how common v is among all the step's answers, the log-odds
ratio of v between winners and losers and its variance are

    delta_v = log((won_v + alpha_v) / (won + alpha - won_v - alpha_v)) - the same of lost,
    var_v = 1 / (won_v + alpha_v) + 1 / (lost_v + alpha_v).

alpha is chosen so that a token of typical frequency has as many pseudo-counts as `Settings.shrinkage`: alpha_v =
shrinkage * perplexity(f) * f_v, with f the frequencies. So common words need more evidence than rare ones, and where
winners and losers use a token alike delta is 0: won_v - lost_v is what the policy gradient is without its baseline, and
both vanish together.

How a step is made. b_v += T eta delta_v (a bias acts as b / T), with eta delta_v cut at sqrt(2 kl_limit): without
probabilities no KL can be measured, but where of two tokens at even odds one gains s and the other loses s, it is about
s^2 / 2 nats. What is kept is the average of the iterates weighted by step number, as in `gradient`.

Why it is weaker. Counts tell nothing of tokens that could have been said and were not; tokens are those of the text
split anew, which the model may have split otherwise; the end of an answer is no token; and z takes the tokens for
independent, so it is too sure of what one task repeats: the floor on the effective number of tasks is all that keeps
the words of single tasks out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..records import Group, TokenBias
from ..rollouts.group import advantages, group_kind
from ..settings import Settings
from .gradient import Floats, Ints
from .path import FEWEST_EFFECTIVE_TASKS, LEAST_BIAS


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """What one step's answers say about V tokens, task by task."""

    tokens: Ints
    """Distinct token ids, ascending, shape (V,)."""
    tasks: tuple[str, ...]
    """Ids of the mixed tasks, J of them."""
    won: Floats
    """Occurrences in answers better than their group's mean, weighted by advantage, shape (J, V)."""
    lost: Floats
    """The same of worse answers, shape (J, V)."""
    prior: Floats
    """Pseudo-counts alpha, shape (V,)."""
    temperature: float


def step_counts(
    groups: Sequence[Group], encode: Callable[[str], Sequence[int]], temperature: float, settings: Settings
) -> Counts:
    """The weighted counts of one step; `encode` gives the token ids of a text."""
    mixed = [group for group in groups if group_kind(group) == "mixed"]
    said = [np.array(encode(rollout.text), dtype=np.int64) for group in groups for rollout in group.scored]
    tokens, total = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *said]), return_counts=True)
    won, lost = np.zeros((len(mixed), len(tokens))), np.zeros((len(mixed), len(tokens)))
    for row, group in enumerate(mixed):
        weights = advantages(group.rewards, divide_by_std=settings.divide_by_std).tolist()
        for rollout, weight in zip(group.scored, weights, strict=True):
            columns = np.searchsorted(tokens, np.array(encode(rollout.text), dtype=np.int64))
            np.add.at((won if weight > 0 else lost)[row], columns, abs(weight))
    prior = pseudo_counts(total.astype(np.float64), settings.shrinkage)
    return Counts(tokens, tuple(group.task.id for group in mixed), won, lost, prior, temperature)


def pseudo_counts(total: Floats, shrinkage: float) -> Floats:
    """alpha, shape (V,), from how often each token was said: `shrinkage` for one of typical frequency."""
    shares = total / max(1.0, total.sum())
    perplexity = np.exp(-(shares * np.log(shares)).sum())
    return np.asarray(shrinkage * perplexity * shares)


def log_odds(won: Floats, lost: Floats, prior: Floats) -> tuple[Floats, Floats]:
    """delta and its variance, each of shape (V,), from the weighted counts of V tokens and their pseudo-counts."""
    more, less = won + prior, lost + prior
    others_more, others_less = more.sum() - more, less.sum() - less
    with np.errstate(divide="ignore", invalid="ignore"):  # a token that is the only one said: no odds
        delta = np.log(more / others_more) - np.log(less / others_less)
    return np.where(np.isfinite(delta), delta, 0.0), 1 / more + 1 / less


def log_odds_path(start: Mapping[int, float], steps: Sequence[Counts], settings: Settings) -> list[dict[int, float]]:
    """The biases after each step, in nats; `start` are those that the run began with."""
    limit = float(np.sqrt(2 * settings.kl_limit))
    bias, paths = dict(start), []
    for step in steps:
        delta, _ = log_odds(step.won.sum(axis=0), step.lost.sum(axis=0), step.prior)
        change = step.temperature * np.clip(settings.learning_rate * delta, -limit, limit)
        for token, move in zip(step.tokens.tolist(), change.tolist(), strict=True):
            bias[token] = min(settings.bias_cap, max(-settings.bias_cap, bias.get(token, 0.0) + move))
        paths.append(dict(bias))
    return paths


def surviving_log_odds(
    start: Sequence[TokenBias], steps: Sequence[Counts], known: Mapping[int, bytes], settings: Settings
) -> tuple[TokenBias, ...]:
    """The entries worth keeping: averaged biases with enough |z| and tasks behind them, strongest first."""
    before = {entry.token: entry for entry in start}
    if not any(step.tasks for step in steps):
        return tuple(start)
    paths = log_odds_path({token: entry.bias for token, entry in before.items()}, steps, settings)
    late = np.arange(1, len(paths) + 1) / np.arange(1, len(paths) + 1).sum()
    scores, support = _scores(before, steps, late, settings), _effective_tasks(steps)
    entries = []
    for token in paths[-1]:
        bias = float(sum(weight * path.get(token, 0.0) for weight, path in zip(late, paths, strict=True)))
        z, piece = scores[token], known.get(token, b"") or before[token].piece
        evidence = support.get(token, 0.0) + (before[token].evidence if token in before else 0)
        if (
            abs(z) >= settings.bias_z
            and z * bias > 0
            and evidence >= FEWEST_EFFECTIVE_TASKS
            and abs(bias) >= LEAST_BIAS
        ):
            entries.append(TokenBias(token, piece, bias, z, int(evidence)))
    return tuple(sorted(entries, key=lambda entry: (-abs(entry.bias), entry.token))[: settings.bias_entries])


def _scores(
    before: Mapping[int, TokenBias], steps: Sequence[Counts], late: Floats, settings: Settings
) -> dict[int, float]:
    """z of each token: the averaged sum of its steps before they are cut, over the standard deviation of that sum.

    A step counts in the average with the weights of all iterates from it on.
    """
    sums = {token: entry.bias for token, entry in before.items()}
    variances = {token: (entry.bias / entry.z) ** 2 if entry.z else 0.0 for token, entry in before.items()}
    for place, step in enumerate(steps):
        factor = float(late[place:].sum()) * settings.learning_rate * step.temperature
        delta, variance = log_odds(step.won.sum(axis=0), step.lost.sum(axis=0), step.prior)
        for token, mean, spread in zip(step.tokens.tolist(), delta.tolist(), variance.tolist(), strict=True):
            sums[token] = sums.get(token, 0.0) + factor * mean
            variances[token] = variances.get(token, 0.0) + factor**2 * spread
    return {token: sums[token] / variances[token] ** 0.5 if variances[token] else 0.0 for token in sums}


def _effective_tasks(steps: Sequence[Counts]) -> dict[int, float]:
    """(sum_j |g_j|)^2 / sum_j g_j^2 of each token, g_j being won - lost of task j over all steps."""
    moved: dict[int, dict[str, float]] = {}
    for step in steps:
        for row, column in zip(*np.nonzero(step.won - step.lost), strict=True):
            own = moved.setdefault(int(step.tokens[column]), {})
            own[step.tasks[row]] = own.get(step.tasks[row], 0.0) + float(step.won[row, column] - step.lost[row, column])
    squares = {token: sum(value**2 for value in own.values()) for token, own in moved.items()}
    return {token: sum(map(abs, own.values())) ** 2 / squares[token] for token, own in moved.items() if squares[token]}
