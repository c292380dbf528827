"""Whether a learned token prior is kept at all: cross-validated on the training tasks, at no extra call.

The tasks are divided into folds. For each fold the whole recipe is followed without the fold's tasks, as the jackknife
of `gradient` does, and its outcome b' is held against the biases that the run began with, b0 (none, mostly), on the
rollouts that were made at the fold's tasks anyway. Rollout i at task t, sampled in step s under b_s, weighs

    w_i(b) = pi_b(y_i) / q_t(y_i),        q_t = sum_s (n_ts / n_t) pi_{b_s},

where n_ts is the number of rollouts at t in step s, and n_t their sum: all steps together are one sample of the mixture
q_t (the balance heuristic of Veach and Guibas, 1995), so no weight under b0 exceeds n_t / n_t0. With r the rewards,

    V_t(b) = sum_i w_i(b) r_i / sum_i w_i(b),        d_t = V_t(b') - V_t(b0),

and the prior is kept (scope *whole answer*) when the mean of d_t over tasks exceeds its standard error, clustered by
task, std(d) / sqrt(T), and the weights carry enough: the median over tasks of the effective number of rollouts,

    min over b of (sum_i w_i(b))^2 / sum_i w_i(b)^2,

must be at least FEWEST_EFFECTIVE. Otherwise none is learned, and what the run began with stands.

Folds are stratified: tasks of one answer are dealt over all of them in turn. Where a label has share p of n tasks and
p_F of a fold of k, the other tasks have p - (p_F - p) k / (n - k) of it, so what is learned from them leans away from
just what the fold wants. With b(p) learned at share p, and D what a unit of it gives tasks of the label more than
others, folds drawn by chance (var p_F = p (1 - p) (n - k) / (k (n - 1))) lower the mean of d by

    b'(p) D p (1 - p) / (n - 1),

whatever k is; with equal shares in all folds nothing is lost. So there are as many folds as the rarest answer that
repeats has tasks, within FEWEST_FOLDS and FOLDS. Tasks without an answer are alike, and tasks whose answers all differ
have nothing to tilt: those are dealt by hash alone. The price: the training tasks' own shares are taken as given. A
prior that only leans to the label which these tasks happen to hold more often looks like a gain, by about as much;
against that stands the standard error, which is the plain one, with the variance between labels in it.

Its limits. Log pi_b(y) is a sum over positions, so weights degenerate as answers grow: with long answers nothing can be
told apart, and none is learned, however good the prior is. Tokens outside the listed ones count as unbiased. The biases
b_s were learned from all tasks, so b' is not wholly free of the fold; the rollouts themselves are fresh in every step.
A label with fewer tasks than there are folds is still weakened by leaving one out. Self-normalised weights are biased
towards what was seen: a rare good answer that no rollout gave is not credited. What experiences a rollout was shown is
not weighed; their measured effects are subtracted from its reward instead. It is a choice inside learning, no test:
that is the gate's. One standard error lets a prior without effect in one time in six if it was not learned from these
tasks, a quarter to a third of the times if it was, and one that hurts hardly ever, unless training tasks differ
from those that count. Held to one time in twenty (at 2.3 of them) it would turn down nearly all that helps a little
(`benchmarks/token_choice.py`).

Without log-probabilities nothing can be weighed. Then d_t is the mean reward of the last step less that of the first,
whose tasks are the same: not held out, so it must exceed twice its standard error, and it says so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import exp, inf
from typing import Literal, TypeAlias

import numpy as np

from ..hashing import canonical, derive_seed
from ..records import JSON, Backend, Group, ListedPrompt, Rollout, TokenTrace
from ..text import counted
from .exact import answer_shares, by_prompt, gain
from .gradient import Floats, Ints, look_up, packed, policy

FOLDS = 10
FEWEST_FOLDS = 5
"""With fewer, what is learned without a fold is learned from too little."""
FEWEST_EFFECTIVE = 4.0
"""Rollouts a task; with fewer a single one decides."""
_COLD = 0.05
"""The temperature that stands for 0: what is not the likeliest by a third of a nat is said once in a thousand times."""
FEWEST_WEIGHED_TASKS = 4
"""Tasks that must be weighed for a standard error to mean anything."""

ChoiceScope: TypeAlias = Literal["whole answer", "winner", "none"]
"""By what was chosen: whole answers weighed; those of the race's winner alone, by `calibration`; nothing was kept."""
Biases: TypeAlias = Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, and the figures that it was chosen on."""

    scope: ChoiceScope
    why: str
    gain: float | None = None
    """Mean of d over tasks, in reward units."""
    deviation: float | None = None
    """Its standard error, clustered by task."""
    tasks: int = 0
    folds: int = 0
    """0: not held out."""
    effective: float | None = None
    """Median over tasks of the effective number of rollouts."""

    def as_json(self) -> dict[str, JSON]:
        """All of it."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class WeighedRollouts:
    """The scored rollouts of one step that have log-probabilities: R rollouts, N positions, C listed tokens each."""

    tokens: Ints
    """Token ids, shape (N, C); column 0 was sampled."""
    reported: Floats
    """Log-probabilities, shape (N, C)."""
    lengths: Ints
    """Positions of each rollout, shape (R,)."""
    rewards: Floats
    """Shape (R,)."""
    tasks: tuple[str, ...]
    """Id of each rollout's task."""
    answers: Mapping[str, JSON]
    """The answer of each task, by its id; None where there is none."""
    shown: tuple[tuple[str, ...], ...]
    """Ids of the experiences that each rollout was shown."""
    in_force: Biases
    temperature: float


def weighed_rollouts(groups: Sequence[Group], in_force: Biases, temperature: float) -> WeighedRollouts:
    """What one step's groups, mixed or not, give to weigh."""
    usable = [rollout for group in groups for rollout in group.scored if has_all(rollout.trace)]
    tokens, reported, lengths = packed([rollout.trace for rollout in usable if rollout.trace is not None])
    rewards = np.array([rollout.reward for rollout in usable], dtype=np.float64)
    tasks, shown = tuple(rollout.task.id for rollout in usable), tuple(rollout.included for rollout in usable)
    answers = {rollout.task.id: rollout.task.answer for rollout in usable}
    return WeighedRollouts(tokens, reported, lengths, rewards, tasks, answers, shown, dict(in_force), temperature)


def has_all(trace: TokenTrace | None) -> bool:
    """Whether each sampled token has a log-probability."""
    return trace is not None and bool(np.isfinite(trace.logprobs[:, 0]).all())


def folds(answers: Mapping[str, JSON], seed: int) -> list[frozenset[str]]:
    """The tasks, by id with their answers, in parts of like size that hold each answer alike, whatever their order."""
    drawn = sorted(answers, key=lambda task: (derive_seed(seed, "fold", task), task))
    alike: dict[str, list[str]] = {}
    for task in drawn:
        alike.setdefault(canonical(answers[task]), []).append(task)
    strata = sorted(alike.values(), key=len, reverse=True)
    rarest = min((len(stratum) for stratum in strata if len(stratum) > 1), default=FOLDS)
    count = min(len(drawn), FOLDS, max(FEWEST_FOLDS, rarest))
    in_turn = [task for stratum in strata for task in stratum]
    return [frozenset(in_turn[start::count]) for start in range(count)]


def listed_under(found: WeighedRollouts, bias: Biases, backend: Backend, temperature: float) -> Floats:
    """pi_b of what is listed at each position, shape (N, C)."""
    applied = look_up(found.tokens, bias)
    if backend.includes_bias:  # reported are those of the policy that was sampled
        applied = applied - look_up(found.tokens, found.in_force)
    return policy(found.reported, applied, temperature, replace(backend, includes_bias=False))[0]


def log_probabilities(
    found: WeighedRollouts, bias: Biases, backend: Backend, temperature: float | None = None
) -> Floats:
    """log pi_b of each rollout's answer, shape (R,), at the temperature that it was sampled at, or another."""
    heat = found.temperature if temperature is None else temperature
    each = np.log(listed_under(found, bias, backend, heat)[:, 0])
    owners = np.repeat(np.arange(len(found.lengths)), found.lengths)
    return np.bincount(owners, each, len(found.lengths)).astype(np.float64)


def said_at(
    groups: Sequence[Group], in_force: Biases, sampled: float, wanted: float, backend: Backend
) -> tuple[list[Group], int, int]:
    """The rollouts of one step as they would be at another temperature; how many of how many are left.

    Each is kept as often as its answer is likelier there, by pi_wanted(y) / pi_sampled(y) over the largest of its group
    (von Neumann's rejection), drawn by its hash; at temperature 0 those are kept that would be said there, whose answer
    is the likeliest token by token. Of failures, and of answers whose probability is not known, the same share is kept:
    they may be what an experience gets wrong. Where answers are listed, their expected reward is that of the other
    temperature.
    """
    found, cold, heat = weighed_rollouts(groups, in_force, sampled), wanted < _COLD, max(wanted, _COLD)
    logs = log_probabilities(found, in_force, backend, heat)
    if not cold:
        logs = logs - log_probabilities(found, in_force, backend)
    usable = [one for group in groups for one in group.scored if has_all(one.trace)]
    known = {(one.task.id, one.sample): log for one, log in zip(usable, logs.tolist(), strict=True)}

    def stays(rollout: Rollout, group: Group, top: float) -> bool:
        log = known.get((rollout.task.id, rollout.sample))
        if log is None:
            return rollout.trace is None and bool(group.listed)
        return (0.5 if cold else _luck(rollout)) < exp(log - top)

    tops = [max((known.get((one.task.id, one.sample), -inf) for one in each.scored), default=0.0) for each in groups]
    kept = [
        [one for one in group.scored if stays(one, group, 0.0 if cold else top)]
        for group, top in zip(groups, tops, strict=True)
    ]
    left, scored = sum(map(len, kept)), sum(len(group.scored) for group in groups)
    weighed = len(known) + sum(one.trace is None for group in groups if group.listed for one in group.scored)

    def unknown(rollout: Rollout, group: Group) -> bool:
        told = (rollout.task.id, rollout.sample) in known or (rollout.trace is None and bool(group.listed))
        return rollout.reward is None or not told

    made = []
    for group, stayed in zip(groups, kept, strict=True):
        others = [one for one in group.rollouts if unknown(one, group) and _luck(one) * weighed < left]
        listed = tuple(replace(one, mean=answer_shares(one.tree, in_force, heat).mean) for one in group.listed)
        made.append(replace(group, rollouts=(*stayed, *others), listed=listed))
    return made, left, scored


def _luck(rollout: Rollout) -> float:
    """In [0, 1), of a rollout for good."""
    return derive_seed("said", rollout.task.id, rollout.step, rollout.sample) / 2**31


def choose(
    steps: Sequence[WeighedRollouts],
    start: Biases,
    without: Callable[[frozenset[str]], Biases],
    backend: Backend,
    *,
    worth: Mapping[str, float],
    seed: int,
    listed: Sequence[ListedPrompt] = (),
) -> Choice:
    """The choice where there are log-probabilities.

    `without` gives the biases, as they would be sent, that all steps come to without some tasks; `start` those that the
    run began with; `worth` the measured effects of experiences, in reward units. Where a task's answers are `listed`,
    its V_t are sums over them, and nothing is weighed.
    """
    known: dict[str, list[ListedPrompt]] = {}
    for one in by_prompt(listed) if listed else ():
        known.setdefault(one.task.id, []).append(one)
    answers = {one.task.id: one.task.answer for one in listed}
    parts = folds({**{task: answer for step in steps for task, answer in step.answers.items()}, **answers}, seed)
    policies = [step.in_force for step in steps]
    candidates = [start, *(without(part) for part in parts)]
    logs = [np.stack([log_probabilities(step, bias, backend) for bias in (*policies, *candidates)]) for step in steps]
    logs_all = np.concatenate(logs, axis=1)
    rewards = np.concatenate([_adjusted(step, worth) for step in steps])
    owners = np.array([task for step in steps for task in step.tasks], dtype=object)
    sampled_in = np.repeat(np.arange(len(steps)), [len(step.tasks) for step in steps])
    gains, effective = [], []
    for number, part in enumerate(parts):
        for task in sorted(part):
            if task in known:
                gains.append(gain(known[task], start, candidates[1 + number], steps[-1].temperature))
                continue
            mine = np.flatnonzero(owners == task)
            counts = np.bincount(sampled_in[mine], minlength=len(steps))
            mixture = log_mean(logs_all[: len(steps), mine], counts)
            before, after = (
                _weighed(logs_all[row, mine] - mixture, rewards[mine]) for row in (len(steps), len(steps) + 1 + number)
            )
            gains.append(after[0] - before[0])
            effective.append(min(before[1], after[1]))
    weighed = float(np.median(effective)) if effective else 0.0
    return _verdict(np.array(gains), None if known and not effective else weighed, len(parts))


def choose_by_steps(steps: Sequence[Mapping[str, float]]) -> Choice:
    """The choice where there are no log-probabilities, by the mean reward of each task in each step."""
    if len(steps) < 2:
        return Choice("none", "one step alone shows no gain")
    shared = sorted(steps[0].keys() & steps[-1].keys())
    return _verdict(np.array([steps[-1][task] - steps[0][task] for task in shared]), None, 0)


def mean_rewards(groups: Sequence[Group], worth: Mapping[str, float]) -> dict[str, float]:
    """The mean reward of each task, less what the experiences shown are worth."""
    return {
        group.task.id: float(np.mean([(r.reward or 0.0) - _worth(r.included, worth) for r in group.scored]))
        for group in groups
        if group.scored
    }


def _worth(shown: Sequence[str], worth: Mapping[str, float]) -> float:
    return sum(worth.get(experience, 0.0) for experience in shown)


def _adjusted(step: WeighedRollouts, worth: Mapping[str, float]) -> Floats:
    return step.rewards - np.array([_worth(shown, worth) for shown in step.shown], dtype=np.float64)


def log_mean(logs: Floats, counts: Ints) -> Floats:
    """log of the mean of exp(logs), shape (S, n), over the first axis, weighted by `counts`; shape (n,)."""
    weighted = logs + np.log(np.where(counts, counts, 1) / counts.sum())[:, None]
    weighted[counts == 0] = -np.inf
    return np.asarray(np.logaddexp.reduce(weighted, axis=0))


def _weighed(logs: Floats, rewards: Floats) -> tuple[float, float]:
    """The self-normalised mean reward, and the effective number of rollouts."""
    weights = np.exp(logs - logs.max())
    total = weights.sum()
    return float(weights @ rewards / total), float(total**2 / (weights @ weights))


def _verdict(gains: Floats, effective: float | None, parts: int) -> Choice:
    """The choice on d of each task, shape (T,)."""
    count = len(gains)
    if count < FEWEST_WEIGHED_TASKS:
        return Choice("none", f"{counted(count, 'training task')}: too few to tell a gain", tasks=count, folds=parts)
    gain, deviation = float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(count))
    figures = f"{100 * gain:+.1f} points, give or take {100 * deviation:.1f}, "
    figures += f"on {parts} held-out folds of {count} tasks" if parts else f"on {count} tasks, not held out"
    scope: ChoiceScope
    sure = gain > (deviation if parts else 2 * deviation)
    scope, why = ("whole answer", figures) if sure else ("none", f"no gain shown ({figures})")
    if effective is not None and effective < FEWEST_EFFECTIVE:
        needed = f"{effective:.1f} effective rollouts a task, {FEWEST_EFFECTIVE:g} are needed"
        scope, why = "none", f"the rollouts cannot be weighed, as happens with long answers ({needed})"
    return Choice(scope, why, gain, deviation, count, parts, effective)
