"""The policy gradient of GRPO on a vector of logit biases: what steps of rollouts say about each token, what survives.

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
by less than A_i exp(x_K / T) / Z a position, where x_K is the last log-probability of the list.

The bias that is kept of a token is the average of the iterates, weighted by their step number (early ones lag). z_v is
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
tasks is the effective number of tasks behind a token, with g_j its gradient over task j and all steps,

    m = (sum_j |g_j|)^2 / sum_j g_j^2,

which is 1 for a token that one task alone moves and J for one that all J move alike. Biases too small to matter are
dropped too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ..records import Backend, Group, TokenBias, TokenTrace
from ..rollouts.group import advantages, group_kind
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


FINEST = 1e-3
"""Nats: no bias is taken to be known better than this, even where all tasks agree exactly."""
FEWEST_EFFECTIVE_TASKS = 4.0
"""A token with fewer effective tasks behind it is dropped, however well they agree."""
LEAST_BIAS = 0.05
"""Nats: a smaller bias changes nothing that anyone would see, and costs an entry of the map."""


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
    evidence = np.maximum(earlier, _effective_tasks(tokens, steps, without))  # a second run may be on the same tasks
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


def _effective_tasks(tokens: Ints, steps: Sequence[Gradient], without: frozenset[str]) -> Floats:
    """m of each token, shape (V,), of all tasks but those; 0 where none has moved it."""
    names = {name: row for row, name in enumerate(sorted({task for step in steps for task in step.tasks}))}
    total = np.zeros((len(names), len(tokens)))
    for step in steps:
        rows = np.array([names[task] for task in step.tasks], dtype=np.int64)
        total[np.ix_(rows, np.searchsorted(tokens, step.tokens))] += step.slope
    total[[row for name, row in names.items() if name in without]] = 0.0
    squares = (total**2).sum(axis=0)
    effective = np.zeros(len(tokens))
    np.divide(np.abs(total).sum(axis=0) ** 2, squares, out=effective, where=squares > 0)
    return effective
