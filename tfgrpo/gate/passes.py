"""One pass: from the rollouts of both arms to what is written down of it, and from that to the gate's state. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..hashing import content_id
from ..records import Backend, Frame, Prior, Rollout, Task
from ..rollouts.executor import is_own_failure
from ..rollouts.rewards.matchers import normalised
from ..surfaces.chat import merge_bias
from ..trials import Pass
from .e_process import Gate, GateState
from .likelihood import centre, likelihood_gain, worst_gain

_KEPT_ANSWER = 60
"""Characters of an answer that is kept as it is; of a longer one its hash tells whether it comes again."""
Arms = tuple[Rollout, Rollout]
"""A task's rollouts under the candidate and under the live prior."""


@dataclass(frozen=True, slots=True)
class Likelihoods:
    """What the likelihood-ratio statistic has to know of a trial."""

    backend: Backend
    temperature: float
    biases: tuple[Mapping[int, float], Mapping[int, float]]
    """As they are sent with the candidate's requests and with the live prior's."""

    @classmethod
    def between(cls, candidate: Prior, live: Prior, frame: Frame, backend: Backend) -> "Likelihoods":
        """Of two priors under a request frame, whose own biases win."""
        own = frame.request.get("logit_bias")
        sent = [merge_bias(own, prior.logit_bias) for prior in (candidate, live)]
        first, second = ({int(token): bias for token, bias in one.items()} for one in sent)
        return cls(backend, frame.temperature, (first, second))


def pass_of(
    number: int, bet: float, tasks: Sequence[Task], arms: Sequence[Arms], gains: Mapping[str, float] | None = None
) -> Pass:
    """What is written down of a pass, but for the e-value after it."""
    return Pass(
        number,
        bet,
        {task.id: (one.reward, other.reward) for task, (one, other) in zip(tasks, arms, strict=True)},
        0.0,
        dict(gains or {}),
        {
            task.id: (_answer(one), _answer(other))
            for task, (one, other) in zip(tasks, arms, strict=True)
            if one.error is None and other.error is None
        },
        (sum(is_own_failure(one) for one, _ in arms), sum(is_own_failure(other) for _, other in arms)),
    )


def after(state: GateState, made: Pass, tasks: Sequence[Task]) -> GateState:
    """The state after a pass."""
    pairs = [made.rewards[task.id] for task in tasks]
    table = np.array([[np.nan if one is None else one for one in pair] for pair in pairs], dtype=np.float64)
    gains = np.array([made.gains.get(task.id, np.nan) for task in tasks]) if made.gains else None
    answers = [made.answers.get(task.id) for task in tasks]
    return state.after(table[:, 0], table[:, 1], gains=gains, answers=answers, failed=made.failed)


def gains_by_likelihood(
    tasks: Sequence[Task], arms: Sequence[Arms], earlier: Sequence[Pass], known: Likelihoods
) -> dict[str, float]:
    """d of each task that has rewards under both arms; the worst that it can be where it is not known well enough."""
    found: dict[str, float] = {}
    for task, (one, other) in zip(tasks, arms, strict=True):
        if one.reward is None or other.reward is None:
            continue
        rewards = [reward for made in earlier for reward in made.rewards[task.id] if reward is not None]
        middle = centre(rewards)
        gain = likelihood_gain((one, other), known.biases, middle, known.temperature, known.backend)
        found[task.id] = worst_gain(middle) if gain is None else gain
    return found


def compares_rewards(gate: Gate, passes: Sequence[Pass], tasks: Sequence[Task]) -> bool:
    """Whether the next pass is about differences of rewards: always, or since an earlier one lacked probabilities."""
    return gate.statistic == "rewards" or any(_lacked(made, passes[:place], tasks) for place, made in enumerate(passes))


def _lacked(made: Pass, earlier: Sequence[Pass], tasks: Sequence[Task]) -> bool:
    """Whether some answer of a pass counted as the worst that could be."""
    if not made.gains:
        return True
    for task in tasks:
        rewards = [reward for before in earlier for reward in before.rewards[task.id] if reward is not None]
        if made.gains.get(task.id) == worst_gain(centre(rewards)):
            return True
    return False


def _answer(rollout: Rollout) -> str:
    text = normalised(rollout.text)
    return text if len(text) <= _KEPT_ANSWER else content_id("text", text)
