"""Amplification: answers that were long and right are shown as demonstrations, round by round, and more become long.

From RL after next-token prediction (arXiv 2510.11495). A round makes a group of rollouts of each task. Each is shown
a few demonstrations of one kind, long or short, dealt by the odds of the pool, which holds what earned the full reward
in the round before. With p the share of long answers, and a the mean weight of an answer of a kind (its reward less
what its length costs where it is right, else 0), these odds are

    p / (1 - p) * a_long / a_short,

and so are those of the next round's answers where the model answers as it is shown; how far it does is told beside.
The first round shows nothing. An answer is long that has more tokens than the first round's answers have on average,
which parts them where some are of a line and others of many.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import log
from statistics import fmean
from typing import Literal, TypeAlias

from ..hashing import coin, derive_seed
from ..records import Demonstration, Prior, Rollout, Task, Variant
from ..rollouts.executor import Executor
from ..rollouts.group import Under, roll_groups, shaped
from ..rollouts.rewards.reward import Reward, score
from ..settings import FLAT, Settings
from ..surfaces.chat import token_estimate
from ..text import counted
from .variants import Arm, as_prior, asked_in, shared_messages

SHOWN_ANSWERS = 4
"""Demonstrations that a rollout is shown."""
Kind: TypeAlias = Literal["long", "short"]
_KINDS: tuple[Kind, ...] = ("long", "short")


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
        bound = bound or (fmean(map(answer_length, made)) if made else 0.0)
        left = AnswerPool([_entry(rollout, bound, settings, verified) for rollout in made], tasks, settings)
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


@dataclass(frozen=True, slots=True)
class PooledAnswer:
    """An answer of a round."""

    rollout: Rollout
    kind: Kind
    weight: float
    """0: it is never shown."""


@dataclass(frozen=True, slots=True)
class AnswerPool:
    """The answers of a round, of which the next one is shown some."""

    entries: Sequence[PooledAnswer]
    tasks: Sequence[Task]
    settings: Settings

    @property
    def long(self) -> float | None:
        """Share of its weight that is of long answers; None where nothing has any."""
        total = sum(entry.weight for entry in self.entries)
        return sum(entry.weight for entry in self.entries if entry.kind == "long") / total if total else None

    def dealing(self, number: int) -> Callable[[Task, int], Under]:
        """What each sample of a task is made under in a round."""
        arms, share, seed = {kind: self._arm(kind, number) for kind in _KINDS}, self.long or 0.0, self.settings.seed

        def under(task: Task, sample: int) -> Under:
            arm = arms["long" if coin(share, seed, "amplify", number, task.id, sample) else "short"]
            return Under(as_prior(arm.shown_on(task)), arm.variant.id) if arm else Under(Prior())

        return under

    def kinds(self, number: int) -> Mapping[str, Kind]:
        """By id, which kind the variants show that a round is dealt."""
        return {arm.variant.id: kind for kind in _KINDS if (arm := self._arm(kind, number))}

    def favoured(self, number: int) -> Variant | None:
        """What a round would show of the heavier kind."""
        arm = self._arm("long" if (self.long or 0.0) >= 1 / 2 else "short", number)
        return arm.variant if arm else None

    def _arm(self, kind: Kind, number: int) -> Arm | None:
        """The demonstrations of a kind in a round, of different tasks, drawn by weight."""
        shared, seed = shared_messages(self.tasks), self.settings.seed

        def turn(entry: PooledAnswer) -> float:
            drawn = derive_seed(seed, "pool", number, entry.rollout.task.id, entry.rollout.sample)
            return -log((1 + drawn) / 2**31) / entry.weight

        found: dict[str, Demonstration] = {}
        for entry in sorted((one for one in self.entries if one.kind == kind and one.weight > 0), key=turn):
            task = entry.rollout.task
            found.setdefault(task.id, Demonstration(asked_in(task, shared), entry.rollout.text.strip(), task.id))
        shown = [*found.values()][: SHOWN_ANSWERS + 1]
        source = counted(len(shown[:SHOWN_ANSWERS]), f"{kind} verified answer")
        reserve = shown[SHOWN_ANSWERS] if len(shown) > SHOWN_ANSWERS else None
        return Arm(Variant(None, tuple(shown[:SHOWN_ANSWERS]), source=source), 0, reserve) if shown else None


def answer_length(rollout: Rollout) -> int:
    """Tokens of an answer."""
    return rollout.usage.completion_tokens or token_estimate(rollout.text)


def _is_right(rollout: Rollout) -> bool:
    """Whether it earned the full reward."""
    return (rollout.reward or 0.0) >= 1 - FLAT


def _entry(rollout: Rollout, bound: float, settings: Settings, verified: bool) -> PooledAnswer:
    """The answer in the pool: one that is cut off or empty is never shown, and, where it is verified, no wrong one."""
    kind: Kind = "long" if answer_length(rollout) > bound else "short"
    whole = rollout.finish_reason != "length" and bool(rollout.text.strip())
    if not verified:
        return PooledAnswer(rollout, kind, float(whole))
    return PooledAnswer(
        rollout, kind, (shaped(rollout, settings).reward or 0.0) if whole and _is_right(rollout) else 0.0
    )


def _figures(left: AnswerPool, kinds: Mapping[str, Kind]) -> AmplifiedRound:
    """A round, of which this is left."""

    def share(of: Collection[bool]) -> float | None:
        return fmean(of) if of else None

    made = left.entries
    right = {kind: share([_is_right(one.rollout) for one in made if one.kind == kind]) for kind in _KINDS}
    shown = [(kinds[one.rollout.variant], one.kind) for one in made if one.rollout.variant in kinds]
    return AmplifiedRound(
        long=share([one.kind == "long" for one in made]) or 0.0,
        right=share([_is_right(one.rollout) for one in made]) or 0.0,
        right_long=right["long"],
        right_short=right["short"],
        tokens=fmean([answer_length(one.rollout) for one in made]) if made else 0.0,
        pool=left.long,
        shown_long=share([given == "long" for given, _ in shown]),
        obeyed=share([given == kind for given, kind in shown]),
    )
