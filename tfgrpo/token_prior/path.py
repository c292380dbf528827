"""The biases step by step under the gradients, and which tokens survive. Pure.

The bias that is kept is the average of the iterates, weighted by their step number (early ones
lag). z_v is that average over its jackknife standard deviation, leaving out whole tasks and following each
leave-one-out path through all steps: a z of the gradient would vanish at convergence, and drop the best tokens. The
gradients are those of the policy that was sampled, under the biases b of all tasks; a path that has come to other ones,
b', answers to its own by linear response,

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
