"""The gate's bet: how much of its wealth is staked on the next pass, from what earlier passes have shown. Pure.

`e_process` says what the bets add up to, and why they prove something.
"""

BET_CAP = 0.5
"""Largest bet; below 1, so that no pass can ruin the bettor."""
GUESS = 0.07
"""The effect that is guessed before the first pass, in reward units."""
GUESS_SQUARED = 0.35
"""The mean of d^2 that goes with it."""
GUESS_PAIRS = 200
"""How many pairs the guesses weigh as much as."""


def shrunk(pairs: int, total: float, squares: float) -> tuple[float, float]:
    """Means of d and d^2 over that many pairs with these sums, shrunk towards the guesses."""
    weight = GUESS_PAIRS + pairs
    return (GUESS_PAIRS * GUESS + total) / weight, (GUESS_PAIRS * GUESS_SQUARED + squares) / weight


def next_bet(pairs: int, total: float, squares: float) -> float:
    """lambda = m / q, within [0, BET_CAP]: the bet under which wealth grows fastest, to second order.

    A guess that is wrong costs power, never validity; the bet may depend on earlier passes only.
    """
    mean, square = shrunk(pairs, total, squares)
    return min(BET_CAP, max(0.0, mean / square))
