"""Every rollout so far teaches in every step: earlier ones weighed by how likely they are now. Pure.

Rollouts of task t were made under the policies pi_s of the steps s, n_ts of them in each, n_t in all. Together they are
one sample of the mixture q_t = sum_s (n_ts / n_t) pi_s, so under the biases b of now rollout i weighs

    w_i = pi_b(y_i) / q_t(y_i)        (the balance heuristic of Veach and Guibas, 1995),

and no weight of a policy that was sampled exceeds n_t / n_ts. With w'_i = w_i / sum w, the mean V_t = sum w'_i r_i, the
spread s_t^2 = sum w'_i (r_i - V_t)^2 and the effective number m_t = (sum w)^2 / sum w^2, the gradient and curvature of
`gradient` become

    A_i = (r_i - V_t) / s_t
    g_v = sum_t m_t sum_i w'_i A_i sum over positions of (1[y = v] - p_b(v)) / T
    h_v = sum_t m_t sum_i w'_i sum over positions of p_b(v) (1 - p_b(v)) / T^2.

With the rollouts of one step alone, under the biases that they were made under, these are the ones there. As they can
be had under any biases, a batch of rollouts is worth INNER steps. Where answers are long weights degenerate, m_t falls
to what the last step has given, and nothing is gained or lost.

Rollouts that are drawn from listed answers take no part: what is listed stands for them, exactly (`exact`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..records import Backend, ListedPrompt
from ..settings import FLAT, Settings
from .choice import WeighedRollouts, listed_under, log_mean, log_probabilities
from .exact import Pull, by_prompt, pulls
from .gradient import Gradient, Positions, token_columns, within_kl_limit
from .policy import Floats, Ints

INNER = 2
"""Steps of the biases for each step of rollouts."""


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
        listing, exact = self._listed, list[Pull]()
        if listing:
            exact = pulls(listing, biases, now, divide_by_std=settings.divide_by_std)
        sampled = tuple(dict.fromkeys(task for step in self._steps for task in step.tasks))
        names = tuple(dict.fromkeys([*sampled, *(one.task.id for one in listing)]))
        slopes, curves = self._weights(sampled, [_whole(step, p) for step, p in zip(self._steps, listed, strict=True)])
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
        shape = len(names), len(tokens) + 1
        found = Gradient(tokens, names, slope.reshape(shape)[:, :-1], curvature.reshape(shape)[:, :-1], 1.0, self._tail)
        last = _positions(self._steps[-1], listed[-1], exact, self._tail)
        return within_kl_limit(found, last, now, settings)

    def _weights(self, names: Sequence[str], logs_now: Sequence[Floats]) -> tuple[Floats, Floats]:
        """m_t w'_i A_i and m_t w'_i of every rollout, in order of step; 0 at tasks whose rewards are all alike."""
        owners = np.array([task for step in self._steps for task in step.tasks], dtype=object)
        sampled_in = np.repeat(np.arange(len(self._steps)), [len(step.tasks) for step in self._steps])
        rewards = np.concatenate([step.rewards for step in self._steps])
        now, under = np.concatenate(logs_now), np.concatenate([np.stack(logs) for logs in self._logs], axis=1)
        slopes, curves = np.zeros((2, len(owners)))
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
                slopes[mine] = each * centred / (spread if self._settings.divide_by_std else 1.0)
        return slopes, curves


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
