"""The biases step by step under the gradients, and which tokens survive. Pure.

The bias that is kept is the average of the iterates, weighted by their step number (early ones
lag). z_v is that average over its jackknife standard deviation, leaving out whole tasks and following each
leave-one-out path through all steps (under the gradients that were sampled, so later steps do not make up for the task
that is missing: an approximation): a z of the gradient would vanish at convergence, and drop the best tokens. The
threshold on |z| is low, because the word of a label is wanted by its own tasks and unwanted by all others: its z is
modest however right its bias is, and to drop one label of several is worse than to drop none. What keeps out the words
of single tasks is the effective number of tasks behind a token, with g_j its gradient over task j and all steps,

    m = (sum_j |g_j|)^2 / sum_j g_j^2,

which is 1 for a token that one task alone moves and J for one that all J move alike. Biases too small to matter are
dropped too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..records import TokenBias
from ..settings import Settings
from .gradient import Gradient, natural_step
from .policy import Floats, Ints, look_up

FINEST = 1e-3
"""Nats: no bias is taken to be known better than this, even where all tasks agree exactly."""
FEWEST_EFFECTIVE_TASKS = 4.0
"""A token with fewer effective tasks behind it is dropped, however well they agree."""
LEAST_BIAS = 0.05
"""Nats: a smaller bias changes nothing that anyone would see, and costs an entry of the map."""


def bias_path(start: Mapping[int, float], steps: Sequence[Gradient], settings: Settings) -> list[dict[int, float]]:
    """The biases after each step, in nats; `start` are those that the run began with."""
    tokens, paths = _paths(start, steps, settings, leave_out=())
    return [dict(zip(tokens.tolist(), path[0].tolist(), strict=True)) for path in paths]


def surviving_biases(
    start: Sequence[TokenBias], steps: Sequence[Gradient], known: Mapping[int, bytes], settings: Settings
) -> tuple[TokenBias, ...]:
    """The entries worth keeping: the averaged bias of each token whose |z| reaches the threshold, strongest first."""
    before = {entry.token: entry for entry in start}
    everyone = tuple(sorted({task for step in steps for task in step.tasks}))
    if not everyone:
        return tuple(start)
    biases = {token: entry.bias for token, entry in before.items()}
    tokens, paths = _paths(biases, steps, settings, leave_out=everyone)
    averaged = np.average(np.stack(paths), axis=0, weights=np.arange(1, len(paths) + 1))
    whole, without_tasks = averaged[0], averaged[1:]
    variance = (1 - 1 / len(everyone)) * ((without_tasks - without_tasks.mean(axis=0)) ** 2).sum(axis=0)
    inherited = {token: (entry.bias / entry.z) ** 2 if entry.z else 0.0 for token, entry in before.items()}
    deviation = np.sqrt(variance + look_up(tokens, inherited))
    z = whole / np.maximum(deviation, FINEST)
    earlier = look_up(tokens, {token: float(entry.evidence) for token, entry in before.items()})
    evidence = np.maximum(earlier, _effective_tasks(tokens, steps))  # a second run may be on the same tasks
    keep = (np.abs(z) >= settings.bias_z) & (evidence >= FEWEST_EFFECTIVE_TASKS) & (np.abs(whole) >= LEAST_BIAS)
    entries = [
        TokenBias(token, known.get(token, b"") or before[token].piece, float(whole[i]), float(z[i]), int(evidence[i]))
        for i, token in enumerate(tokens.tolist())
        if keep[i]
    ]
    return tuple(sorted(entries, key=lambda entry: (-abs(entry.bias), entry.token))[: settings.bias_entries])


def without_tasks(step: Gradient, tasks: frozenset[str]) -> Gradient:
    """What the other tasks say."""
    kept = [row for row, task in enumerate(step.tasks) if task not in tasks]
    names = tuple(step.tasks[row] for row in kept)
    return replace(step, tasks=names, slope=step.slope[kept], curvature=step.curvature[kept])


def _paths(
    start: Mapping[int, float], steps: Sequence[Gradient], settings: Settings, leave_out: tuple[str, ...]
) -> tuple[Ints, list[Floats]]:
    """Tokens (V,), and the biases after each step, shape (1 + len(leave_out), V): all tasks, then without each one."""
    parts = [np.array(sorted(start), dtype=np.int64), *(step.tokens for step in steps)]
    tokens = np.unique(np.concatenate(parts))
    bias = np.tile(look_up(tokens, start), (1 + len(leave_out), 1))
    paths = []
    for step in steps:
        columns = np.searchsorted(tokens, step.tokens)
        total, curvature = step.slope.sum(axis=0), step.curvature.sum(axis=0)
        change = np.zeros_like(bias)
        change[:, columns] = natural_step(total, curvature, settings)
        for row, task in enumerate(leave_out, start=1):
            own = [place for place, name in enumerate(step.tasks) if name == task]
            if own:
                less = natural_step(
                    total - step.slope[own].sum(axis=0), curvature - step.curvature[own].sum(axis=0), settings
                )
                change[row, columns] = less
        bias = np.clip(bias + step.scale * change, -settings.bias_cap, settings.bias_cap)
        paths.append(bias)
    return tokens, paths


def _effective_tasks(tokens: Ints, steps: Sequence[Gradient]) -> Floats:
    """m of each token, shape (V,); 0 where no task has moved it."""
    names = {name: row for row, name in enumerate(sorted({task for step in steps for task in step.tasks}))}
    total = np.zeros((len(names), len(tokens)))
    for step in steps:
        rows = np.array([names[task] for task in step.tasks], dtype=np.int64)
        total[np.ix_(rows, np.searchsorted(tokens, step.tokens))] += step.slope
    squares = (total**2).sum(axis=0)
    effective = np.zeros(len(tokens))
    np.divide(np.abs(total).sum(axis=0) ** 2, squares, out=effective, where=squares > 0)
    return effective
