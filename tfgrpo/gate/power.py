"""What a number of tasks and passes can detect with the gate's bets, told before anything is spent. Pure.

The chances are those of *simulated* rewards of 0 or 1 whose pass rates are spread evenly over [0, 1 - effect] for one
arm and are higher by the effect, on every task alike, for the other; arms are sampled apart. Then

    q = E[d^2] = (1 + effect + effect^2) / 3

Where rewards spread less between rollouts (graded ones, tasks that are always or never solved), or the arms agree more,
smaller effects are detected than is said here. `benchmarks/gate.py` holds the approximation against simulation.
"""

from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from itertools import count, islice
from math import log, log1p, sqrt
from statistics import NormalDist

import numpy as np

from ..evaluation.difference import student_quantile
from .bets import next_bet, sign_test

POWER = 0.8
"""The chance of promotion that counts as being able to detect an effect."""
LARGEST_PLAN = 1_000
"""Passes, or tasks, past which nobody is sent."""
SPREAD = 0.2
"""Standard deviation over tasks that effects are taken to have where they differ, in reward units."""
_DRAWS = 1_000
"""Simulated single looks; a chance is known to within 0.03."""


def chance_of_promotion(tasks: int, passes: int, effect: float, level: float) -> float:
    """The chance that an effect above 0 (reward units, at most 1) is promoted at that level within the passes.

    The logarithm of the e-value is taken for normal, with the mean and variance that it has when every bet is the one
    that the expected outcomes lead to. What noise in the bets costs and what looking after each pass gains are left
    out, and nearly cancel: simulated chances were within 6 points, from 5 to 1,000 tasks. A single look, which has no
    earlier pass to bet by, is drawn.
    """
    if passes == 1:
        return _chance_of_one_look(tasks, round(effect, 3), level)
    return next(islice(_chances(tasks, effect, level), passes - 1, None), 0.0)


def _chances(tasks: int, effect: float, level: float) -> Iterator[float]:
    """The chance of promotion within one pass, within two, and so on."""
    square = (1 + effect + effect**2) / 3
    win, loss = (square + effect) / 2, (square - effect) / 2
    mean = variance = 0.0
    normal = NormalDist()
    for pairs in count(step=tasks):
        bet = next_bet(pairs, pairs * effect, pairs * square)
        gain, cost = log1p(bet), log1p(-bet)
        growth = win * gain + loss * cost
        mean += tasks * growth
        variance += tasks * (win * gain**2 + loss * cost**2 - growth**2)
        surplus = mean + log(level)
        yield normal.cdf(surplus / sqrt(variance)) if variance > 0 else float(surplus >= 0)


@lru_cache(maxsize=4_096)
def _chance_of_one_look(tasks: int, effect: float, level: float) -> float:
    square = (1 + effect + effect**2) / 3
    chances = [(square + effect) / 2, (square - effect) / 2, 1 - square]
    drawn = np.random.default_rng(tasks).multinomial(tasks, chances, size=_DRAWS)
    return float(np.mean([sign_test(int(wins), int(wins + losses)) <= level for wins, losses, _ in drawn]))


def smallest_over_tasks(tasks: int, passes: int, level: float, power: float = POWER) -> float | None:
    """The smallest mean effect whose interval over tasks lies above zero with that chance, where effects differ.

    With a standard deviation of SPREAD over tasks; None for a single task, and where not even 100 points would do.
    """
    if tasks < 2:
        return None
    error = sqrt((SPREAD**2 + 0.4 / passes) / tasks)
    wanted = (student_quantile(1 - level / 2, tasks - 1) + NormalDist().inv_cdf(power)) * error
    return wanted if wanted <= 1 else None


@lru_cache(maxsize=256)
def smallest_effect(tasks: int, passes: int, level: float, power: float = POWER) -> float | None:
    """The smallest effect, to a tenth of a point, that is promoted with that chance; None where not even 100 points."""
    found = bisect_left(
        range(1001), power, lo=1, key=lambda tenths: chance_of_promotion(tasks, passes, tenths / 1000, level)
    )
    return found / 1000 if found < 1001 else None


@lru_cache(maxsize=256)
def passes_needed(tasks: int, effect: float, level: float, power: float = POWER) -> int | None:
    """How many passes over that many tasks promote such an effect with that chance; None: more than LARGEST_PLAN."""
    within = enumerate(islice(_chances(tasks, effect, level), 1, LARGEST_PLAN), 2)
    found = next((passes for passes, chance in within if chance >= power), None)
    return 1 if found == 2 and chance_of_promotion(tasks, 1, effect, level) >= power else found


@lru_cache(maxsize=256)
def tasks_needed(passes: int, effect: float, level: float, power: float = POWER) -> int | None:
    """How many tasks, passed over that often, promote such an effect with that chance; None: more than LARGEST_PLAN."""
    found = bisect_left(
        range(LARGEST_PLAN + 1), power, lo=1, key=lambda n: chance_of_promotion(n, passes, effect, level)
    )
    return found if found <= LARGEST_PLAN else None
