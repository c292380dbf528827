"""What calls cost in money: a price that is stated, or public prices by genai-prices."""

from dataclasses import dataclass
from math import inf, isfinite
from typing import Protocol

from ..errors import InputError
from ..extras import install_hint
from ..records import Usage
from ..text import shortened

OPENAI_URL = "https://api.openai.com/v1"
"""The upstream where no other is named."""


class Prices(Protocol):
    """Any function from a model and the usage of one call to its price in USD."""

    def __call__(self, model: str, usage: Usage, /) -> float:
        """Raises InputError where no price is known."""
        ...


@dataclass(frozen=True, slots=True)
class FixedPrice:
    """Prices in USD per million tokens, the same for every model."""

    prompt: float
    completion: float

    def __call__(self, model: str, usage: Usage, /) -> float:
        """What that many tokens cost."""
        return (usage.prompt_tokens * self.prompt + usage.completion_tokens * self.completion) / 1e6


def read_price(text: str) -> FixedPrice:
    """The price that `--price IN/OUT` states; raises InputError for any other text."""
    try:
        prompt, completion = (float(part) for part in text.split("/"))
    except ValueError:
        prompt = completion = inf
    if not (isfinite(prompt) and isfinite(completion) and prompt >= 0 and completion >= 0):
        raise InputError(f"price {shortened(text)!r} must be IN/OUT, USD per million tokens, like 0.25/2")
    return FixedPrice(prompt, completion)


@dataclass(frozen=True, slots=True)
class ListedPrices:
    """Public prices, as the library genai-prices lists them for the upstream at this URL."""

    base_url: str | None = None

    def __call__(self, model: str, usage: Usage, /) -> float:
        """Raises InputError for a model that is not listed there, and without the library."""
        try:
            import genai_prices
        except ImportError:
            raise InputError(
                f"prices are looked up with the extra `prices`: {install_hint('prices')}; or state --price IN/OUT"
            ) from None
        tokens = genai_prices.Usage(input_tokens=usage.prompt_tokens, output_tokens=usage.completion_tokens)
        try:
            found = genai_prices.calc_price(tokens, model, provider_api_url=self.base_url or OPENAI_URL)
        except LookupError:
            where = shortened((self.base_url or OPENAI_URL).rpartition("@")[2])
            raise InputError(
                f"no price is listed for {shortened(model)!r} at {where}; state it with --price IN/OUT"
            ) from None
        return float(found.total_price)
