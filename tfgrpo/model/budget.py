"""The budget of a run: what it has spent so far, held against its ceilings on calls, tokens, money and minutes.

`admit` is asked right before each call is sent, `charge` told what it cost. Calls are counted when they are admitted,
so no more are made than the ceiling says; tokens, money and time overshoot by the calls that are in flight at most. A
call is one request with its retries, however many answers it asks for (`n`); a reply from the journal is none. What
earlier starts of the run spent is handed over as `spent`, or carried; minutes are counted from this start. A share of
every ceiling can be held back for what comes last.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Literal, TypeAlias

from ..errors import BudgetEnded, InputError
from ..records import Usage
from .prices import ListedPrices, Prices, read_price

Resource: TypeAlias = Literal["calls", "tokens", "usd", "minutes"]
_UNITS: Mapping[Resource, str] = {"calls": "calls", "tokens": "tokens", "usd": "USD", "minutes": "minutes"}


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What may be spent at most; None: without limit."""

    calls: int | None = None
    tokens: int | None = None
    usd: float | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        """Raises InputError for what is no amount."""
        for name in _UNITS:
            value = getattr(self, name)
            if value is not None and not (isfinite(value) and value > 0):
                raise InputError(f"the ceiling on {name} is {value}; it must be above 0")


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run has spent; USD are 0 where no price is known."""

    calls: int = 0
    tokens: int = 0
    usd: float = 0.0
    minutes: float = 0.0


def _sum(one: Spent, other: Spent) -> Spent:
    """Both, with the minutes of the first."""
    return replace(one, calls=one.calls + other.calls, tokens=one.tokens + other.tokens, usd=one.usd + other.usd)


@dataclass(frozen=True, slots=True)
class SpentCeiling:
    """Which ceiling ended a run, and what had been spent of that resource when a call was first refused."""

    resource: Resource
    ceiling: float
    spent: float
    held: float = 0.0
    """What was held back of it then."""

    def __str__(self) -> str:
        most, used = round(self.ceiling, 4), round(self.spent, 4)
        but = f" but for {self.held:,.6g} held back for the gate" if self.held else ""
        return f"the budget of {most:,} {_UNITS[self.resource]} is used up{but} ({used:,} spent)"


class Budget:
    """Keeps count of what a run spends; `ended` says what, if anything, has ended it."""

    def __init__(
        self,
        ceiling: Ceiling,
        prices: Prices | None = None,
        *,
        spent: Spent | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` gives seconds. Raises InputError for a ceiling on money without prices."""
        if ceiling.usd is not None and prices is None:
            raise InputError("a ceiling on money needs prices; state --price IN/OUT")
        self.ceiling = ceiling
        self.ended: SpentCeiling | None = None
        self.prices, self._clock = prices, clock
        self._earlier = self._spent = spent or Spent()
        self._started = clock() - 60 * self._spent.minutes
        self._held = 0.0
        self.anew = False
        """Whether the ceiling on calls is one on those of this start, and not of all."""

    @property
    def spent(self) -> Spent:
        """So far; calls in flight count as calls."""
        return replace(self._spent, minutes=(self._clock() - self._started) / 60)

    def carry(self, earlier: Iterable[tuple[str, Usage]]) -> None:
        """Count what earlier starts of the run have spent, by model; raises InputError as the prices do."""
        for model, usage in earlier:
            spent = Spent(usage.calls, usage.tokens, self.price(model, usage))
            self._earlier, self._spent = _sum(self._earlier, spent), _sum(self._spent, spent)
            if self.anew and self.ceiling.calls is not None:
                self.ceiling = replace(self.ceiling, calls=self.ceiling.calls + spent.calls)

    def price(self, model: str, usage: Usage) -> float:
        """USD, 0 where no prices are given; raises InputError as the prices do."""
        return self.prices(model, usage) if self.prices else 0.0

    def hold_back(self, share: float) -> None:
        """Refuse, until `release`, the calls that would eat into that share of any ceiling."""
        self._held = share

    def release(self) -> None:
        """Give back what was held back; a run that ended for its sake goes on."""
        self._held, self.ended = 0.0, None

    @property
    def calls_left(self) -> int | None:
        """About how many more calls the ceilings allow, at the mean cost of those so far; None: without limit."""
        spent, left = self.spent, []
        for name in _UNITS:
            most, used = getattr(self.ceiling, name), getattr(spent, name)
            made = spent.calls - (self._earlier.calls if name == "minutes" else 0)
            each = 1.0 if name == "calls" else used / made if made else 0.0
            if most is not None and each:
                left.append(max(0, int((most * (1 - self._held) - used) / each)))
        return min(left, default=None)

    def admit(self) -> None:
        """Count one more call, or raise BudgetEnded: from the first refusal on, always for the same reason."""
        self.ended = self.ended or self._used_up()
        if self.ended:
            raise BudgetEnded(str(self.ended))
        self._spent = replace(self._spent, calls=self._spent.calls + 1)

    def charge(self, model: str, usage: Usage) -> None:
        """Count what an admitted call cost; raises InputError as the prices do."""
        usd = self.price(model, usage)
        self._spent = replace(self._spent, tokens=self._spent.tokens + usage.tokens, usd=self._spent.usd + usd)

    def _used_up(self) -> SpentCeiling | None:
        spent = self.spent
        for name in _UNITS:
            most, used = getattr(self.ceiling, name), getattr(spent, name)
            if most is not None and used >= most * (1 - self._held):
                return SpentCeiling(name, most, used, most * self._held)
        return None


@dataclass(frozen=True, slots=True)
class Spending:
    """What a run may spend at most, and what its calls cost."""

    max_calls: int | None = None
    max_tokens: int | None = None
    max_usd: float | None = None
    max_minutes: float | None = None
    price: str | None = None
    """`IN/OUT` in USD per million tokens; None: as genai-prices lists it."""

    def budget(self, base_url: str | None, *models: str | None) -> Budget:
        """One budget for a run that calls these models; raises InputError for a ceiling on money without prices."""
        url = base_url or os.environ.get("OPENAI_BASE_URL")
        ceiling = Ceiling(self.max_calls, self.max_tokens, self.max_usd, self.max_minutes)
        prices: Prices = read_price(self.price) if self.price else ListedPrices(url)
        try:
            for model in filter(None, models):
                prices(model, Usage())
        except InputError:
            if self.max_usd is not None:
                raise
            return Budget(ceiling)  # nothing depends on prices but the estimate, which says that they are unknown
        return Budget(ceiling, prices)
