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
    examples = (await usable_examples(tasks, reward, settings)).shown
    if not examples:
        return "no training task has an answer that earns the full reward as it stands"
    ordered = in_turns(examples, seed, DRAWS)
    most = prior_tokens(learned, count)
    fitting = _fitting(ordered, most, count) if most else ordered[:USUAL_SHOTS]
    if not fitting:
        return f"not even one training example fits into the {most:,} tokens that the learned prior adds"
    return _shown(fitting)


def _fitting(ordered: Sequence[Demonstration], most: int, count: Callable[[str], int]) -> Sequence[Demonstration]:
    """Those that still fit into so many tokens, one after the other; what is too long makes room for the next."""
    found: list[Demonstration] = []
    for one in ordered:
        if prior_tokens(_shown([*found, one]), count) <= most:
            found.append(one)
    return found


def _shown(examples: Sequence[Demonstration]) -> Prior:
    return as_prior(Variant(None, tuple(examples)))
