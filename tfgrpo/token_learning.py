"""The token prior of one run as it grows, step after step: `tokens` and `log_odds` have the mathematics.

Where log-probabilities come with token ids, the policy gradient is exact; where they do not, and a tokenizer is at
hand, weighted log-odds of the answers' tokens stand in for it.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

from . import log_odds, tokens
from .prior import merge_bias
from .records import BIAS_DECIMALS, Backend, Frame, Group, TokenBias
from .settings import Settings
from .tokenizer import Tokenizer

EstimatorName: TypeAlias = Literal["policy gradient", "log-odds"]

WEAKER = "by log-odds, the weaker estimator"
"""How a token prior that was not learned from log-probabilities is marked, in the store and in what is shown."""
_NO_IDS = "--tokenizer FILE names a tokenizer.json to tell them by"


class Estimator(Protocol):
    """What the evidence of all steps so far says, from the biases that the run began with."""

    name: EstimatorName
    pieces: dict[int, bytes]
    """The bytes of every token met so far."""

    def learn(self, groups: Sequence[Group], in_force: Mapping[int, float], temperature: float) -> dict[int, float]:
        """Take in one step's groups; the biases (nats) after it."""
        ...

    def result(self) -> tuple[TokenBias, ...]:
        """The entries that the evidence supports."""
        ...


class PolicyGradient:
    """The Estimator of `tokens`."""

    name: EstimatorName = "policy gradient"

    def __init__(self, inherited: tuple[TokenBias, ...], backend: Backend, settings: Settings) -> None:
        self._inherited, self._backend, self._settings = inherited, backend, settings
        self._steps: list[tokens.Gradient] = []
        self.pieces = {entry.token: entry.piece for entry in inherited}

    def learn(self, groups: Sequence[Group], in_force: Mapping[int, float], temperature: float) -> dict[int, float]:
        """As the Protocol says; the groups were sampled under the biases `in_force`."""
        self._steps.append(tokens.step_gradient(groups, in_force, temperature, self._backend, self._settings))
        self.pieces |= tokens.pieces(groups)
        before = {entry.token: entry.bias for entry in self._inherited}
        return tokens.iterates(before, self._steps, self._settings)[-1]

    def result(self) -> tuple[TokenBias, ...]:
        """As the Protocol says."""
        return tokens.token_prior(self._inherited, self._steps, self.pieces, self._settings)


class LogOdds:
    """The Estimator of `log_odds`, the weaker one."""

    name: EstimatorName = "log-odds"

    def __init__(self, inherited: tuple[TokenBias, ...], tokenizer: Tokenizer, settings: Settings) -> None:
        self._inherited, self._tokenizer, self._settings = inherited, tokenizer, settings
        self._steps: list[log_odds.Counts] = []
        self.pieces = {entry.token: entry.piece for entry in inherited}

    def learn(self, groups: Sequence[Group], in_force: Mapping[int, float], temperature: float) -> dict[int, float]:
        """As the Protocol says; counts need no biases `in_force`."""
        self._steps.append(log_odds.step_counts(groups, self._encode, temperature, self._settings))
        before = {entry.token: entry.bias for entry in self._inherited}
        return log_odds.iterates(before, self._steps, self._settings)[-1]

    def _encode(self, text: str) -> list[int]:
        """The ids of a text, less what looks like a control token."""
        ids = list(self._tokenizer.encode(text))
        self.pieces |= {token: self._tokenizer.piece_of(token) for token in set(ids) - self.pieces.keys()}
        return [token for token in ids if not tokens.is_special(self.pieces[token])]

    def result(self) -> tuple[TokenBias, ...]:
        """As the Protocol says."""
        return log_odds.token_prior(self._inherited, self._steps, self.pieces, self._settings)


class TokenLearning:
    """The biases in force, and the evidence of every step so far; `inherited` are those of the prior before."""

    def __init__(
        self,
        inherited: tuple[TokenBias, ...],
        frame: Frame,
        backend: Backend,
        settings: Settings,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        """To be made only where there is no `obstacle`."""
        self._frame, self._settings = frame, settings
        self._working = {entry.token: entry.bias for entry in inherited}
        self._estimator: Estimator = (
            PolicyGradient(inherited, backend, settings)
            if backend.logprobs or tokenizer is None
            else LogOdds(inherited, tokenizer, settings)
        )

    @property
    def estimator(self) -> EstimatorName:
        """What the biases are estimated by."""
        return self._estimator.name

    @property
    def working(self) -> tuple[TokenBias, ...]:
        """The biases to sample the next step under; their z and evidence are not known yet."""
        return tuple(
            TokenBias(token, self._estimator.pieces[token], bias, 0.0, 0) for token, bias in self._working.items()
        )

    def learn(self, groups: Sequence[Group], temperature: float) -> None:
        """Take in a step's groups, sampled at that temperature under `working`."""
        own = self._frame.request.get("logit_bias")
        sent = merge_bias(own, {str(token): bias for token, bias in self._working.items()})
        in_force = {int(token): bias for token, bias in sent.items()}
        found = self._estimator.learn(groups, in_force, temperature)
        self._working = strongest(found, self._settings.bias_entries)

    def result(self) -> tuple[TokenBias, ...]:
        """What the evidence of all steps supports."""
        return self._estimator.result()


def strongest(biases: Mapping[int, float], count: int) -> dict[int, float]:
    """The entries farthest from zero, rounded as they are sent."""
    rounded = {token: round(bias, BIAS_DECIMALS) for token, bias in biases.items()}
    ranked = sorted((token for token in rounded if rounded[token]), key=lambda token: (-abs(rounded[token]), token))
    return {token: rounded[token] for token in ranked[:count]}


def obstacle(backend: Backend, tokenizer: Tokenizer | None = None) -> str | None:
    """Why no token prior can be learned on an upstream, or None; `tokenizer` is what is at hand for its model."""
    lacking = []
    if not backend.logprobs and tokenizer is None:
        lacking.append(f"gives no log-probabilities with token ids ({backend.lacking or _NO_IDS})")
    if backend.logit_bias == "unknown":
        lacking.append("could not be seen to honour logit_bias")
    elif backend.logit_bias != "honoured":
        lacking.append(f"does not honour logit_bias ({backend.logit_bias})")
    return " and ".join(lacking) or None
