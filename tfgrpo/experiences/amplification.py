"""Amplification: answers that were long and right are shown as demonstrations, round by round, and more become long.

From RL after next-token prediction (arXiv 2510.11495). A round makes a group of rollouts of each task. Each is shown
a few demonstrations of one kind, long or short, dealt by the odds of the pool, which holds what earned the full reward
in the round before. With p the share of long answers, and a the mean weight of an answer of a kind (its reward less
what its length costs where it is right, else 0), these odds are

    p / (1 - p) * a_long / a_short,

and so are those of the next round's answers where the model answers as it is shown; how far it does is told beside.
The first round shows nothing. An answer is long that has more tokens than the length which parts the first round's
answers best into two kinds (`parting_length`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from ..records import Prior, Rollout, Task, Variant
from ..rollouts.executor import Executor
from ..rollouts.group import roll_groups
from ..rollouts.rewards.reward import Reward, score
from ..settings import Settings
from .answer_pool import LENGTHS, AnswerPool, Length, answer_length, earned_all, parting_length, pooled


@dataclass(frozen=True, slots=True)
class AmplifiedRound:
    """One round in figures."""

    long: float
    """Share of its answers that are long."""
    right: float
    """Share of its rollouts that earned the full reward."""
    right_long: float | None
    right_short: float | None
    """The same of its long and of its short answers; None where there are none."""
    tokens: float
    """Of an answer, on average."""
    pool: float | None
    """Share of long answers in the pool that it leaves, by weight: predicted of the next round; None: it is empty."""
    shown_long: float | None
    """Share of rollouts that were shown long demonstrations; None where none was shown any."""
    obeyed: float | None
    """Of the rollouts that were shown demonstrations, the share that answered in their kind."""

    def line(self) -> str:
        """The round for people."""
        kinds = (("long", self.right_long), ("short", self.right_short))
        each = ", ".join(f"{kind} ones {share:.0%}" for kind, share in kinds if share is not None)
        told = f"{self.long:.0%} of answers are long, {self.right:.0%} right ({each}), {self.tokens:.0f} tokens each"
        told += "" if self.obeyed is None else f"; {self.obeyed:.0%} are of the kind that they were shown"
        return told + ("" if self.pool is None else f"; the next round should have {self.pool:.0%} long ones")


@dataclass(frozen=True, slots=True)
class Amplified:
    """What came of all rounds."""

    rounds: tuple[AmplifiedRound, ...]
    variant: Variant | None
    """What the last pool favours, for the race; None where there is nothing to amplify."""
    why: str
    """For people."""


async def amplified(
    executor: Executor,
    tasks: Sequence[Task],
    reward: Reward,
    settings: Settings,
    *,
    rounds: int,
    verified: bool = True,
    landed: Callable[[Rollout], None] = lambda rollout: None,
) -> Amplified:
    """All rounds, or as many as there is something to amplify in; raises as the executor does.

    Without `verified`, for a control, every answer enters the pool, right or wrong.
    """

    async def scored(task: Task, prior: Prior, step: int, sample: int) -> Rollout:
        made = await score(reward, await executor(task, prior, step, sample), clip=settings.clip_rewards)
        landed(made)
        return made

    pool, told, bound = AnswerPool((), tasks, settings), list[AmplifiedRound](), 0.0
    for number in range(rounds):
        under, size = pool.dealing(number), settings.group_size
        groups = await roll_groups(
            scored, tasks, Prior(), step=number, size=size, under=under, landed=lambda group: group
        )
        made = [rollout for group in groups for rollout in group.scored]
        bound = bound or parting_length(made)  # a round may be lost
        left = AnswerPool([pooled(rollout, bound, settings, verified) for rollout in made], tasks, settings)
        told.append(_figures(left, pool.kinds(number)))
        pool = left
        if verified and number == 0 and (why := nothing_to_amplify(told[0], bound)):
            return Amplified(tuple(told), None, why)
    variant = pool.favoured(rounds)
    why = f"{variant.source} race as demonstrations" if variant else "nothing to amplify: the last round has none right"
    return Amplified(tuple(told), variant, why)


def nothing_to_amplify(first: AmplifiedRound, bound: float) -> str | None:
    """Why there is nothing to amplify after the first round; None where there is."""
    if first.right_long is None:
        return f"nothing to amplify: no answer is long, of more than {bound:.0f} tokens"
    if not first.right_long or first.pool is None:
        return f"nothing to amplify: none of the long answers, of more than {bound:.0f} tokens, is right"
    if first.pool < first.long:
        rates = f"{first.right_long:.0%} of them are right, {first.right_short or 0.0:.0%} of the short ones"
        return f"nothing to amplify: long answers earn no more than short ones ({rates})"
    return None


def _figures(left: AnswerPool, kinds: Mapping[str, Length]) -> AmplifiedRound:
    """A round, of which this is left."""

    def share(of: Collection[bool]) -> float | None:
        return fmean(of) if of else None

    made = left.entries
    right = {kind: share([earned_all(one.rollout) for one in made if one.kind == kind]) for kind in LENGTHS}
    shown = [(kinds[one.rollout.variant], one.kind) for one in made if one.rollout.variant in kinds]
    return AmplifiedRound(
        long=share([one.kind == "long" for one in made]) or 0.0,
        right=share([earned_all(one.rollout) for one in made]) or 0.0,
        right_long=right["long"],
        right_short=right["short"],
        tokens=fmean([answer_length(one.rollout) for one in made]) if made else 0.0,
        pool=left.long,
        shown_long=share([given == "long" for given, _ in shown]),
        obeyed=share([given == kind for given, kind in shown]),
    )
