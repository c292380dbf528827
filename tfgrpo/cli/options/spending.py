"""Options that bound what a command spends."""

from ...model.budget import Spending
from .gathered import BUDGET, gathered, titled

_option = titled(BUDGET)

spending_options = gathered(
    "spending",
    Spending,
    _option("--max-calls", type=int, help="Ceiling on calls, whatever they are for."),
    _option("--max-tokens", type=int, help="Ceiling on tokens, prompts and answers together."),
    _option("--max-usd", type=float, help="Ceiling on money."),
    _option("--max-minutes", type=float, help="Ceiling on minutes, of each start."),
    _option(
        "--price", rare=True, metavar="IN/OUT", help="USD per million tokens.  [default: as genai-prices lists it]"
    ),
)
"""--max-calls, --max-tokens, --max-usd, --max-minutes and --price; the command gets them as `spending`."""
