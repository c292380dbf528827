"""The token prior of one run as it grows, step after step: `tokens` has the mathematics, this has the state."""

from collections.abc import Mapping, Sequence

from .prior import merge_bias
from .records import BIAS_DECIMALS, Backend, Frame, Group, TokenBias
from .settings import Settings
from .tokens import Gradient, iterates, pieces, step_gradient, token_prior


class TokenLearning:
    """The biases in force, and the evidence of every step so far; `inherited` are those of the prior before."""

    def __init__(self, inherited: tuple[TokenBias, ...], frame: Frame, backend: Backend, settings: Settings) -> None:
        self._inherited, self._frame, self._backend, self._settings = inherited, frame, backend, settings
        self._gradients: list[Gradient] = []
        self._pieces = {entry.token: entry.piece for entry in inherited}
        self._working = {entry.token: entry.bias for entry in inherited}

    @property
    def working(self) -> tuple[TokenBias, ...]:
        """The biases to sample the next step under; their z and evidence are not known yet."""
        return tuple(TokenBias(token, self._pieces[token], bias, 0.0, 0) for token, bias in self._working.items())

    def learn(self, groups: Sequence[Group], temperature: float) -> None:
        """Take in a step's groups, sampled at that temperature under `working`."""
        own = self._frame.request.get("logit_bias")
        sent = merge_bias(own, {str(token): bias for token, bias in self._working.items()})
        in_force = {int(token): bias for token, bias in sent.items()}
        self._gradients.append(step_gradient(groups, in_force, temperature, self._backend, self._settings))
        self._pieces |= pieces(groups)
        before = {entry.token: entry.bias for entry in self._inherited}
        self._working = strongest(iterates(before, self._gradients, self._settings)[-1], self._settings.bias_entries)

    def result(self) -> tuple[TokenBias, ...]:
        """What the evidence of all steps supports."""
        return token_prior(self._inherited, self._gradients, self._pieces, self._settings)


def strongest(biases: Mapping[int, float], count: int) -> dict[int, float]:
    """The entries farthest from zero, rounded as they are sent."""
    rounded = {token: round(bias, BIAS_DECIMALS) for token, bias in biases.items()}
    ranked = sorted((token for token in rounded if rounded[token]), key=lambda token: (-abs(rounded[token]), token))
    return {token: rounded[token] for token in ranked[:count]}


def obstacle(backend: Backend) -> str | None:
    """Why no token prior can be learned on an upstream, or None."""
    lacking = []
    if not backend.logprobs:
        lacking.append("gives no log-probabilities with token ids")
    if backend.logit_bias != "honoured":
        lacking.append(f"does not honour logit_bias ({backend.logit_bias})")
    return " and ".join(lacking) or None
