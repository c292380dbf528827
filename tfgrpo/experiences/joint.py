"""What experiences are worth together that cannot be told apart one by one. Pure.

A single effect (`credit.py`) is an average over what else was shown. Of several experiences that all teach one thing,
any one is enough: each adds little to the others, and none passes the bar alone, however much they do together. Of two
that work only together neither does. So at the end of a run those that are still undecided are judged once more, as
one, by the same regression with a single column for them all: 1 where a rollout was shown any of them, 0 where it was
shown none (the controls of `dealing.py`, and a few more by luck). An experience does not count as shown on its own
source tasks, where it may be about that task alone. m experiences of standard deviation tau each have tau sqrt(m)
together, which is the prior of their effect.

What passes brings in all members that do not look harmful by themselves, useless ones too. The bar is therefore higher,
P(> 0) > `keep_joint_above`; kept ones stay measured one by one, so that a later run retires those that hurt.
`benchmarks/joint_effect.py` and `benchmarks/credit.py` print what this rule gets right and wrong.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt

from ..records import Effect, Experience, Group
from ..settings import Settings
from .credit import chance_of_help, column_effect, counting_tasks, estimate, made_with
from .regression import gather

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
