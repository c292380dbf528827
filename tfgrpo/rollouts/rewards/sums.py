"""Weighted sums of rewards: `0.8*exact + 0.2*json-schema`."""

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

from ...errors import InputError, RewardError
from ...model.upstream import Model
from ...records import Rollout, Task
from ...text import shortened
from .reward import BuiltInReward, Reward, asking, asks_for_decisions, score

_TERM = re.compile(r"\s*(?:(?P<weight>[^\s*+]+)\s*\*\s*)?(?P<name>[^\s*+]+)\s*")
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class SumReward(BuiltInReward):
    """A Reward that adds others, each times its weight; the weights add up to 1 at most."""

    name: str  # pyrefly: ignore[bad-override]  # read-only here, and nobody sets it
    parts: tuple[tuple[float, str, Reward], ...]
    """Weight, name and reward of each."""

    def __call__(self, rollout: Rollout, /) -> Awaitable[tuple[float, str]]:
        """Raises InputError as its parts do, RewardError where one of them fails."""
        return self._sum(rollout)

    async def _sum(self, rollout: Rollout) -> tuple[float, str]:
        total, said = 0.0, list[str]()
        for weight, name, reward in self.parts:
            scored = await score(reward, rollout)
            if scored.reward is None:
                raise RewardError(f"{name}: {(scored.error or '').removeprefix('the reward failed: ')}")
            total += weight * scored.reward
            if scored.feedback:
                said.append(f"{name}: {scored.feedback}")
        return total, "; ".join(said)

    @property
    def asks_for_decisions(self) -> bool:
        """Whether one of its parts does."""
        return any(asks_for_decisions(reward) for _, _, reward in self.parts)

    def check(self, task: Task) -> None:
        """Raises InputError as its parts do."""
        for _, _, reward in self.parts:
            if isinstance(reward, BuiltInReward):
                reward.check(task)

    def doubt(self, tasks: Sequence[Task]) -> str | None:
        """The first of its parts'."""
        told = (part.doubt(tasks) for _, _, part in self.parts if isinstance(part, BuiltInReward))
        return next(filter(None, told), None)

    def calls(self) -> int:
        """Those of its parts."""
        return sum(part.calls() for _, _, part in self.parts if isinstance(part, BuiltInReward))

    @property
    def reads_text_alone(self) -> bool:
        """Whether all its parts do so."""
        return all(isinstance(part, BuiltInReward) and part.reads_text_alone for _, _, part in self.parts)

    def with_model(self, model: Model, name: str, run: str) -> Self:
        """As the Protocol says, for each part."""
        told = tuple((weight, own, asking(reward, model, name, run)) for weight, own, reward in self.parts)
        return replace(self, parts=told)


def sum_of(text: str, load: Callable[[str], Reward]) -> SumReward:
    """The sum that a text names; raises InputError for what is none, and as `load` does for each part."""
    terms = list(_terms(text))
    weighted = [weight for weight, _ in terms if weight is not None]
    if weighted and len(weighted) != len(terms):
        raise InputError(
            f"reward {shortened(text)!r}: give every part a weight, as in 0.8*exact + 0.2*numeric, or none"
        )
    weights = weighted or [1 / len(terms)] * len(terms)
    if sum(weights) > 1 + _ROUNDING or sum(weights) <= 0:
        raise InputError(f"reward {shortened(text)!r}: the weights add up to {sum(weights):g}; at most 1, and above 0")
    parts = tuple((weight, name, load(name)) for weight, (_, name) in zip(weights, terms, strict=True))
    for _, name, reward in parts:
        if isinstance(reward, BuiltInReward) and reward.compares_group:
            raise InputError(f"reward {name} compares the rollouts of a group, and cannot be part of a sum")
    named = (f"{weight:g}*{part.name if isinstance(part, BuiltInReward) else name}" for weight, name, part in parts)
    return SumReward(" + ".join(named), parts)


def _terms(text: str) -> Iterator[tuple[float | None, str]]:
    for part in text.split("+"):
        found = _TERM.fullmatch(part)
        if not found:
            wrong = f"{shortened(part.strip())!r} is no weight and reward" if part.strip() else "a part is missing"
            raise InputError(f"reward {shortened(text)!r}: {wrong}; write 0.8*exact + 0.2*json-schema")
        yield _weight(found["weight"], text), found["name"]


def _weight(written: str | None, text: str) -> float | None:
    if written is None:
        return None
    if not re.fullmatch(r"\d+(?:\.\d+)?|\.\d+", written):
        raise InputError(f"reward {shortened(text)!r}: the weight {shortened(written)!r} is no number of at least 0")
    return float(written)
