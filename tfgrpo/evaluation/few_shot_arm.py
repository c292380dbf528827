"""The arm of what anybody would try first: random training examples in the prompt, and nothing learned.

They take no more prompt tokens than the learned prior adds to a call, so that none wins by the length of its prompt;
where that adds none (a token prior alone) there are USUAL_SHOTS of them.
"""

from collections.abc import Callable, Sequence

from ..experiences.variants import DRAWS, as_prior, in_turns, usable_examples
from ..records import Demonstration, Prior, Task, Variant
from ..rollouts.rewards.reward import Reward
from ..settings import Settings
from ..surfaces.chat import prior_tokens

USUAL_SHOTS = 8
"""Examples where the learned prior adds no tokens that say how many there may be."""


async def few_shot_prior(
    tasks: Sequence[Task], learned: Prior, reward: Reward, settings: Settings, *, seed: int, count: Callable[[str], int]
) -> Prior | str:
    """Training examples at the length of the learned prior, balanced over answers; else why there are none.

    `count` tells the tokens of a text. The draw is none of those that race.
    """
    examples = await usable_examples(tasks, reward, settings)
    if not examples:
        return "no training task has an answer that earns the full reward as it stands"
    ordered = in_turns(examples, seed, DRAWS)
    most = prior_tokens(learned, count)
    fitting = _fitting(ordered, most, count) if most else ordered[:USUAL_SHOTS]
    if not fitting:
        return f"not even one training example fits into the {most:,} tokens that the learned prior adds"
    return _shown(fitting)


def _fitting(ordered: Sequence[Demonstration], most: int, count: Callable[[str], int]) -> Sequence[Demonstration]:
    """The longest beginning that takes no more than so many tokens."""
    sizes = range(1, len(ordered) + 1)
    fits = [size for size in sizes if prior_tokens(_shown(ordered[:size]), count) <= most]
    return ordered[: max(fits, default=0)]


def _shown(examples: Sequence[Demonstration]) -> Prior:
    return as_prior(Variant(None, tuple(examples)))
