"""Options that bound what a command spends, and what is made of them."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .gathered import BUDGET, gathered, titled

if TYPE_CHECKING:
    from ...model.budget import Budget


@dataclass(frozen=True, slots=True)
class SpendingOptions:
    """Ceilings and prices as they were given."""

    max_calls: int | None
    max_tokens: int | None
    max_usd: float | None
    max_minutes: float | None
    price: str | None

    def budget(self, base_url: str | None, *models: str | None) -> "Budget":
        """One budget for a run that calls these models; raises InputError for a ceiling on money without prices."""
        from ...errors import InputError
        from ...model.budget import Budget, Ceiling
        from ...model.prices import ListedPrices, Prices, read_price
        from ...records import Usage

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


_option = titled(BUDGET)

spending_options = gathered(
    "spending",
    SpendingOptions,
    _option("--max-calls", type=int, help="Ceiling on calls, of the distiller and the gate too."),
    _option("--max-tokens", type=int, help="Ceiling on tokens, prompts and answers together."),
    _option("--max-usd", type=float, help="Ceiling on money, over all starts of the run."),
    _option("--max-minutes", type=float, help="Ceiling on the time of this start of the run."),
    _option(
        "--price", rare=True, metavar="IN/OUT", help="USD per million tokens.  [default: as genai-prices lists it]"
    ),
)
"""--max-calls, --max-tokens, --max-usd, --max-minutes and --price; the command gets them as `spending`."""
