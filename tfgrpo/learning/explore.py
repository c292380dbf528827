"""An environment is explored, what was seen is written down or shown as it is, and what helps to predict it is kept.

Tasks are dealt by hash: a third of them teaches, a quarter says at the end what all that is kept does together, and the
others measure each text, and what was seen of each action. No part of it needs a reward: where the environment gives
one, what tasks earn is told, and decides nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..evaluation.difference import Difference, paired_difference
from ..experiences.distil import Distiller
from ..experiences.early_experience import written
from ..experiences.foreseen import as_shown, at_their_tasks, effects, prediction, predictions, what_helps
from ..experiences.seen_actions import SeenAction, seen_actions, seen_variant, with_seen
from ..experiences.transitions import Explored, Transition, explored
from ..experiences.variants import as_prior
from ..hashing import derive_seed
from ..observer import Observer, Silent
from ..records import JSON, Effect, Experience, Prior, Rollout, Task, Variant
from ..rollouts.acting import EnvironmentExecutor
from ..settings import Settings
from ..text import counted
from .earned import ACTED, Acting, reward_gained
from .hindsight import Hindsight, Seen, in_hindsight

if TYPE_CHECKING:
    from ..rollouts.executor import Executor

FEWEST_EXPLORED = 12
"""Tasks; with fewer the parts are too small to tell anything."""
_JUDGED = 3
"""Predictions of a transition at most, with all that is kept and without, that say what it does together."""


@dataclass(frozen=True, slots=True)
class Exploration:
    """What came of it."""

    explored: Explored
    texts: tuple[Experience, ...]
    """What was measured."""
    actions: tuple[SeenAction, ...]
    """What was measured as it was seen, beside the texts."""
    effects: tuple[Effect, ...]
    """Of each text, then of each action, on the agreement of a prediction with what followed."""
    kept: tuple[Experience, ...]
    kept_actions: tuple[SeenAction, ...]
    together: Difference | None
    """Agreement with all that is kept less that without, on transitions that chose none; None where nothing is kept."""
    dropped: tuple[str, ...]
    acting: Acting | None = None
    """What the tasks that judge earn; None where nothing is kept, or the environment gives no reward."""
    hindsight: tuple[Hindsight, ...] = ()
    """Sets of examples of acting, the best first."""

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The ways to prompt that show what was seen and is kept: as it was, and as examples of acting."""
        acting = (one.variant for one in self.hindsight if one.kept)
        return tuple(one for one in (seen_variant(self.kept_actions), *acting) if one)

    @property
    def shown_acting(self) -> Prior:
        """All that is kept, as it is shown where an action is to be chosen.

        The best set of examples of acting stands in place of what was seen to follow, which answers another question.
        """
        texts = as_shown(self.kept) if self.kept else Prior()
        acting = next((one.variant for one in self.hindsight if one.kept), None)
        return as_prior(acting, texts) if acting else with_seen(texts, self.kept_actions)

    def as_json(self) -> dict[str, JSON]:
        """The figures."""
        rows = [
            {"effect": effect.mean, "sd": effect.sd, "kept": effect.experience in self._good} for effect in self.effects
        ]
        shown = zip(self.actions, rows[len(self.texts) :], strict=True)
        return {
            "transitions": len(self.explored.transitions),
            "replayed": self.explored.replayed,
            "failures": list(self.explored.failures),
            "texts": [{"text": text.text, **row} for text, row in zip(self.texts, rows, strict=False)],
            "seen": [{"action": one.action, "transitions": len(one.seen), **row} for one, row in shown],
            "together": [self.together.mean, self.together.low, self.together.high] if self.together else None,
            "reward": self.frozen,
            "acting": self.acting.as_json() if self.acting else None,
            "hindsight": [one.as_json() for one in self.hindsight],
            "dropped": list(self.dropped),
        }

    @property
    def frozen(self) -> float | None:
        """The mean reward of the exploration's own rollouts; None where the environment gives none."""
        rewards = self.explored.rewards
        return sum(rewards.values()) / len(rewards) if rewards else None

    @property
    def _good(self) -> set[str]:
        """What the effects of what is kept are named by."""
        return {text.id for text in self.kept} | {one.dealt.id for one in self.kept_actions}

    def lines(self) -> list[str]:
        """The same for people."""
        seen, told = self.explored, [*(text.text for text in self.texts), *(one.told for one in self.actions)]
        lines = [f"{counted(len(seen.transitions), 'transition')} seen in {counted(seen.rollouts, 'rollout')}"]
        if seen.failures:
            lines.append(f"{counted(len(seen.failures), 'action')} failed, the first one: {seen.failures[0]}")
        if seen.replayed:
            lines[0] += f"; without clone() of the environment {counted(seen.replayed, 'step')} were made once more"
        for text, effect in sorted(zip(told, self.effects, strict=True), key=lambda pair: -pair[1].mean):
            verdict = "kept" if effect.experience in self._good else "not kept"
            lines.append(f"{100 * effect.mean:+.1f} +- {100 * effect.sd:.1f}  {verdict}: {text}")
        if self.together:
            found = f"{100 * self.together.mean:+.1f} points of agreement ({self.together.around})"
            lines.append(f"together, on transitions that chose none of them: {found}")
        else:
            lines.append("nothing is kept: nothing was shown to help to predict what follows")
        lines += [one.line() for one in self.hindsight]
        earned = "no observation carried a reward, so what tasks earn is not told"
        if self.frozen is not None:
            earned = f"its own rollouts earned {self.frozen:.1%} of the reward"
        return [*lines, earned, *(self.acting.lines() if self.acting else ())]


def dealt_parts(tasks: Sequence[Task], seed: int) -> tuple[list[Task], list[Task], list[Task]]:
    """The tasks that teach, that measure, and that judge what is kept; raises InputError for too few."""
    if len(tasks) < FEWEST_EXPLORED:
        raise InputError(f"{counted(len(tasks), 'task')} to explore from; there must be at least {FEWEST_EXPLORED}")
    drawn = sorted(tasks, key=lambda task: (derive_seed(seed, "explore", task.id), task.id))
    first, last = len(tasks) // 3, len(tasks) * 3 // 4
    return drawn[:first], drawn[first:last], drawn[last:]


async def explore(
    executor: EnvironmentExecutor,
    predicting: "Executor",
    distiller: Distiller,
    tasks: Sequence[Task],
    settings: Settings,
    *,
    states: int = 3,
    alternatives: int = 3,
    observer: Observer | None = None,
) -> Exploration:
    """All of it, the observer told of predictions, and by the executor of its rollouts.

    Raises InputError as the environment does, and UpstreamError when no call can succeed.
    """
    watching = observer or Silent()
    dealt = dealt_parts(tasks, settings.seed)
    parts = [{task.id for task in part} for part in dealt]
    watching.stage("explore", len(tasks))
    seen = await explored(executor, tasks, states=states, alternatives=alternatives)
    if not seen.transitions:
        over = "the environment is over at reset() of every task; give the Observation there over=False"
        raise InputError(f"no transition was seen: {seen.failures[0] if seen.failures else over}")
    teach, measure, judge = ([one for one in seen.transitions if one.task.id in part] for part in parts)
    texts, dropped = await written(distiller, teach)
    actions = seen_actions(teach)
    watching.stage("predict", len(measure) * settings.group_size)
    made = await predictions(predicting, measure, texts, settings, actions=actions, landed=watching.landed)
    groups = at_their_tasks(made, measure)
    found = effects(groups, texts, settings, actions)
    good = what_helps(groups, found, actions, settings)
    kept = tuple(text for text in texts if text.id in good)
    shown = tuple(one for one in actions if one.dealt.id in good)
    together = None
    if (kept or shown) and judge:
        watching.stage("judge", 2 * len(judge) * min(settings.group_size, _JUDGED))
        together = await agreement_gained(predicting, judge, kept, settings, shown, landed=watching.landed)
    hindsight = await in_hindsight(executor, distiller, Seen(dealt[0], teach), Seen(dealt[1], measure), watching)
    all_of_it = Exploration(seen, texts, actions, found, kept, shown, together, dropped, hindsight=hindsight)
    if not seen.rewards or all_of_it.shown_acting == Prior():
        return all_of_it
    watching.stage("act", 2 * len(dealt[2]) * ACTED)
    return replace(all_of_it, acting=await reward_gained(executor, dealt[2], all_of_it.shown_acting))


async def agreement_gained(
    predicting: "Executor",
    held: Sequence[Transition],
    texts: Sequence[Experience],
    settings: Settings,
    actions: Sequence[SeenAction] = (),
    *,
    landed: Callable[[Rollout], None] = lambda rollout: None,
) -> Difference:
    """Agreement with what follows, shown all of these texts, and what was seen of these actions, less shown none, over
    the tasks of the environment."""
    always = replace(settings, trial_inclusion=1.0, group_size=min(settings.group_size, _JUDGED))
    with_all = await predictions(predicting, held, texts, always, actions=actions, step=1, landed=landed)
    without = await predictions(predicting, held, (), always, step=2, landed=landed)
    of = {prediction(one).id: one.task.id for one in held}
    gains: dict[str, list[float]] = defaultdict(list)
    for one, other in zip(with_all, without, strict=True):
        answered = any(made.error is None for made in (*one.rollouts, *other.rollouts))
        if answered and one.scored and other.scored:
            gains[of[one.task.id]].append(one.mean - other.mean)
    return paired_difference(np.array([float(np.mean(found)) for found in gains.values()]))
