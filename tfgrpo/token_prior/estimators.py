"""The token prior of one run as it grows, step after step: `gradient`, `path` and `log_odds` have the mathematics.

Where log-probabilities come with token ids, the policy gradient is exact; where they do not, and a tokenizer is at
hand, weighted log-odds of the answers' tokens stand in for it. At the end `choice` says whether what was learned
is kept.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Literal, Protocol, TypeAlias

from ..model.tokenizer import Tokenizer, is_special
from ..records import BIAS_DECIMALS, JSON, Backend, Frame, Group, TokenBias
from ..rollouts.group import made_under
from ..settings import Settings
from ..surfaces.chat import merge_bias
from ..surfaces.surface import way_of
from . import choice, gradient, log_odds, path
from .choice import Choice

EstimatorName: TypeAlias = Literal["policy gradient", "log-odds"]

TIGHT_TAIL = 0.002
"""Mean bound on the relative error of probabilities that a bet may rest on: a tenth of what spoils an answer there
(`gate.likelihood`). With SmolLM2 at 0.7 it is 0.01 to 0.04, and a candidate that was better looked 96 points worse."""
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

    def result(self, without: frozenset[str] = frozenset()) -> tuple[TokenBias, ...]:
        """The entries that the evidence supports; that of some tasks may be left out."""
        ...

    @property
    def tail(self) -> float:
        """Mean bound on the relative error of a step's probabilities; the largest of all steps."""
        ...


class PolicyGradient:
    """The Estimator of `gradient`."""

    name: EstimatorName = "policy gradient"

    def __init__(self, inherited: tuple[TokenBias, ...], backend: Backend, settings: Settings) -> None:
        self._inherited, self._backend, self._settings = inherited, backend, settings
        self._steps: list[gradient.Gradient] = []
        self._made = path.Reuse(backend, settings)
        self.pieces = {entry.token: entry.piece for entry in inherited}

    def learn(self, groups: Sequence[Group], in_force: Mapping[int, float], temperature: float) -> dict[int, float]:
        """As the Protocol says; the groups were sampled under the biases `in_force`."""
        self.pieces |= gradient.pieces(groups)
        listed = [one for group in groups for one in group.listed]
        for one in listed:
            self.pieces |= one.tree.pieces
        found, _ = gradient.positions(groups, in_force, temperature, self._backend, self._settings)
        special = {token for token, piece in self.pieces.items() if is_special(piece)}
        tail = max([found.tail, *(one.missing for one in listed)])
        self._made.add(choice.weighed_rollouts(groups, in_force, temperature), special, tail, listed)
        before = {entry.token: entry.bias for entry in self._inherited}
        biases = in_force
        for _ in range(path.INNER):
            self._steps.append(self._made.gradient(biases))
            biases = path.bias_path(before, self._steps, self._settings)[-1]
        return dict(biases)

    def result(self, without: frozenset[str] = frozenset()) -> tuple[TokenBias, ...]:
        """As the Protocol says."""
        return path.surviving_biases(self._inherited, self._steps, self.pieces, self._settings, without)

    @property
    def tail(self) -> float:
        """As the Protocol says."""
        return max((step.tail for step in self._steps), default=0.0)


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
        return log_odds.log_odds_path(before, self._steps, self._settings)[-1]

    def _encode(self, text: str) -> list[int]:
        """The ids of a text, less what looks like a control token."""
        ids = list(self._tokenizer.encode(text))
        self.pieces |= {token: self._tokenizer.piece_of(token) for token in set(ids) - self.pieces.keys()}
        return [token for token in ids if not is_special(self.pieces[token])]

    def result(self, without: frozenset[str] = frozenset()) -> tuple[TokenBias, ...]:
        """As the Protocol says; all tasks always count."""
        return log_odds.surviving_log_odds(self._inherited, self._steps, self.pieces, self._settings)

    @property
    def tail(self) -> float:
        """0: counts know no probabilities."""
        return 0.0


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
        self._frame, self._backend, self._settings = frame, backend, settings
        self._inherited, self._whole = inherited, backend.fractional is False
        self._working = {entry.token: entry.bias for entry in inherited}
        self._sampled: list[tuple[Sequence[Group], dict[int, float], float]] = []
        """Of each step its groups, the biases in force, and the temperature."""
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

    @property
    def tail(self) -> float:
        """Mean bound on the relative error of a step's probabilities; the largest of all steps."""
        return self._estimator.tail

    @property
    def whole_answers(self) -> bool:
        """Whether every answer of the last step came with all of its log-probabilities, and known to within TIGHT_TAIL.

        Whoever bets on them counts an answer that is known less well as the worst there is, so hardly any may be.
        """
        answered = [
            one for groups, *_ in self._sampled[-1:] for group in groups for one in group.scored if not one.error
        ]
        return bool(answered) and self.tail <= TIGHT_TAIL and all(map(gradient.is_whole, answered))

    @property
    def untold(self) -> tuple[int, int]:
        """Answers of the last step that came without all log-probabilities, and how many there were."""
        sampled = [group for groups, *_ in self._sampled[-1:] for group in groups if not group.listed]
        answered = [one for group in sampled for one in group.scored if not one.error]
        if self.estimator == "log-odds":
            return 0, len(answered)
        return sum(not choice.has_all(one.trace) for one in answered), len(answered)

    def learn(self, groups: Sequence[Group], temperature: float) -> None:
        """Take in a step's groups, sampled at that temperature under `working`."""
        in_force = self.in_force
        self._sampled.append((groups, in_force, temperature))
        found = self._estimator.learn(groups, in_force, temperature)
        self._working = strongest(found, self._settings.bias_entries, 0 if self._whole else BIAS_DECIMALS)

    @property
    def in_force(self) -> dict[int, float]:
        """What requests carry now, the caller's own biases included, in nats."""
        return self._sent(self._working)

    def _sent(self, biases: Mapping[int, float]) -> dict[int, float]:
        """What a request carries: the caller's own biases win."""
        own = self._frame.request.get("logit_bias")
        sent = merge_bias(own, {str(token): bias for token, bias in biases.items()}, whole=self._whole)
        return {int(token): bias for token, bias in sent.items()}

    @property
    def start(self) -> dict[int, float]:
        """What requests carried when the run began, and carry where nothing is kept, in nats."""
        return self._sent({entry.token: entry.bias for entry in self._inherited})

    def result(self) -> tuple[TokenBias, ...]:
        """What the evidence of all steps supports, whatever is chosen, as the upstream takes it."""
        return self._as_sent(self._estimator.result())

    def on_top(self, more: Sequence[TokenBias]) -> tuple[TokenBias, ...]:
        """The inherited entries with these added to them, within the settings' bounds, as the upstream takes them."""
        entries, cap = {entry.token: entry for entry in self._inherited}, self._settings.bias_cap
        for entry in more:
            bias = entry.bias + (entries[entry.token].bias if entry.token in entries else 0.0)
            capped = min(cap, max(-cap, bias))
            entries[entry.token] = replace(entry, bias=capped, z=entry.z * bias / entry.bias)
        ranked = sorted(entries.values(), key=lambda entry: (-abs(entry.bias), entry.token))
        return self._as_sent(tuple(entry for entry in ranked if entry.bias)[: self._settings.bias_entries])

    def _as_sent(self, found: tuple[TokenBias, ...]) -> tuple[TokenBias, ...]:
        """Entries as the upstream takes them: all of them, or whole numbers."""
        if not self._whole:
            return found
        rounded = (replace(entry, bias=round(entry.bias)) for entry in found)
        return tuple(entry for entry in rounded if entry.bias)

    def choose(self, worth: Mapping[str, float], arms: Collection[str] = ()) -> tuple[tuple[TokenBias, ...], Choice]:
        """What is kept, and why: the result, or what was inherited; `worth` is what experiences were measured to do.

        It is chosen by the rollouts under these arms of the race, and by those of no arm; by all of them where those
        are too few to be weighed.
        """
        found = self.result()
        if found == self._inherited:
            return found, Choice("none", "no token was moved far enough, by enough tasks")
        chosen = self._choice(worth, arms)
        if chosen.effective is not None and chosen.effective < choice.FEWEST_EFFECTIVE and arms:
            every = {rollout.variant for groups, *_ in self._sampled for group in groups for rollout in group.rollouts}
            chosen = self._choice(worth, every)
        return found if chosen.scope != "none" else self._inherited, chosen

    def as_produced(self, temperature: float) -> tuple[list[Group], int, int] | None:
        """All rollouts so far as they would be at production's temperature, and how many of how many that leaves.

        None where they were sampled there, or where nothing tells their probabilities.
        """
        if self.estimator == "log-odds" or all(heat == temperature for *_, heat in self._sampled):
            return None
        steps = [choice.said_at(*step, temperature, self._backend) for step in self._sampled]
        groups = [group for made, *_ in steps for group in made]
        return groups, sum(left for _, left, _ in steps), sum(count for *_, count in steps)

    def _choice(self, worth: Mapping[str, float], arms: Collection[str]) -> Choice:
        sampled = [(made_under(groups, arms), in_force, heat) for groups, in_force, heat in self._sampled]
        if self.estimator == "log-odds":
            return choice.choose_by_steps([choice.mean_rewards(groups, worth) for groups, *_ in sampled])

        def without(tasks: frozenset[str]) -> dict[int, float]:
            return self._sent({entry.token: entry.bias for entry in self._estimator.result(tasks)})

        weighed = [choice.weighed_rollouts(*step) for step in sampled]
        listed = [one for groups, *_ in sampled for group in groups for one in group.listed]
        return choice.choose(
            weighed, self.start, without, self._backend, worth=worth, seed=self._settings.seed, listed=listed
        )

    def as_json(self, chosen: Choice) -> dict[str, JSON]:
        """How the token prior came about, in figures."""
        return {"estimator": self.estimator, "tail": round(self.tail, 4), "choice": chosen.as_json()}


def strongest(biases: Mapping[int, float], count: int, decimals: int = BIAS_DECIMALS) -> dict[int, float]:
    """The entries farthest from zero, rounded as they are sent."""
    rounded = {token: round(bias, decimals) for token, bias in biases.items()}
    ranked = sorted((token for token in rounded if rounded[token]), key=lambda token: (-abs(rounded[token]), token))
    return {token: rounded[token] for token in ranked[:count]}


def obstacle(backend: Backend, tokenizer: Tokenizer | None = None, labels: Sequence[str] = ()) -> str | None:
    """Why no token prior can be learned on an upstream, or None; `tokenizer` is what is at hand for its model.

    Where answers are `labels`, these can be decided again in place of biases.
    """
    lacking = []
    if way_of(backend, labels) == "re-decide":
        return None
    if not backend.logprobs and tokenizer is None:
        lacking.append(f"gives no log-probabilities with token ids ({backend.lacking or _NO_IDS})")
    if backend.logit_bias == "unknown":
        lacking.append("could not be seen to honour logit_bias")
    elif backend.logit_bias != "honoured":
        lacking.append(f"does not honour logit_bias ({backend.logit_bias})")
    return " and ".join(lacking) or None
