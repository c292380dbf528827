"""What each experience is worth: its measured effect on the reward, at no extra call; and what several do together.

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
effect is an average over what else was shown. Effects are in reward units. `benchmarks/credit.py` prints what decisions
by these numbers get right. The race of variants (`race.py`) is estimated from the same sums.

Of several experiences that all teach one thing, any one is enough: each adds little to the others, and none passes the
bar alone, however much they do together. Of two that work only together neither does. So at the end of a run those that
are still undecided are judged once more, as one, by the same regression with a single column for them all: 1 where a
rollout was shown any of them, 0 where it was shown none (the controls of `dealing.py`, and a few more by luck). An
experience does not count as shown on its own source tasks, where it may be about that task alone. m experiences of
standard deviation tau each have tau sqrt(m) together, which is the prior of their effect.

What passes brings in all members that do not look harmful by themselves, useless ones too. The bar is therefore higher,
P(> 0) > `keep_joint_above`; kept ones stay measured one by one, so that a later run retires those that hurt.
`benchmarks/joint_effect.py` and `benchmarks/credit.py` print what this rule gets right and wrong.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from ..records import Effect, Experience, Group, Rollout
from ..rollouts.executor import with_losses
from ..rollouts.group import with_expected_rewards
from ..settings import Settings

_LARGEST_VARIANCE = 0.25
"""Of a reward in [0, 1]; weighs as one observation, so that groups without any spread give no false certainty."""
FEWEST_TASKS = 4
"""With fewer there is no variance between tasks to speak of."""
ROUNDING = 6
"""Decimals of the figures that are reported, so that machines that sum in another way agree on them."""


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """The sums of the regression over T tasks and K columns."""

    columns: tuple[str, ...]
    """Ids of what was compared, length K."""
    tasks: tuple[str, ...]
    """Ids of the tasks, length T."""
    grams: NDArray[np.float64]
    """X_t'X_t, shape (T, K, K)."""
    moments: NDArray[np.float64]
    """X_t'y_t in reward units, shape (T, K)."""
    counts: NDArray[np.int64]
    """Scored rollouts in groups that saw the column both in and out, shape (T, K)."""
    shown: NDArray[np.int64]
    """Scored rollouts made with the column, shape (T, K)."""
    rewards: NDArray[np.float64]
    """Rewards of all scored rollouts, summed, shape (T,)."""
    sizes: NDArray[np.int64]
    """How many these are, shape (T,)."""
    squares: float
    """y'y, and the one observation of the largest variance."""
    freedom: int
    """Degrees of freedom of `squares`: rollouts less groups, and that one."""

    @property
    def variance(self) -> float:
        """s2: variance of the reward within groups, whatever explains it."""
        return self.squares / self.freedom


def gather(groups: Sequence[Group], made_with: Callable[[Rollout], Iterable[str]], asked: Iterable[str]) -> Sums:
    """The sums over groups in order of task and step, whatever the order in which they are given.

    `made_with` names the columns of a rollout. Columns that nobody asks about (what was retired, who left) are there
    too, for they explain rollouts. What failed by itself, or was lost to the upstream under one column alone, has the
    reward 0; other rollouts without a reward are left out, then groups with fewer than two. Where answers are listed a
    rollout's reward is the expected one.
    """
    whole = with_losses(map(with_expected_rewards, groups), made_with)
    ordered = sorted((group for group in whole if len(group.scored) > 1), key=lambda group: (group.task.id, group.step))
    made = [[tuple(made_with(rollout)) for rollout in group.scored] for group in ordered]
    columns = tuple(sorted({name for group in made for names in group for name in names} | set(asked)))
    tasks = tuple(sorted({group.task.id for group in ordered}))
    place = {column: number for number, column in enumerate(columns)}
    rows = {task: row for row, task in enumerate(tasks)}
    tables = (
        (rows[group.task.id], _indicators(names, place), group.rewards)
        for group, names in zip(ordered, made, strict=True)
    )
    return summed(columns, tasks, tables)


def summed(
    columns: tuple[str, ...],
    tasks: tuple[str, ...],
    tables: Iterable[tuple[int, NDArray[np.float64], NDArray[np.float64]]],
) -> Sums:
    """The sums over groups given as arrays: row of the task, indicators (n, K), rewards (n,); n >= 2 in each."""
    shape = (len(tasks), len(columns))
    grams, moments = np.zeros((*shape, len(columns))), np.zeros(shape)
    counts, shown = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    rewards, sizes = np.zeros(len(tasks)), np.zeros(len(tasks), dtype=np.int64)
    squares, freedom = _LARGEST_VARIANCE, 1
    for row, indicators, scores in tables:
        size, made, earned = len(scores), indicators.sum(axis=0), float(scores.sum())
        centred, gains = indicators - made / size, scores - earned / size
        grams[row] += centred.T @ centred
        moments[row] += centred.T @ gains
        counts[row] += size * ((made > 0) & (made < size))
        shown[row] += made.astype(np.int64)
        rewards[row] += earned
        sizes[row] += size
        squares += float(gains @ gains)
        freedom += size - 1
    return Sums(columns, tasks, grams, moments, counts, shown, rewards, sizes, squares, freedom)


def _indicators(made: Sequence[Iterable[str]], place: dict[str, int]) -> NDArray[np.float64]:
    """1 where a rollout was made with a column, shape (n, K)."""
    indicators = np.zeros((len(made), len(place)))
    there = [(row, place[name]) for row, names in enumerate(made) for name in names]
    if there:
        indicators[tuple(zip(*there, strict=True))] = 1.0  # at once: an index takes its time
    return indicators


def estimate(
    groups: Sequence[Group], experiences: Sequence[Experience], settings: Settings, *, run: str = "", step: int = 0
) -> tuple[Effect, ...]:
    """The effect of each experience, in the order given, as of a step.

    What failed by itself counts with the reward 0, or an experience that crashes wrong rollouts would look good, and so
    does what the upstream failed at under that experience alone; its other failures are left out. A group with fewer
    than two scored rollouts carries nothing. An experience without evidence has the effect of the prior: 0 with
    standard deviation `settings.effect_scale`.
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


_ANY_MEMBER = "any member"
"""The column of the regression that all members share; no id of an experience reads so."""


@dataclass(frozen=True, slots=True)
class JointEffect:
    """What several experiences do together, as of one step; `effect` has no experience of its own."""

    members: tuple[str, ...]
    """Ids, in order of arrival."""
    effect: Effect
    kept: tuple[str, ...] = ()
    """Ids of the members that it keeps."""


def joint_effect(
    groups: Sequence[Group], members: Sequence[Experience], settings: Settings, *, run: str = "", step: int = 0
) -> JointEffect:
    """The difference in reward (in reward units) between rollouts shown any of the members and those shown none.

    All other experiences that were shown have columns of their own.
    """
    tasks = {group.task.id for group in groups}
    counting = {member.id: counting_tasks(member, tasks) for member in members}
    merged = [_merged(group, counting) for group in groups]
    sums = gather(merged, made_with, [_ANY_MEMBER])
    effect = column_effect(sums, _ANY_MEMBER, sums.tasks, settings.effect_scale * sqrt(len(members)))
    return JointEffect(tuple(member.id for member in members), replace(effect, experience="", run=run, step=step))


def to_keep_together(
    groups: Sequence[Group], undecided: Sequence[Experience], settings: Settings, *, run: str = "", step: int = 0
) -> JointEffect | None:
    """The joint effect for which experiences are to be kept, or None; to be asked at the end of a run only.

    Members are those of the undecided that were measured; all are kept but those whose own effect is not above 0. One
    experience alone has its own effect, and is never kept by this.
    """
    single = [effect for effect in estimate(groups, undecided, settings) if effect.evidence]
    measured = {effect.experience for effect in single}
    members = [experience for experience in undecided if experience.id in measured]
    if len(members) < 2:
        return None
    joint = joint_effect(groups, members, settings, run=run, step=step)
    kept = tuple(effect.experience for effect in single if effect.mean > 0)
    helps = chance_of_help(joint.effect) > settings.keep_joint_above
    return replace(joint, kept=kept) if helps and kept else None


def _merged(group: Group, counting: Mapping[str, Collection[str]]) -> Group:
    """The group as if its rollouts had been shown one experience for all members that count on its task."""

    def together(included: tuple[str, ...]) -> tuple[str, ...]:
        others = tuple(one for one in included if one not in counting)
        counted = any(group.task.id in counting[one] for one in included if one in counting)
        return (*others, _ANY_MEMBER) if counted else others

    return replace(group, rollouts=tuple(replace(each, included=together(each.included)) for each in group.rollouts))
