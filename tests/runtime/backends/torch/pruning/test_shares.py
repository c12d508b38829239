"""How much each group keeps: the same share, and the integer program against every choice that there is."""

import itertools
import math

from hypothesis import given, settings
from hypothesis import strategies as some

from titrant.runtime.backends.torch.pruning.shares import (
    Choices,
    PricedCounts,
    between,
    by_damage,
    filled,
    some_counts,
    uniform,
)

COST = (5, 3, 2)


def removes(kept):
    """Layers in a chain: what is between two groups is lost with either, so that less goes than their sum."""
    widths = [8, *kept, 4]
    return 8 * 8 + 8 * 8 + 8 * 8 + 8 * 4 - sum(a * b for a, b in itertools.pairwise(widths))


CHAIN = [Choices.of(8, 2, [1.0] * 8) for _ in range(3)]


def test_keeps_blocks_and_at_least_one_of_them():
    assert Choices.of(64, 16, [1.0] * 64).counts == (64, 48, 32, 16)
    assert Choices.of(40, 16, [1.0] * 40).counts == (40, 32, 16)
    assert Choices.of(4, 1, [1.0, 2.0, 3.0, 4.0]).score_lost == (0.0, 0.1, 0.3, 0.6)


def test_takes_the_same_share_of_all_and_no_more_than_was_asked():
    assert uniform(CHAIN, removes, removes((6, 6, 6))) == (6, 6, 6)
    assert uniform(CHAIN, removes, removes((6, 6, 6)) - 1) == (8, 8, 8)
    assert uniform(CHAIN, removes, 0) == (8, 8, 8)


def test_fills_what_rounding_left_where_least_is_lost():
    strong = Choices.of(8, 2, [5.0, 5.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    weak = Choices.of(8, 2, [9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 0.0, 0.0])
    limit = removes((8, 8, 6))
    assert filled([strong, strong, weak], (8, 8, 8), removes, limit) == (8, 8, 6)


def priced(damages):
    """Each group of the chain alone: its damage, parameters and work."""
    groups = []
    for place, by_count in enumerate(damages):
        alone = [tuple(count if other == place else 8 for other in range(3)) for count in CHAIN[place].counts]
        gone = tuple(float(removes(kept)) for kept in alone)
        work = tuple(COST[place] * float(8 - kept[place]) for kept in alone)
        groups.append(PricedCounts(CHAIN[place].counts, tuple(itertools.accumulate(by_count, initial=0.0)), gone, work))
    return groups


STEPS = some.lists(some.floats(0.001, 10.0), min_size=3, max_size=3)


@settings(max_examples=8)
@given(some.lists(STEPS, min_size=3, max_size=3), some.integers(20, 120))
def test_never_does_more_damage_than_what_else_removes_and_saves_as_much(damages, limit):
    groups = priced(damages)
    even = uniform(CHAIN, removes, limit)
    alike = filled(CHAIN, even, removes, limit)
    kept = by_damage(groups, even, removes, removes(alike), limit)
    if kept is None:
        return

    def figures(choice):
        places = [group.counts.index(count) for group, count in zip(groups, choice, strict=True)]
        return [
            math.fsum(getattr(g, part)[p] for g, p in zip(groups, places, strict=True))
            for part in ("damage", "parameters", "work")
        ]

    damage, parameters, work = figures(kept)
    assert removes(alike) <= removes(kept) <= limit
    assert work >= figures(even)[2] - 1e-6
    for other in itertools.product(*(each.counts for each in groups)):
        theirs = figures(other)
        # As much by the sum, which the program counts by, and no slower than the same share of all.
        if theirs[1] >= parameters - 1e-6 and theirs[2] >= figures(even)[2] - 1e-6:
            assert damage <= theirs[0] + 1e-6 * max(theirs[0], 1)


def test_prefers_the_group_that_harms_least():
    kept = by_damage(
        priced([[9, 9, 9], [9, 9, 9], [0.1, 0.1, 0.1]]), (8, 8, 8), removes, removes((8, 8, 4)), removes((8, 8, 2))
    )
    assert kept == (8, 8, 4)


def test_measures_few_counts_of_a_wide_layer():
    assert some_counts([*range(64, 0, -1)], 6) == (64, 51, 39, 26, 14, 1)
    assert some_counts([8, 4], 6) == (8, 4)
    assert between((8, 6, 4, 2), (8, 4, 2), (0.0, 4.0, 3.0)) == (0.0, 2.0, 4.0, 4.0)
