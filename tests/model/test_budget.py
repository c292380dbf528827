"""One ceiling over everything: what is admitted, what ended it, and that no more than the calls in flight overshoot."""

import asyncio
import sys

import pytest

from tests.inprocess import MemoryJournal, Server, completion, refusal, upstream
from tests.tables import each
from tfgrpo.errors import BudgetEnded, InputError
from tfgrpo.model.budget import Budget, Ceiling, Spent, SpentCeiling
from tfgrpo.model.prices import FixedPrice, ListedPrices, read_price
from tfgrpo.model.upstream import Upstream
from tfgrpo.records import CallKey, Usage
from tfgrpo.settings import Settings
from tfgrpo.testing import _Receive, _Scope, _Send

TOKENS = Usage(1, 7, 2)
"""What one call of `inprocess.completion` costs."""


class Clock:
    """Seconds, as told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def spend(budget: Budget, calls: int) -> int:
    """Calls made one after the other before the budget ended, of that many."""
    for made in range(calls):
        try:
            budget.admit()
        except BudgetEnded:
            return made
        budget.charge("m", TOKENS)
    return calls


@each(
    ("ceiling", "made", "ended"),
    [
        (Ceiling(calls=3), 3, SpentCeiling("calls", 3, 3)),
        (Ceiling(tokens=18), 2, SpentCeiling("tokens", 18, 18)),
        (Ceiling(tokens=19), 3, SpentCeiling("tokens", 19, 27)),
        (Ceiling(usd=17), 2, SpentCeiling("usd", 17, 18)),
        (Ceiling(calls=3, tokens=18), 2, SpentCeiling("tokens", 18, 18)),
        (Ceiling(calls=50, tokens=10**9, usd=1e9, minutes=1), 20, None),
        (Ceiling(), 20, None),
    ],
)
def test_a_ceiling_ends_the_run_at_the_first_call_past_it(
    ceiling: Ceiling, made: int, ended: SpentCeiling | None
) -> None:
    budget = Budget(ceiling, FixedPrice(1e6, 1e6), clock=Clock())
    assert spend(budget, 20) == made
    assert budget.ended == ended
    assert (budget.spent.calls, budget.spent.tokens) == (made, 9 * made)


def test_minutes_are_counted_from_the_start() -> None:
    clock = Clock()
    budget = Budget(Ceiling(minutes=2), clock=clock)
    clock.now += 119
    budget.admit()
    clock.now += 1
    with pytest.raises(BudgetEnded, match=r"the budget of 2 minutes is used up \(2\.0 spent\)"):
        budget.admit()


def test_what_ended_a_run_stays_what_ended_it() -> None:
    clock = Clock()
    budget = Budget(Ceiling(calls=1, minutes=1), clock=clock)
    assert spend(budget, 2) == 1
    clock.now += 600
    with pytest.raises(BudgetEnded, match="1 calls is used up"):
        budget.admit()
    assert budget.ended == SpentCeiling("calls", 1, 1)


def test_what_earlier_starts_of_the_run_spent_counts() -> None:
    clock = Clock()
    budget = Budget(Ceiling(tokens=100), spent=Spent(5, 91, 0.25, 3.0), clock=clock)
    assert spend(budget, 9) == 1
    clock.now += 60
    assert budget.spent == Spent(6, 100, 0.25, 4.0)


@each("ceiling", [{"calls": 0}, {"tokens": -1}, {"usd": 0.0}, {"usd": float("nan")}, {"minutes": -2}])
def test_a_ceiling_that_allows_nothing_is_refused(ceiling: dict[str, int]) -> None:
    with pytest.raises(InputError, match=f"the ceiling on {next(iter(ceiling))} is"):
        Ceiling(**ceiling)


def test_a_ceiling_on_money_needs_prices() -> None:
    with pytest.raises(InputError, match="needs prices; state --price IN/OUT"):
        Budget(Ceiling(usd=1))


# Prices


def test_a_price_is_per_million_tokens_in_and_out() -> None:
    assert read_price("0.25/2") == FixedPrice(0.25, 2.0)
    assert read_price(" 0 / 0 ") == FixedPrice(0.0, 0.0)
    assert FixedPrice(0.25, 2.0)("any", Usage(3, 2_000_000, 500_000)) == 1.5


@each("text", ["", "1", "1/2/3", "a/b", "-1/2", "nan/1", "inf/1", "1,5/2"])
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"must be IN/OUT, USD per million tokens, like 0\.25/2"):
        read_price(text)


def test_listed_prices_are_those_of_the_library() -> None:
    usage = Usage(1, 1_000_000, 100_000)
    prices = [ListedPrices(url)("gpt-4o-mini", usage) for url in (None, "https://api.openai.com/v1")]
    assert prices[0] == prices[1] > 0
    assert ListedPrices()("gpt-4o-mini", Usage(1, 2_000_000, 200_000)) == pytest.approx(2 * prices[0])


@pytest.mark.parametrize(
    ("url", "model", "where"),
    [
        (None, "no-such-model", "'no-such-model' at https://api.openai.com/v1"),
        ("http://user:secret@127.0.0.1:8080/v1", "gpt-4o-mini", "'gpt-4o-mini' at 127.0.0.1:8080/v1"),
    ],
)
def test_a_model_that_is_not_listed_needs_a_stated_price(url: str | None, model: str, where: str) -> None:
    with pytest.raises(InputError) as caught:
        ListedPrices(url)(model, Usage())
    assert str(caught.value) == f"no price is listed for {where}; state it with --price IN/OUT"


def test_without_the_library_prices_must_be_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    with pytest.raises(InputError, match="or state --price IN/OUT"):
        ListedPrices()("gpt-4o-mini", Usage())


# Through the upstream


class Slow:
    """An ASGI app that answers when `open` is set, and remembers how many were asked at once."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.open = wanted, asyncio.Event()
        self.inside = self.most = self.calls = 0

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        await receive()
        self.calls += 1
        self.inside += 1
        self.most = max(self.most, self.inside)
        if self.inside == self.wanted:
            self.open.set()
        await self.open.wait()
        self.inside -= 1
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": completion().content})


async def ask(calling: Upstream, number: int) -> BudgetEnded | None:
    """One call; the error, if the budget refused it."""
    body = {"model": "m", "messages": [{"role": "user", "content": f"{number}"}]}
    try:
        await calling(body, CallKey("run_1", "rollout", 0, "task", number))
    except BudgetEnded as error:
        return error
    return None


@pytest.mark.parametrize(
    ("ceiling", "most"),
    [
        (Ceiling(calls=40), 40),
        (Ceiling(tokens=9 * 40), 40 + 31),
        (Ceiling(usd=9 * 40 * 1e-6), 40 + 31),
        (Ceiling(tokens=1), 32),
    ],
)
async def test_overshoot_is_at_most_the_calls_in_flight(ceiling: Ceiling, most: int) -> None:
    app, settings, budget = Slow(32), Settings(concurrency=32, call_retries=0), Budget(ceiling, FixedPrice(1, 1))
    async with upstream(app, settings=settings, budget=budget) as calling:
        refused = await asyncio.gather(*(ask(calling, number) for number in range(200)))
    assert app.most == 32
    assert app.calls == sum(error is None for error in refused) == budget.spent.calls
    assert app.calls <= most
    assert budget.ended is not None
    assert budget.spent.tokens == 9 * app.calls
    assert {str(error) for error in refused if error} == {str(budget.ended)}


async def test_calls_from_the_journal_cost_nothing_and_pass_when_the_budget_has_ended() -> None:
    server, budget = Server(completion()), Budget(Ceiling(calls=2), clock=Clock())
    async with upstream(server, journal=MemoryJournal(), budget=budget) as calling:
        assert [await ask(calling, number) for number in (0, 1)] == [None, None]
        assert await ask(calling, 2) is not None
        assert await ask(calling, 1) is None
    assert budget.spent == Spent(2, 18)
    assert len(server.requests) == 2


async def test_a_call_that_is_tried_again_is_one_call() -> None:
    server = Server(completion(), refusal(500), completion())
    async with upstream(server, settings=Settings(call_retries=1), budget=Budget(Ceiling(calls=2))) as calling:
        assert [await ask(calling, number) for number in (0, 1)] == [None, None]
        assert await ask(calling, 2) is not None
    assert len(server.requests) == 3
