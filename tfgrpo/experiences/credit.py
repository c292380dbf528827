"""What each experience is worth: its measured effect on the reward, at no extra call.

Every rollout is shown its own random subset of the experiences (`dealing.py`), so a group compares them as it does
rollouts. For rollout i of group g, with z_gik = 1 where experience k was shown,

    r_gi - mean_g = sum_k beta_k (z_gik - mean_g z_k) + noise,      beta_k ~ N(0, tau^2)

over *all* groups: leaving out the flat ones inflates effects by 15-47%. With X (n, K) the centred inclusions, y (n,)
the centred rewards and s2 their variance within groups,

    M = X'X / s2 + I / tau^2      mean = M^-1 X'y / s2      covariance = M^-1 (B + I / tau^2) M^-1

B is the variance of the score X'y / s2. B = X'X / s2 gives the textbook M^-1; where an experience is worth more on some
tasks than on others that is too small, so B is summed by task, over the scores u_t = (X_t'y_t - X_t'X_t mean) / s2 of T
tasks (the sandwich of Liang and Zeger, 1986), with Student's correction for few tasks:

    B = T / (T - 1) * (T - 1) / (T - 3) * sum_t u_t u_t'

and the larger of the two standard deviations counts. An experience's source tasks are left out of its own estimate, as
it may be about them alone; what was written from more than half of the tasks is about none of them alone, and all
count, for else what every task teaches could never be measured. Interactions between experiences are ignored: an
effect is an average over what else was shown, and what single effects leave undecided is judged as one
(`joint.py`). Effects are in reward units. `benchmarks/credit.py` prints what decisions by these numbers get
right.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from ..records import Effect, Experience, Group, Rollout
from ..settings import Settings
from .regression import FEWEST_TASKS, ROUNDING, Sums, gather


def estimate(
    groups: Sequence[Group], experiences: Sequence[Experience], settings: Settings, *, run: str = "", step: int = 0
) -> tuple[Effect, ...]:
    """The effect of each experience, in the order given, as of a step.

    What failed by itself counts with the reward 0, or an experience that crashes wrong rollouts would look good; what
    the upstream failed at is left out. A group with fewer than two scored rollouts carries nothing. An experience
    without evidence has the effect of the prior: 0 with standard deviation `settings.effect_scale`.
    """
    evidence = gather(groups, made_with, (experience.id for experience in experiences))
    effects = []
    for experience in experiences:
        counting = counting_tasks(experience, evidence.tasks)
        found = column_effect(evidence, experience.id, counting, settings.effect_scale)
        effects.append(replace(found, run=run, step=step))
    return tuple(effects)


def made_with(rollout: Rollout) -> tuple[str, ...]:
    """The columns of a rollout: the variant that it was made under, and the experiences that it was shown."""
    return (*filter(None, [rollout.variant]), *rollout.included)


def chance_of_help(effect: Effect) -> float:
    """P(beta > 0)."""
    return NormalDist().cdf(effect.mean / effect.sd)


def effect_interval(effect: Effect, level: float = 0.95) -> tuple[float, float]:
    """The central interval of an effect, in reward units."""
    reach = NormalDist().inv_cdf(0.5 + level / 2) * effect.sd
    return effect.mean - reach, effect.mean + reach


def to_retire(
    groups: Sequence[Group], experiences: Sequence[Experience], settings: Settings, *, run: str = "", step: int = 0
) -> tuple[Effect, ...]:
    """The effects for which experiences are to be retired at this look, the worst first: P(beta > 0) too low.

    One at a time: after each, the others are estimated again from the rollouts that were *not* shown it, so that of two
    experiences that hurt only together, or help only once, one stays.
    """
    retired: list[Effect] = []
    left = list(experiences)
    while left:
        gone = {effect.experience for effect in retired}
        effects = estimate(_without(groups, gone), left, settings, run=run, step=step)
        worst = min(effects, key=lambda effect: (chance_of_help(effect), effect.experience))
        if chance_of_help(worst) >= settings.retire_below:
            break
        retired.append(worst)
        left = [experience for experience in left if experience.id != worst.experience]
    return tuple(retired)


def to_keep(effects: Sequence[Effect], settings: Settings) -> tuple[Effect, ...]:
    """The effects good enough to keep their experiences, in the order given; to be asked at the end of a run only.

    Keeping at every look would let 11-14% of useless experiences in.
    """
    return tuple(effect for effect in effects if chance_of_help(effect) > settings.keep_above)


def rollouts_needed(
    effect: float, inclusion: float, *, variance: float = 0.2, error: float = 0.05, power: float = 0.9
) -> int:
    """Rollouts that show an effect (reward units) with that power in a one-sided test; effects equal over tasks.

    n = (z_error + z_power)^2 variance / (inclusion (1 - inclusion) effect^2); `variance` is that of the reward within
    groups.
    """
    z = NormalDist().inv_cdf(1 - error) + NormalDist().inv_cdf(power)
    return int(np.ceil(z**2 * variance / (inclusion * (1 - inclusion) * effect**2)))


def counting_tasks(experience: Experience, tasks: Collection[str]) -> frozenset[str]:
    """Those of the tasks (ids) that count for an experience: all but its sources, and all where those are most."""
    others = frozenset(tasks).difference(experience.origin.tasks)
    return others if 2 * len(others) >= len(frozenset(tasks)) else frozenset(tasks)


def _without(groups: Sequence[Group], experiences: Collection[str]) -> Sequence[Group]:
    """The groups less the rollouts that were shown one of these experiences."""
    if not experiences:
        return groups
    shown = set(experiences)
    return [
        replace(group, rollouts=tuple(rollout for rollout in group.rollouts if shown.isdisjoint(rollout.included)))
        for group in groups
    ]


def column_effect(evidence: Sums, name: str, counting: Collection[str], scale: float) -> Effect:
    """The effect of one column over the tasks (ids) that count for it, under a normal prior of that scale."""
    column = evidence.columns.index(name)
    use = np.array([task in counting for task in evidence.tasks], dtype=bool)
    grams, moments, s2 = evidence.grams[use], evidence.moments[use], evidence.variance
    prior = np.eye(len(evidence.columns)) / scale**2
    information = grams.sum(axis=0) / s2 + prior
    mean = np.linalg.solve(information, moments.sum(axis=0) / s2)
    weights = np.linalg.solve(information, np.eye(len(mean))[column])  # column of M^-1
    variance = float(weights[column])
    counts = evidence.counts[use, column]
    tasks = np.count_nonzero(counts)
    if tasks >= FEWEST_TASKS:
        scores = (moments - grams @ mean) / s2 @ weights  # what each task adds to the error of this mean
        between = float(scores @ scores) * tasks / (tasks - 3)
        variance = max(variance, between + float(weights @ prior @ weights))
    sd = float(np.sqrt(variance))
    return Effect(name, "", 0, round(float(mean[column]), ROUNDING), round(sd, ROUNDING), int(counts.sum()))
