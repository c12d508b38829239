"""Where a falling function crosses zero: what bisection alone answers, in fewer calls."""

import math
import random

import pytest

from titrant.runtime.contract.statistics.proportions import Pairs, crossing, paired_ratio_statistic


def bisected(falling, low, high, steps):
    if falling(low) <= 0:
        return low
    if falling(high) >= 0:
        return high
    for _ in range(steps):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return low


def score(seed):
    draw = random.Random(seed)
    counts = Pairs(draw.randint(5, 2000), draw.randint(1, 40), draw.randint(1, 40), 3)
    return lambda x: paired_ratio_statistic(counts, x) - 1.645


# Where it is zero → the function.
FALLING = {
    "a line": lambda at: lambda x: at - x,
    "a step": lambda at: lambda x: 1.0 if x < at else -1.0,
    "a wall": lambda at: lambda x: at - x if x < 1.9 * at else -math.inf,
    "a power": lambda at: lambda x: at**9 - x**9,
    "a pole": lambda at: lambda x: 1 / x - 1 / at,
    "zero nowhere": lambda at: lambda x: -at - x,
    "zero too late": lambda at: lambda x: 9.0 + at - x,
}


@pytest.mark.parametrize("steps", [32, 100])
@pytest.mark.parametrize("name", FALLING)
def test_answers_as_bisection_alone_does(name, steps):
    for at in (0.1, 0.3, 0.5, 2 / 3, 0.77, 0.999, 1.0, 1.2, 1.5, 1.9):
        falling = FALLING[name](at)
        assert crossing(falling, 1e-9, 2.0, steps) == bisected(falling, 1e-9, 2.0, steps)


def test_answers_as_bisection_alone_does_where_rounding_decides_at_the_end():
    for falling in map(score, range(40)):
        assert crossing(falling, 1e-9, 2.0) == bisected(falling, 1e-9, 2.0, 100)


def test_asks_half_as_often_as_bisection_where_it_is_smooth():
    asked = []
    for falling in map(score, range(20)):
        crossing(lambda x, falling=falling: asked.append(x) or falling(x), 1e-9, 2.0)
    assert len(asked) < 20 * 30
