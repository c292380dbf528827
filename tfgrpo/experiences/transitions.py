"""Transitions: at states of a model's own rollouts other actions are tried, and what follows is seen.

From Agent Learning via Early Experience (arXiv 2510.08558). No reward is needed, and states and actions have no names
that judge them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from ..errors import InputError, ModelError, UpstreamError
from ..hashing import derive_seed
from ..prompts import clip, neutralise
from ..records import CallKey, Prior, Rollout, Task
from ..rollouts.acting import EnvironmentExecutor, action_in, actions_of
from ..rollouts.environment import Walk
from ..rollouts.group import concurrently

STATE_CHARS = 1_500
"""Of a state, or a task, as the distiller is shown it."""
_ASKED = (
    "This is the state:\n{before}\n\nThis is done:\n{action}\n\nWhat is the state then? Answer with its text alone."
)


def what_follows(before: str, action: str) -> str:
    """The question what follows on an action in a state."""
    return _ASKED.format(before=before, action=action)


@dataclass(frozen=True, slots=True)
class Transition:
    """What followed on an action in a state."""

    task: Task
    turn: int
    before: str
    action: str
    after: str
    own: bool
    """It is the model's own action, and no alternative."""

    def told(self) -> str:
        """It as the distiller is shown it."""
        parts = (("state", self.before), ("done", self.action), ("then", self.after))
        inside = "\n".join(f"<{name}>{neutralise(clip(text, STATE_CHARS))}</{name}>" for name, text in parts)
        return f"<transition>\n{inside}\n</transition>"


@dataclass(frozen=True, slots=True)
class Explored:
    """What was seen of an environment."""

    transitions: tuple[Transition, ...]
    """Each state and action once for each end: where the task or a hidden state matters, it has several."""
    rollouts: int
    replayed: int
    """Steps that were made once more, for the environment has no `clone`."""
    failures: tuple[str, ...]
    rewards: Mapping[str, float] | None = None
    """Of the rollout of each task that did not fail; None where no observation carried one."""


async def explored(executor: EnvironmentExecutor, tasks: Sequence[Task], *, states: int, alternatives: int) -> Explored:
    """Transitions at so many states of one rollout of each task: its own action and so many alternatives."""
    work = (partial(_at_task, executor, task, states, alternatives) for task in tasks)
    found = await concurrently(map(executor.in_turn, work))
    seen: dict[tuple[str, str, str], Transition] = {}
    for one in (transition for of in found for transition in of.transitions):
        seen.setdefault((one.before, one.action, one.after), one)
    failures = tuple(why for of in found for why in of.failures)
    rewards = {task.id: of.reward for task, of in zip(tasks, found, strict=True) if of.reward is not None}
    rewarded = rewards if any(of.rewarded for of in found) else None
    return Explored(tuple(seen.values()), len(tasks), sum(of.replayed for of in found), failures, rewarded)


class _AtTask(NamedTuple):
    """What was seen at one task."""

    transitions: list[Transition]
    replayed: int
    failures: list[str]
    """Why there are no more."""
    reward: float | None
    rewarded: bool
    """Whether an observation carried a reward."""


async def _at_task(executor: EnvironmentExecutor, task: Task, states: int, alternatives: int) -> _AtTask:
    rollout = await executor.rollout(task, Prior(), 0, 0)
    actions, seed = actions_of(rollout), executor.plain.seed
    turns = sorted(range(len(actions)), key=lambda turn: derive_seed(seed, "state", task.id, turn))[:states]
    found, failed, replayed, rewarded = list[Transition](), [rollout.error] if rollout.error else [], 0, False
    if not actions:
        return _AtTask(found, replayed, failed, rollout.reward, rewarded)
    others = {turn: await _alternatives(executor, rollout, turn, actions[turn], alternatives) for turn in turns}
    try:
        async with Walk.begun(executor.make, task, executor.seconds) as walk:
            for turn, own in enumerate(actions):
                before = walk.shown.text
                for one in others.get(turn, ()):
                    try:
                        found.append(Transition(task, turn, before, one, (await walk.after(one)).text, False))
                    except InputError as error:
                        failed.append(str(error))
                replayed = walk.replayed
                after = (await walk.step(own)).text
                rewarded = walk.rewarded
                if turn in turns:
                    found.append(Transition(task, turn, before, own, after, True))
    except InputError as error:  # what it did before, it does no more
        failed.append(str(error))
    return _AtTask(found, replayed, [*dict.fromkeys(failed)], rollout.reward, rewarded)


async def _alternatives(
    executor: EnvironmentExecutor, rollout: Rollout, turn: int, own: str, wanted: int
) -> Sequence[str]:
    """Other actions that the model takes at a turn of its rollout, at most so many; twice as many are sampled."""
    first = len(rollout.messages) - 2 * len(actions_of(rollout))
    messages, task = rollout.messages[: first + 2 * turn], rollout.task.id

    async def sampled(number: int) -> str | None:
        key = CallKey(executor.plain.run, f"{executor.plain.stage} other", 0, task, number, turn)
        try:
            asked = await executor.asked(messages, Prior(), key)
            return action_in((await executor.plain.model(asked, key)).text)
        except UpstreamError:
            raise
        except ModelError:
            return None

    said = await concurrently(sampled(number) for number in range(2 * wanted))
    return [*dict.fromkeys(one for one in said if one and one != own)][:wanted]
