"""Groups whose answers are all listed: expected reward, advantage and gradient as sums over answers. Pure.

Where an answer is short, what an upstream lists of it is a tree (`AnswerTree`): beginnings n, and after each the
probabilities of its next tokens. Under biases b at temperature T, with x_v the log-probability reported after n,

    p_n(v) = exp((x_v + b_v) / T) / (sum over listed u of exp((x_u + b_u) / T) + tail_n),

where the tail is bounded as in `policy`, tokens with a bias that are not listed included, so that p_n(v) is never more
than it is. With m_n the probability of coming to n (1 for the empty one, m_n p_n(v) for what v leads to),

    Q_n(v) = r of the answer that ends with v, or V of what it leads to        V_n = sum_v p_n(v) Q_n(v) / sum_v p_n(v)
    dV / db_v = sum_n m_n p_n(v) (Q_n(v) - V_n) / T                            V = V_0

over what is listed. What is not, 1 - (the probability of all answers that end in the tree), is `missing`: V lies
between sum p r and that plus `missing`, whatever those answers are worth. One listing serves every b. With A = r - V,
before it is divided by what all groups share, the gradient and curvature of `gradient` are for a group of G rollouts

    g_v = G sum_n m_n p_n(v) (Q_n(v) - V_n) / T        h_v = G sum_n m_n p_n(v) (1 - p_n(v)) / T^2:

what its rollouts give on average, without their noise. An answer of one token is a tree of one row, and these are the
formulas of `decisions`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import expm1

import numpy as np

from ..hashing import derive_seed
from ..records import AnswerTree, ListedPrompt, TokenTrace
from ..settings import FLAT
from .gradient import Floats, Ints, look_up, unlisted

COVERED = 0.98
"""Probability that the listed answers must have together, for a group to be taken as known."""
LOOKED_AT = 3
"""Tasks whose answers are looked at before it is decided whether answers are listed or sampled."""


@dataclass(frozen=True, slots=True, eq=False)
class AnswerShares:
    """A tree under biases at a temperature: N beginnings, C tokens listed after each."""

    chances: Floats
    """p, shape (N, C)."""
    reached: Floats
    """m, shape (N,)."""
    values: Floats
    """Q, shape (N, C); NaN where nothing that follows is listed."""
    means: Floats
    """V, shape (N,); NaN likewise."""
    squares: Floats
    """The same of r^2."""
    low: float
    """Sum over the answers that end of p r."""
    covered: float
    """Probability of all of them."""

    @property
    def mean(self) -> float:
        """V of the whole: the expected reward, taking what is not listed for as good as what is."""
        return min(1.0, float(self.means[0]))

    @property
    def missing(self) -> float:
        """Probability of answers that are not listed, at most."""
        return 1.0 - self.covered

    @property
    def high(self) -> float:
        """The expected reward, were every answer that is not listed right."""
        return self.low + self.missing

    @property
    def spread(self) -> float:
        """s: the standard deviation of the reward."""
        return float(np.sqrt(max(0.0, self.squares[0] - self.means[0] ** 2)))


def answer_shares(tree: AnswerTree, biases: Mapping[int, float], temperature: float) -> AnswerShares:
    """What the tree says of the policy with these biases (nats)."""
    chances = _chances(tree, biases, temperature)
    values, (means, squares) = _upwards(tree, chances)
    reached, ended = np.zeros(len(chances)), np.isfinite(tree.rewards)
    reached[0] = 1.0
    for row, column in _edges(tree):
        reached[tree.after[row, column]] = reached[row] * chances[row, column]
    final = np.where(ended, reached[:, None] * chances, 0.0)
    low = float((final * np.where(ended, tree.rewards, 0.0)).sum())
    return AnswerShares(chances, reached, values, means, squares, low, min(1.0, float(final.sum())))


def _chances(tree: AnswerTree, biases: Mapping[int, float], temperature: float) -> Floats:
    """p, shape (N, C)."""
    inverse = 1.0 / temperature
    there = np.isfinite(tree.reported)
    rest = np.clip(1.0 - np.exp(tree.reported).sum(axis=1), 0.0, 1.0)
    least = np.where(there, tree.reported, 0.0).min(axis=1, initial=0.0)
    tail, unknown = unlisted(rest, least, inverse)
    if inverse < 1:
        tail = tail + unknown
    each = np.minimum(rest, np.exp(least)) ** inverse  # no token outside the list is likelier than the last in it
    for token, bias in biases.items():
        if bias > 0:
            tail = tail + np.where((tree.tokens == token).any(axis=1), 0.0, each * expm1(bias * inverse))
    weights = np.exp((tree.reported + look_up(tree.tokens, biases)) * inverse)
    return np.asarray(weights / (weights.sum(axis=1) + tail)[:, None])


def _edges(tree: AnswerTree) -> list[tuple[int, int]]:
    """Row and column of each token that leads on, what comes first first."""
    rows, columns = np.nonzero(tree.after >= 0)
    return sorted(zip(rows.tolist(), columns.tolist(), strict=True), key=lambda edge: int(tree.after[edge]))


def _upwards(tree: AnswerTree, chances: Floats) -> tuple[Floats, Floats]:
    """Q, shape (N, C), and the means of r and of r^2, shape (2, N), from the last beginnings to the first."""
    values = np.stack([tree.rewards, tree.rewards**2])
    means = np.full((2, len(chances)), np.nan)
    leading: dict[int, list[int]] = {}
    for row, column in _edges(tree):
        leading.setdefault(row, []).append(column)
    for row in reversed(range(len(chances))):
        for column in leading.get(row, ()):
            values[:, row, column] = means[:, tree.after[row, column]]
        known = np.isfinite(values[0, row])
        if (total := chances[row, known].sum()) > 0:
            means[:, row] = values[:, row, known] @ chances[row, known] / total
    return values[0], means


@dataclass(frozen=True, slots=True, eq=False)
class Pull:
    """What a listed group says of its tokens under biases, row by row of its tree."""

    task: str
    tokens: Ints
    """Ids, shape (N, C)."""
    chances: Floats
    """p, shape (N, C)."""
    weights: Floats
    """Rollouts that come to each beginning, shape (N,)."""
    slope: Floats
    """g of each, shape (N, C)."""
    curvature: Floats
    """h of each, shape (N, C)."""
    spread: float
    """Standard deviation of the reward."""


def pulls(listed: Iterable[ListedPrompt], biases: Mapping[int, float], temperature: float) -> list[Pull]:
    """Of each listed group whose rewards differ, g and h of its tokens."""
    found = []
    for one in listed:
        now = answer_shares(one.tree, biases, temperature)
        if now.spread < FLAT:
            continue
        coming, gains = now.reached[:, None] * now.chances, now.values - now.means[:, None]
        slope = one.size * coming * np.where(np.isfinite(gains), gains, 0.0) / temperature
        curvature = one.size * coming * (1 - now.chances) / temperature**2
        weights = one.size * now.reached
        found.append(Pull(one.task.id, one.tree.tokens, now.chances, weights, slope, curvature, now.spread))
    return found


def by_prompt(listed: Iterable[ListedPrompt]) -> list[ListedPrompt]:
    """One for each prompt of each task: the last that is known of it, for the rollouts of all of them."""
    found: dict[tuple[str, str], ListedPrompt] = {}
    for one in listed:
        name = one.task.id, one.request
        found[name] = replace(one, size=one.size + (found[name].size if name in found else 0))
    return list(found.values())


def gain(
    listed: Iterable[ListedPrompt], before: Mapping[int, float], after: Mapping[int, float], temperature: float
) -> float:
    """What one task's expected reward gains under other biases, over its prompts by their rollouts."""
    gains, sizes = [], []
    for one in listed:
        gains.append(
            answer_shares(one.tree, after, temperature).mean - answer_shares(one.tree, before, temperature).mean
        )
        sizes.append(one.size)
    return float(np.average(gains, weights=sizes))


def start_of(seed: int, *parts: object) -> float:
    """Where drawing starts, in [0, 1), as a hash has it."""
    return derive_seed(seed, *parts) / 2**31


def draw_evenly(tree: AnswerTree, now: AnswerShares, count: int, start: float) -> list[tuple[int, int]]:
    """So many answers (row and column in the tree), each with its own chance, spread as evenly as can be.

    Systematic sampling: answers stand in order of reward, and every 1/count of their probability is one drawn, from
    `start` in [0, 1) of the first such part on. So how many are right is within one of what is expected.
    """
    places = sorted(tree.texts, key=lambda place: (tree.rewards[place], tree.texts[place], place))
    chances = np.cumsum([now.reached[row] * now.chances[row, column] for row, column in places])
    at = (start + np.arange(count)) / count * chances[-1]
    return [places[min(int(place), len(places) - 1)] for place in np.searchsorted(chances, at, side="right")]


def trace_of(tree: AnswerTree, text: str, biases: Mapping[int, float] | None = None) -> TokenTrace | None:
    """The trace that an upstream would have given with an answer which ends in the tree; None where none such does.

    `biases` (nats) are added to what is listed, for upstreams that report log-probabilities after them.
    """
    place = next((place for place, ended in tree.texts.items() if ended == text), None)
    leads = {int(tree.after[edge]): edge for edge in _edges(tree)}
    path: list[tuple[int, int]] = []
    while place is not None:
        path.insert(0, place)
        place = leads.get(place[0])
    if not path:
        return None
    told = tree.reported + look_up(tree.tokens, biases or {})
    if biases:
        rest = np.clip(1.0 - np.exp(tree.reported).sum(axis=1), 0.0, 1.0)
        told = told - np.log(np.exp(told).sum(axis=1) + rest)[:, None]
    ids, logs = (
        np.stack([np.concatenate(([rows[place]], np.delete(rows[place[0]], place[1]))) for place in path])
        for rows in (tree.tokens, told)
    )
    return TokenTrace(ids, logs, tree.pieces)
