"""One of several answers picked as biases would make it likelier, where biases are refused and answers are no labels.

With n answers sampled from the frozen policy at temperature T, answer y is picked with a weight of p_b(y) / p(y):

    w(y) = exp(sum over its tokens of b_v / T) / product over its positions of Z,   Z = sum over v of p(v) e^(b_v / T),

with p at T and what is not listed as unbiased. This is sampling-importance-resampling (Rubin, 1987): the more answers,
the nearer to the biased policy; how far that is for a policy whose total variation is .41 at n = 1: .15 at 4, .05 at 16
(simulated). Where there are no alternatives, Z is left out, and that is said. It costs n answers in place of one, so it
is done only where a caller asks for it. Pure.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..hashing import derive_seed
from ..records import JSON, Backend, ChatBody, Prior
from ..settings import LISTED_FOR_LABELS
from ..text import counted
from .decided import FROZEN_FIELD, Decided
from .labels import COLDEST, Alternatives, ListedToken, Sampling, least_of, scaled
from .redecided import listed_tokens, reasons, sampling_of

RESAMPLED_HEADER = "x-tfgrpo-resampled"
"""Of a response: how many answers were paid for, and what is to be said of the pick."""
MOST_PAID_FOR = 32
"""That may be asked for in place of one."""


class _All:
    """Of all tokens the alternatives matter."""

    is_looking = True


@dataclass(frozen=True, slots=True)
class Resampling:
    """What is to be done with the response to one request."""

    answers: int
    sampling: Sampling
    seed: int | None
    is_told: bool
    """The caller asked for log-probabilities himself."""

    def decided(self, payload: JSON) -> Decided:
        """A response with one of its answers; the one given is not altered."""
        choices = payload.get("choices") if isinstance(payload, Mapping) else None
        if not (isinstance(choices, list) and choices and all(isinstance(one, Mapping) for one in choices)):
            return Decided(payload)
        found = [_weight(choice, self.sampling) for choice in choices]
        logs = [weight for weight, _ in found if weight is not None]
        place, told = 0, counted(len(choices), "answer")
        if len(logs) < len(choices):
            told += "; no-log-probabilities"
        else:
            told += "" if all(whole for _, whole in found) else "; no-alternatives"
            place = picked_by_weight(logs, random.random if self.seed is None else random.Random(self.seed).random)
        one: dict[str, JSON] = {**choices[place], "index": 0}
        if not self.is_told:
            one["logprobs"] = None
        if place:
            one[FROZEN_FIELD] = {"content": (choices[0].get("message") or {}).get("content")}
        return Decided({**payload, "choices": [one]}, int(place > 0), marks={RESAMPLED_HEADER: told})


def picked_by_weight(logs: Sequence[float], draw: Callable[[], float]) -> int:
    """The place of one answer, drawn by the logarithms of its weights."""
    top = max(logs)
    weights = [math.exp(one - top) for one in logs]
    left = draw() * sum(weights)
    for place, weight in enumerate(weights):
        left -= weight
        if left <= 0:
            return place
    return len(weights) - 1


def _weight(choice: Mapping[str, JSON], sampling: Sampling) -> tuple[float | None, bool]:
    """log w of an answer, and whether every Z of it is known; None where it has no log-probabilities."""
    listed = choice.get("logprobs")
    entries = listed.get("content") if isinstance(listed, Mapping) else None
    if not isinstance(entries, list):
        return None, False
    tokens = list(listed_tokens(entries, sampling.biases, _All()))
    if len(tokens) < len(entries) or not tokens:
        return None, False
    raised = sum(sampled.bias for sampled, _ in tokens) / sampling.temperature
    whole = all(others.pieces for _, others in tokens)
    spread = sum(_log_normaliser(*token, sampling) for token in tokens) if whole else 0.0
    return raised - spread, whole


def _log_normaliser(sampled: ListedToken, others: Alternatives, sampling: Sampling) -> float:
    """log Z at one position."""
    listed = ({one.piece: one for one in map(ListedToken, *others)} | {sampled.piece: sampled}).values()
    power = 1.0 if sampling.is_scaled else 1.0 / sampling.temperature
    least = least_of(others.logprobs, sampled.logprob)
    rest = max(0.0, 1.0 - sum(math.exp(one.logprob) for one in listed))
    tail = math.log(rest) + least * (power - 1.0) if rest else -math.inf
    plain = [one.logprob * power for one in listed]
    raised = [log + one.bias / sampling.temperature for log, one in zip(plain, listed, strict=True)]
    return _log_sum([*raised, tail]) - _log_sum([*plain, tail])


def _log_sum(logs: Sequence[float]) -> float:
    return max(logs) + math.log(sum(scaled(logs)))


def resampling(body: ChatBody, prior: Prior, backend: Backend, answers: int) -> Resampling | None:
    """What can be done for a prior's biases with several answers to a chat request in place of one; None: nothing."""
    sampling = sampling_of(body, prior, backend)
    fits = answers > 1 and body.get("n") in (None, 1) and not body.get("stream") and not body.get("tools")
    if not fits or reasons(body) or sampling.temperature <= COLDEST:
        return None
    seed = body.get("seed")
    drawn = derive_seed(seed, "answers", body.get("messages")) if isinstance(seed, int) else None
    return Resampling(min(answers, MOST_PAID_FOR), sampling, drawn, bool(body.get("logprobs")))


def asking_for_answers(body: ChatBody, answers: int) -> ChatBody:
    """A request for so many answers with their log-probabilities; what its caller asked of these stands."""
    listed = {} if body.get("logprobs") else {"logprobs": True, "top_logprobs": LISTED_FOR_LABELS}
    return {**body, **listed, "n": answers}
