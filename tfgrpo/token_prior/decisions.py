"""Decision offsets: what is added to the log-probability of each option of a question, learned at no call. Pure.

An answer of the decisions API tells the probability of *every* option: nothing is sampled, and nothing hidden. With p_t
the frozen probabilities of task t over the options, and r_t the reward of each option, an offset b gives

    p_t(o | b) = p_t(o) exp(b_o) / sum_u p_t(u) exp(b_u),          V(b) = mean_t sum_o p_t(o | b) r_t(o).

One frozen call a task serves every b. Policy gradient and curvature are exact; with m_t = sum_o p_t(o | b) r_t(o),

    dV / db_o       = mean_t p_o (r_o - m)
    d2V / db_o db_u = mean_t p_o (r_o - m) [o = u] - p_o p_u (r_o + r_u - 2 m).

What is learned is a multinomial fit of the reward on log p with slope one, which is concave and has one best b:

    L(b) = sum_t sum_o w_t(o) log p_t(o | b) - ridge / 2 sum_o b_o^2,     w_t(o) = (r_t(o) - min r_t) / its sum.

A task on which all options are worth the same says nothing. Newton's method finds the optimum; the offsets sum to zero
by themselves. `ridge` is chosen by leaving out one task at a time, no offsets at all being one of the choices (an
infinite ridge); they are kept where the left-out tasks' log-likelihood gains more than its standard error, and the
reward of the likeliest option loses nothing by it. As with token biases, the training tasks' shares of the options are
taken as given. The deviation of an offset is the jackknife's, over the same left-out fits.

An option with probability 0 stays at 0 under every offset: a weight on it is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..text import counted
from .gradient import Floats, Ints

RIDGES = (32.0, 16.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.25)
"""In tasks: a ridge of 4 holds an offset of 1 nat back like 4 tasks of unit curvature. From the firmest on."""
FEWEST_DECIDED = 4
"""Tasks that must tell something, for a standard error to mean anything."""
_STEPS = 50
_TOLERANCE = 1e-9
_FARTHEST = 5.0
"""Nats that an offset moves in one step of Newton's at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """What a frozen model answered to one question on T tasks, and what each of its O options is worth there."""

    logs: Floats
    """Log-probabilities, shape (T, O); -inf for a probability of 0."""
    rewards: Floats
    """In [0, 1], shape (T, O)."""

    @property
    def weights(self) -> Floats:
        """w, shape (T, O): what is better than the worst option, as shares; 0 throughout where there is no better."""
        better = self.rewards - self.rewards.min(axis=1, keepdims=True)
        better = np.where(np.isfinite(self.logs), better, 0.0)
        total = better.sum(axis=1, keepdims=True)
        return np.asarray(np.divide(better, total, out=np.zeros_like(better), where=total > 0))


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """Offsets that were learned, and the figures that they were kept on, or not."""

    offsets: Floats
    """Nats, shape (O,); zeros where none are kept."""
    deviations: Floats
    """Their jackknife standard deviations, shape (O,)."""
    ridge: float
    kept: bool
    why: str
    gain: float
    """Mean log-likelihood that a left-out task gains, in nats."""
    before: float
    """Mean reward of the likeliest option, frozen."""
    after: float
    """The same under the offsets that were learned without each task."""


def shifted(logs: Floats, offsets: Floats) -> Floats:
    """p(o | b), shape (..., T, O): log-probabilities with offsets added, over their sum.

    Where no option has a probability at all, all are alike.
    """
    moved = logs + offsets
    top = moved.max(axis=-1, keepdims=True)
    sound = np.isfinite(top)
    weights = np.exp(np.where(sound, moved - np.where(sound, top, 0.0), 0.0))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def policy_gradient(found: Answered, offsets: Floats) -> tuple[float, Floats, Floats]:
    """V, its gradient, shape (O,), and its curvature, shape (O, O), at these offsets."""
    p = shifted(found.logs, offsets)
    mean = (p * found.rewards).sum(axis=1, keepdims=True)
    pull = p * (found.rewards - mean)
    tasks = len(p)
    curvature = np.diag(pull.sum(axis=0)) - pull.T @ p - p.T @ pull
    return float(mean.mean()), pull.sum(axis=0) / tasks, curvature / tasks


def likelihood(found: Answered, offsets: Floats, ridge: float) -> tuple[float, Floats, Floats]:
    """L, its gradient, shape (O,), and its curvature, shape (O, O), at these offsets."""
    value, gradient, curvature = _likelihoods(found.logs, found.weights[None], offsets[None], np.array([ridge]))
    return float(value[0]), gradient[0], curvature[0]


def _likelihoods(logs: Floats, weights: Floats, offsets: Floats, ridges: Floats) -> tuple[Floats, Floats, Floats]:
    """The same of F fits at once: shapes (F,), (F, O) and (F, O, O).

    Their weights are (F, T, O), their offsets (F, O) and their ridges (F,).
    """
    p = shifted(logs, offsets[:, None, :])
    each = weights.sum(axis=2, keepdims=True)
    said = weights * np.log(np.where(weights > 0, p, 1.0))
    value = said.sum(axis=(1, 2)) - ridges / 2 * (offsets**2).sum(axis=1)
    gradient = (weights - each * p).sum(axis=1) - ridges[:, None] * offsets
    own = (each * p).sum(axis=1) + ridges[:, None]
    curvature = np.swapaxes(each * p, 1, 2) @ p - own[:, :, None] * np.eye(logs.shape[1])
    return value, gradient, curvature


def fit(found: Answered, ridge: float) -> Floats:
    """The offsets that L is greatest at, shape (O,), by Newton's method."""
    return np.asarray(_fits(found.logs, found.weights[None], np.array([ridge]), np.zeros((1, found.logs.shape[1])))[0])


def _fits(logs: Floats, weights: Floats, ridges: Floats, start: Floats) -> Floats:
    """F fits at once, shape (F, O), from where they start."""
    offsets = start
    value, gradient, curvature = _likelihoods(logs, weights, offsets, ridges)
    for _ in range(_STEPS):
        step = np.linalg.solve(-curvature, gradient[:, :, None])[:, :, 0]
        step *= np.minimum(1.0, _FARTHEST / np.maximum(np.abs(step).max(axis=1, keepdims=True), _TOLERANCE))
        if np.abs(step).max(initial=0.0) < _TOLERANCE:
            break
        moved = _likelihoods(logs, weights, offsets + step, ridges)
        while (worse := moved[0] < value - _TOLERANCE).any():  # L is concave: half of the way is better
            step = np.where(worse[:, None], step / 2, step)
            moved = _likelihoods(logs, weights, offsets + step, ridges)
        offsets = offsets + step
        value, gradient, curvature = moved
    return np.asarray(offsets - offsets.mean(axis=1, keepdims=True))


def fits_without(found: Answered, parts: Sequence[Ints], ridges: Sequence[float]) -> Floats:
    """The offsets that L is greatest at without each of some parts of the tasks (rows), under each ridge.

    Shape (len(ridges), len(parts), O); all are fitted at once, from where all tasks lead under the ridge.
    """
    others = np.ones((len(parts), len(found.logs), 1))
    for number, part in enumerate(parts):
        others[number, part] = 0.0
    count, shape = len(ridges), (len(ridges), found.logs.shape[1])
    whole = _fits(found.logs, np.tile(found.weights, (count, 1, 1)), np.array(ridges), np.zeros(shape))
    each = np.repeat(ridges, len(parts)), np.repeat(whole, len(parts), axis=0)
    fitted = _fits(found.logs, np.tile(found.weights * others, (count, 1, 1)), *each)
    return fitted.reshape(count, len(parts), -1)


def learned_offsets(found: Answered) -> Fitted:
    """The offsets that frozen answers teach, none where they teach nothing that left-out tasks bear out."""
    telling = np.flatnonzero(found.weights.sum(axis=1))
    nothing = np.zeros(found.logs.shape[1])
    before = decided_rewards(found, nothing)
    if len(telling) < FEWEST_DECIDED:
        why = f"{len(telling)} of {counted(len(found.logs), 'task')} say which option is better: too few to tell a gain"
        mean = float(before.mean()) if len(before) else 0.0
        return Fitted(nothing, nothing, np.inf, False, why, 0.0, mean, mean)
    sweep = [_left_out(found, telling, ridge) for ridge in RIDGES]
    best = max(range(len(RIDGES)), key=lambda place: (sweep[place][1].mean(), -place))
    without, gains = sweep[best]
    rewards = before.copy()
    rewards[telling] = decided_rewards(Answered(found.logs[telling], found.rewards[telling]), without)
    return _verdict(found, RIDGES[best], without, gains, (float(before.mean()), float(rewards.mean())))


def _verdict(found: Answered, ridge: float, without: Floats, gains: Floats, rewards: tuple[float, float]) -> Fitted:
    """Whether the fit with this ridge is kept, on what it came to without each task."""
    count, gain = len(gains), float(gains.mean())
    error = float(gains.std(ddof=1) / np.sqrt(count))
    deviations = np.sqrt((count - 1) / count * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    figures = (
        f"left-out log-likelihood {gain:+.3f} nats a task, give or take {error:.3f}; reward of the likeliest option"
    )
    figures += f" {100 * rewards[0]:.1f} -> {100 * rewards[1]:.1f} points on {count} left-out tasks"
    kept = gain > error and rewards[1] >= rewards[0]
    offsets = fit(found, ridge) if kept else np.zeros_like(deviations)
    why = figures if kept else f"no gain shown ({figures})"
    return Fitted(offsets, deviations, ridge, kept, why, gain, *rewards)


def _left_out(found: Answered, telling: Ints, ridge: float) -> tuple[Floats, Floats]:
    """The fits without each task that tells something, shape (J, O), and what each gains on the task it never saw."""
    without = fits_without(found, [telling[place : place + 1] for place in range(len(telling))], (ridge,))[0]
    return without, likelihood_gains(Answered(found.logs[telling], found.rewards[telling]), without)


def likelihood_gains(found: Answered, offsets: Floats) -> Floats:
    """What each task's log-likelihood gains under offsets of its own, (T, O); shape (T,)."""
    weights = found.weights
    after = shifted(found.logs[:, None, :], offsets[:, None, :])[:, 0]
    before = np.where(weights > 0, np.exp(found.logs), 1.0)
    return np.asarray((weights * np.log(np.where(weights > 0, after, 1.0) / before)).sum(axis=1))


def decided_rewards(found: Answered, offsets: Floats) -> Floats:
    """The reward of the option that is likeliest on each task, shape (T,); options that are equally likely share it."""
    p = shifted(found.logs, offsets)
    top = p >= p.max(axis=1, keepdims=True) - 1e-12
    return np.asarray((found.rewards * top).sum(axis=1) / top.sum(axis=1))
