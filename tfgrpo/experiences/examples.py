"""Which training tasks can be shown as examples: those whose answer, said as it stands, earns the full reward."""

from collections.abc import Sequence

from ..records import Demonstration, Rollout, Task
from ..rollouts.rewards.reward import Reward, score
from ..settings import FLAT, Settings
from .variants import example, shared_messages


async def usable_examples(tasks: Sequence[Task], reward: Reward, settings: Settings) -> tuple[Demonstration, ...]:
    """The tasks whose own answer would earn the full reward if the model gave it in these words, as demonstrations.

    An answer that is no such text (a pattern, a list of conditions) would teach the model to say it.
    """
    found, shared = [], shared_messages(tasks)
    for task in tasks:
        shown = example(task, shared)
        if shown is None:
            continue
        said = await score(reward, Rollout(task, 0, 0, "", text=shown.answer), clip=settings.clip_rewards)
        if said.reward is not None and said.reward >= 1 - FLAT:
            found.append(shown)
    return tuple(found)
