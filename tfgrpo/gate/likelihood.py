"""The likelihood-ratio statistic: what samples say of two priors that differ by their token prior alone. Pure.

Where the prompts are the same, each answer y of either arm is an answer that the other arm might have given, and its
probability under both policies is known from its log-probabilities. With q = (pi_c + pi_l) / 2 the mean policy and m a
number fixed before the pass, the samples y_c and y_l of a task give

    d = 1/2 sum over y in {y_c, y_l} of (r(y) - m) (pi_c(y) - pi_l(y)) / q(y).

It is unbiased: the two samples together are one of the mixture q, twice, so E[d] = sum_y (r - m)(pi_c - pi_l), and m
falls out since both policies sum to 1. It is bounded: |pi_c - pi_l| <= 2 q and |r - m| <= max(m, 1 - m), so
|d| <= 2 max(m, 1 - m) < 2, and 1 + lambda d > 0 for lambda <= 1/2. Where the two policies hardly differ it hardly
spreads, while the difference of two rewards spreads as ever: it needs about 40% of the calls. m is the task's mean
reward in earlier passes, shrunk towards 1/2.

**When it may be used.** Prompts, tools and sampling settings are the same; answers are sampled (temperature above 0,
top_p 1) and their log-probabilities come whole, the end of the answer included: the last token is a control token, or
the answer was cut off at its limit, as all rollouts of the last step of learning show beforehand. Probabilities are
known to within LOOSE. An answer that lacks that all the same counts as the worst that could be, -2 max(m, 1 - m), which
can only hold a promotion back, and later passes compare rewards again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import expm1

import numpy as np
from numpy.typing import NDArray

from ..records import Backend, Prior, Rollout, TokenTrace
from ..token_prior.gradient import is_whole, look_up, policy

LOOSE = 0.02
"""Mean bound on the relative error of an answer's probabilities from which on they are no basis for a bet."""
_WEIGHT = 2.0
"""Rollouts that the guess of 1/2 for a task's mean reward weighs as much as."""


def differ_by_tokens_alone(candidate: Prior, live: Prior) -> bool:
    """Whether two priors send the same text, and not the same biases."""
    same = all(
        getattr(candidate, part) == getattr(live, part)
        for part in ("experiences", "instruction", "demonstrations", "nearest", "embedding")
    )
    return same and dict(candidate.logit_bias) != dict(live.logit_bias)


def centre(rewards: Sequence[float]) -> float:
    """m of a task: the mean of its rewards in earlier passes, of both arms."""
    return (_WEIGHT / 2 + sum(rewards)) / (_WEIGHT + len(rewards))


def likelihood_gain(
    sampled: tuple[Rollout, Rollout],
    biases: tuple[Mapping[int, float], Mapping[int, float]],
    middle: float,
    temperature: float,
    backend: Backend,
) -> float | None:
    """d of one task, from a rollout under the candidate and one under the live prior with the biases sent with each.

    None where an answer's probability is not known well enough.
    """
    total = 0.0
    for rollout, in_force in zip(sampled, biases, strict=True):
        logs = _log_probabilities(rollout, biases, in_force, temperature, backend)
        if logs is None or rollout.reward is None:
            return None
        first, second = np.exp(logs - logs.max())
        total += (rollout.reward - middle) * 2 * float((first - second) / (first + second))
    return total / 2


def worst_gain(middle: float) -> float:
    """The least that d can be."""
    return -2 * max(middle, 1 - middle)


def _log_probabilities(
    rollout: Rollout,
    biases: Sequence[Mapping[int, float]],
    in_force: Mapping[int, float],
    temperature: float,
    backend: Backend,
) -> NDArray[np.float64] | None:
    """log pi of the rollout's answer under each of the biases; None where that is not known well enough."""
    trace = rollout.trace
    if trace is None or not is_whole(rollout):
        return None
    logs, looseness, before = [], 0.0, replace(backend, includes_bias=False)
    for bias in biases:
        applied = look_up(trace.ids, bias)
        unlisted = _biased_tail(trace, bias, applied, temperature)
        if backend.includes_bias:  # reported are those of the policy that was sampled
            applied = applied - look_up(trace.ids, in_force)
        listed, error = policy(trace.logprobs, applied, temperature, before)
        logs.append(float(np.log(listed[:, 0]).sum()))
        looseness = max(looseness, float((error + unlisted).mean()))
    return np.array(logs) if looseness <= LOOSE else None


def _biased_tail(
    trace: TokenTrace, bias: Mapping[int, float], applied: NDArray[np.float64], temperature: float
) -> NDArray[np.float64]:
    """What biased tokens that are not listed could change at each position: each is at most as likely as the last."""
    least = np.exp(np.where(np.isfinite(trace.logprobs), trace.logprobs, 0.0).min(axis=1) / temperature)
    everything = sum(abs(expm1(one / temperature)) for one in bias.values())
    listed = np.abs(np.expm1(applied / temperature)).sum(axis=1)
    return np.asarray(least * np.maximum(everything - listed, 0.0))
