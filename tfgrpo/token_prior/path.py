"""The path that the biases take from step to step, what every rollout so far says on it, and what survives of it. Pure.

Every rollout teaches in every step, earlier ones weighed by how likely they are now.

Rollouts of task t were made under the policies pi_s of the steps s, n_ts of them in each, n_t in all. Together they are
one sample of the mixture q_t = sum_s (n_ts / n_t) pi_s, so under the biases b of now rollout i weighs

    w_i = pi_b(y_i) / q_t(y_i)        (the balance heuristic of Veach and Guibas, 1995),

and no weight of a policy that was sampled exceeds n_t / n_ts. With w'_i = w_i / sum w, the mean V_t = sum w'_i r_i, the
spread s_t^2 = sum w'_i (r_i - V_t)^2 and the effective number m_t = (sum w)^2 / sum w^2, the gradient and curvature of
`gradient` become

    A_i = (r_i - V_t) / s,        s^2 = mean over tasks with s_t > 0 of s_t^2
    g_v = sum_t m_t sum_i w'_i A_i sum over positions of (1[y = v] - p_b(v)) / T
    h_v = sum_t m_t sum_i w'_i sum over positions of p_b(v) (1 - p_b(v)) / T^2.

With the rollouts of one step alone, under the biases that they were made under, these are the ones there. As they can
be had under any biases, a batch of rollouts is worth INNER steps. Where answers are long weights degenerate, m_t falls
to what the last step has given, and nothing is gained or lost.

Rollouts that are drawn from listed answers take no part: what is listed stands for them, exactly (`exact`).

Requests carry the strongest biases only (`bias_entries`); the iterate behind them moves every listed token. The bias
that is kept of a token is the average of the iterates, weighted by their step number (early ones lag). z_v is
that average over its jackknife standard deviation, leaving out whole tasks and following each leave-one-out path
through all steps: a z of the gradient would vanish at convergence, and drop the best tokens. The gradients are those of
the policy that was sampled, under the biases b of all tasks; a path that has come to other ones, b', answers to its own
by linear response,

    g(b') = g(b) - h (b' - b).

Without it the paths drift apart while the real one corrects itself: z falls with every step, and right tokens are
dropped (simulated, the rare label of `benchmarks/token_choice.py`). The threshold on |z| is low, because the word of a
label is wanted by its own tasks and unwanted by all others: its z is modest however right its bias is, and to drop one
label of several is worse than to drop none. (It was 1 before paths answered to their own biases. Simulated, with 0.5 in
its place, a rare label keeps its gain over 1 to 8 steps: `docs/benchmarks.md`.) What keeps out the words of single
tasks is the effective number of tasks behind a token,

    m = (sum_j |g_j|)^2 / sum_j g_j^2,

with g_j its gradient over task j and all steps: 1 for a token that one task alone moves and J for one that all J move
alike. By that alone what most tasks wanted, and have, is lost where a few want more of it in all steps that follow. So
it is at least (sum_j c_j)^2 / sum_j c_j^2, with c_j the sum over steps of g_j (b after the step - b before it): what
task j has gained by the token's moves, to first order. Tasks that lose by them count against it. Biases too small to
matter are dropped too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..records import Backend, ListedPrompt, TokenBias
from ..settings import FLAT, Settings
from .choice import WeighedRollouts, listed_under, log_mean, log_probabilities
from .exact import Pull, by_prompt, pulls
from .gradient import (
    Floats,
    Gradient,
    Ints,
    Positions,
    common_spread,
    look_up,
    natural_step,
    token_columns,
    within_kl_limit,
)

INNER = 2
"""Steps of the biases for each step of rollouts."""
FINEST = 1e-3
"""Nats: no bias is taken to be known better than this, even where all tasks agree exactly."""
FEWEST_EFFECTIVE_TASKS = 4.0
"""A token with fewer effective tasks behind it is dropped, however well they agree."""
LEAST_BIAS = 0.05
"""Nats: a smaller bias changes nothing that anyone would see, and costs an entry of the map."""


class Reuse:
    """The rollouts of all steps so far, and how likely each is under each step's policy."""

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self._backend, self._settings = backend, settings
        self._steps: list[WeighedRollouts] = []
        self._logs: list[list[Floats]] = []
        """Of each step's rollouts (first index) under each step's policy (second one)."""
        self._special: set[int] = set()
        self._listed: list[ListedPrompt] = []

    def add(self, made: WeighedRollouts, special: set[int], tail: float, listed: Sequence[ListedPrompt] = ()) -> None:
        """Take in one step's rollouts, and what is listed of others; `special` are tokens that no prior may hold,
        `tail` is as in Gradient."""
        self._special |= special
        if listed:
            self._listed = by_prompt([*self._listed, *listed])
        self._tail = tail
        for earlier, logs in zip(self._steps, self._logs, strict=True):
            logs.append(self._log(earlier, made))
        self._steps.append(made)
        self._logs.append([self._log(made, step) for step in self._steps])

    def _log(self, made: WeighedRollouts, under: WeighedRollouts) -> Floats:
        return log_probabilities(made, under.in_force, self._backend, under.temperature)

    def gradient(self, biases: Mapping[int, float]) -> Gradient:
        """What all rollouts so far say under biases (nats), at the temperature of the last step."""
        now, settings = self._steps[-1].temperature, self._settings
        listed = [listed_under(step, biases, self._backend, now) for step in self._steps]
        listing = self._listed
        exact = pulls(listing, biases, now) if listing else []
        sampled = tuple(dict.fromkeys(task for step in self._steps for task in step.tasks))
        names = tuple(dict.fromkeys([*sampled, *(one.task.id for one in listing)]))
        logs_now = [_whole(step, p) for step, p in zip(self._steps, listed, strict=True)]
        slopes, curves, spreads = self._weights(sampled, logs_now)
        every = [*(step.tokens for step in self._steps), *(one.tokens for one in exact)]
        tokens, columns = token_columns(every, self._special)
        slope, curvature = np.zeros((2, len(names) * (len(tokens) + 1)))
        rows = {name: row for row, name in enumerate(names)}
        start = 0
        for step, p in zip(self._steps, listed, strict=True):
            here = slice(start, start := start + len(step.tasks))
            row = np.repeat(np.array([rows[name] for name in step.tasks], dtype=np.int64), step.lengths)
            cell = (row[:, None] * (len(tokens) + 1) + columns[step.tokens + 1]).ravel()
            weight = np.repeat(slopes[here], step.lengths)
            score = -p * weight[:, None]
            score[:, 0] += weight
            slope += np.bincount(cell, (score / now).ravel(), len(slope))
            spread = p * (1 - p) * np.repeat(curves[here], step.lengths)[:, None]
            curvature += np.bincount(cell, (spread / now**2).ravel(), len(slope))
        for one in exact:
            cell = (rows[one.task] * (len(tokens) + 1) + columns[one.tokens + 1]).ravel()
            slope += np.bincount(cell, one.slope.ravel(), len(slope))
            curvature += np.bincount(cell, one.curvature.ravel(), len(slope))
        slope /= common_spread([*spreads, *(one.spread for one in exact)], settings)
        shape = len(names), len(tokens) + 1
        found = Gradient(tokens, names, slope.reshape(shape)[:, :-1], curvature.reshape(shape)[:, :-1], 1.0, self._tail)
        last = _positions(self._steps[-1], listed[-1], exact, self._tail)
        return within_kl_limit(found, last, now, settings)

    def _weights(self, names: Sequence[str], logs_now: Sequence[Floats]) -> tuple[Floats, Floats, list[float]]:
        """m_t w'_i (r_i - V_t) and m_t w'_i of every rollout, in order of step, 0 at tasks whose rewards are all alike;
        and s_t of the others."""
        owners = np.array([task for step in self._steps for task in step.tasks], dtype=object)
        sampled_in = np.repeat(np.arange(len(self._steps)), [len(step.tasks) for step in self._steps])
        rewards = np.concatenate([step.rewards for step in self._steps])
        now, under = np.concatenate(logs_now), np.concatenate([np.stack(logs) for logs in self._logs], axis=1)
        slopes, curves = np.zeros((2, len(owners)))
        spreads: list[float] = []
        for name in names:
            mine = np.flatnonzero(owners == name)
            counts = np.bincount(sampled_in[mine], minlength=len(self._steps))
            logs = now[mine] - log_mean(under[:, mine], counts)
            weights = np.exp(logs - logs.max())
            share = weights / weights.sum()
            centred = rewards[mine] - share @ rewards[mine]
            spread = float(np.sqrt(share @ centred**2))
            if spread >= FLAT:
                each = share / (share @ share)
                curves[mine] = each
                slopes[mine] = each * centred
                spreads.append(spread)
        return slopes, curves, spreads


def _positions(last: WeighedRollouts, chances: Floats, exact: Sequence[Pull], tail: float) -> Positions:
    """Where the next answers will pass: the last step's positions, and the beginnings of all listed answers."""
    parts = [(last.tokens, chances, np.ones(len(chances)))] if len(chances) or not exact else []
    parts += [(one.tokens, one.chances, one.weights) for one in exact]
    width, empty = max(tokens.shape[1] for tokens, *_ in parts), np.zeros(0)

    def wide(rows: NDArray[Any], absent: float) -> NDArray[Any]:
        return np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=absent)

    return Positions(
        np.concatenate([wide(tokens, -1) for tokens, *_ in parts]),
        np.concatenate([wide(listed, 0.0) for _, listed, _ in parts]),
        empty,
        empty.astype(np.int64),
        tail,
        np.concatenate([visits for *_, visits in parts]),
    )


def _whole(step: WeighedRollouts, listed: Floats) -> Floats:
    """log pi of each rollout's answer, from the probabilities of what is listed."""
    owners: Ints = np.repeat(np.arange(len(step.lengths)), step.lengths)
    return np.bincount(owners, np.log(listed[:, 0]), len(step.lengths)).astype(np.float64)


def bias_path(start: Mapping[int, float], steps: Sequence[Gradient], settings: Settings) -> list[dict[int, float]]:
    """The biases after each step, in nats; `start` are those that the run began with."""
    tokens, paths = _paths(start, steps, settings, ())
    return [dict(zip(tokens.tolist(), path[0].tolist(), strict=True)) for path in paths]


def surviving_biases(
    start: Sequence[TokenBias],
    steps: Sequence[Gradient],
    known: Mapping[int, bytes],
    settings: Settings,
    without: frozenset[str] = frozenset(),
) -> tuple[TokenBias, ...]:
    """The entries worth keeping: the averaged bias of each token whose |z| reaches the threshold, strongest first.

    What the tasks `without` say may be left out: the path that all tasks took is then answered to by all others.
    """
    before = {entry.token: entry for entry in start}
    everyone = sorted({task for step in steps for task in step.tasks} - without)
    if not everyone:
        return tuple(start)
    biases = {token: entry.bias for token, entry in before.items()}
    tokens, paths = _paths(biases, steps, settings, [without, *(without | {task} for task in everyone)])
    averaged = np.average(np.stack(paths)[:, 1:], axis=0, weights=np.arange(1, len(paths) + 1))
    whole, without_tasks = averaged[0], averaged[1:]
    variance = (1 - 1 / len(everyone)) * ((without_tasks - without_tasks.mean(axis=0)) ** 2).sum(axis=0)
    inherited = {token: (entry.bias / entry.z) ** 2 if entry.z else 0.0 for token, entry in before.items()}
    deviation = np.sqrt(variance + look_up(tokens, inherited))
    z = whole / np.maximum(deviation, FINEST)
    earlier = look_up(tokens, {token: float(entry.evidence) for token, entry in before.items()})
    moves = np.diff([look_up(tokens, biases), *(path[1] for path in paths)], axis=0)
    evidence = np.maximum(earlier, _effective_tasks(tokens, steps, moves, without))  # the same tasks as before, maybe
    keep = (np.abs(z) >= settings.bias_z) & (evidence >= FEWEST_EFFECTIVE_TASKS) & (np.abs(whole) >= LEAST_BIAS)
    entries = [
        TokenBias(token, known.get(token, b"") or before[token].piece, float(whole[i]), float(z[i]), int(evidence[i]))
        for i, token in enumerate(tokens.tolist())
        if keep[i]
    ]
    return tuple(sorted(entries, key=lambda entry: (-abs(entry.bias), entry.token))[: settings.bias_entries])


def _paths(
    start: Mapping[int, float], steps: Sequence[Gradient], settings: Settings, leave_out: Sequence[frozenset[str]]
) -> tuple[Ints, list[Floats]]:
    """Tokens (V,), and the biases after each step, shape (1 + len(leave_out), V): of all tasks, then without each."""
    parts = [np.array(sorted(start), dtype=np.int64), *(step.tokens for step in steps)]
    tokens = np.unique(np.concatenate(parts))
    bias = np.tile(look_up(tokens, start), (1 + len(leave_out), 1))
    paths = []
    for step in steps:
        columns = np.searchsorted(tokens, step.tokens)
        kept = np.array([[task not in gone for task in step.tasks] for gone in (frozenset[str](), *leave_out)])
        weights = kept.reshape(1 + len(leave_out), len(step.tasks)).astype(np.float64)
        curvature = weights @ step.curvature
        drifted = bias[:, columns] - bias[0, columns]
        change = np.zeros_like(bias)
        change[:, columns] = natural_step(weights @ step.slope - curvature * drifted, curvature, settings)
        bias = np.clip(bias + step.scale * change, -settings.bias_cap, settings.bias_cap)
        paths.append(bias)
    return tokens, paths


def _effective_tasks(tokens: Ints, steps: Sequence[Gradient], moves: Floats, without: frozenset[str]) -> Floats:
    """m of each token, shape (V,), of all tasks but those; 0 where none has moved it. `moves`: shape (steps, V)."""
    names = {name: row for row, name in enumerate(sorted({task for step in steps for task in step.tasks}))}
    wanted, gained = np.zeros((2, len(names), len(tokens)))
    for step, moved in zip(steps, moves, strict=True):
        rows = np.array([names[task] for task in step.tasks], dtype=np.int64)
        columns = np.searchsorted(tokens, step.tokens)
        wanted[np.ix_(rows, columns)] += step.slope
        gained[np.ix_(rows, columns)] += step.slope * moved[columns]
    here = [row for name, row in names.items() if name not in without]
    wanted, gained = wanted[here], gained[here]
    return np.maximum(
        _ratio(np.abs(wanted).sum(axis=0) ** 2, wanted), _ratio(np.maximum(gained.sum(axis=0), 0.0) ** 2, gained)
    )


def _ratio(squared: Floats, shares: Floats) -> Floats:
    """These over the sums of squares of each column, shape (V,); 0 where all are 0."""
    squares, found = (shares**2).sum(axis=0), np.zeros(shares.shape[1])
    np.divide(squared, squares, out=found, where=squares > 0)
    return found
