"""The integer program finds what trying every mixture finds."""

import math
from itertools import combinations, pairwise
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.mixture import allocation
from titrant.runtime.mixture.allocation import Conversion, Priced, RegionPrice, frontier, mix_of

SECONDS = st.one_of(st.just(0.0), st.floats(1e-7, 1e-2))
# Damages of a network span orders of magnitude, and some regions do none.
DAMAGES = st.one_of(st.just(0.0), st.floats(-9, 1).map(lambda power: 10.0**power))


@st.composite
def priced_networks(draw, most=8):
    names = [f"r{place}" for place in range(draw(st.integers(1, most)))]
    regions = tuple(RegionPrice(name, draw(SECONDS), draw(SECONDS), draw(DAMAGES)) for name in names)
    edges = []
    for place, name in enumerate(names[:-1]):
        if draw(st.booleans()):
            consumers = draw(st.lists(st.sampled_from(names[place + 1 :]), min_size=1, max_size=3, unique=True))
            edges.append(Conversion(name, tuple(consumers), draw(SECONDS), draw(SECONDS)))
    whole = draw(st.one_of(st.none(), DAMAGES))
    return Priced(regions, tuple(edges), draw(SECONDS), whole)


def every_mix(priced):
    for size in range(len(priced.regions) + 1):
        yield from combinations(priced.names, size)


def by_hand(priced, int8):
    """The seconds of a mixture, counted region by region and reader by reader."""
    total = priced.rest
    for region in priced.regions:
        total += region.int8 if region.name in int8 else region.fp32
    for edge in priced.conversions:
        others = [name for name in edge.consumers if (name in int8) != (edge.producer in int8)]
        if others:
            total += edge.dequantize if edge.producer in int8 else edge.quantize
    return total


@settings(max_examples=25, deadline=None)
@given(priced_networks())
def test_finds_the_fastest_mixture_within_each_damage_as_trying_all_of_them_does(priced):
    answer = frontier(priced)
    assert answer.unsolved == ()
    for mix in answer.mixes:
        spent = priced.added(mix.int8)
        rivals = [int8 for int8 in every_mix(priced) if priced.added(int8) <= spent]
        fastest = min(by_hand(priced, int8) for int8 in rivals)
        # The solver stops within a millionth of the largest price.
        assert by_hand(priced, mix.int8) <= fastest + 1e-5 * max(r.fp32 + r.int8 for r in priced.regions) + 1e-5 * max(
            [edge.quantize + edge.dequantize for edge in priced.conversions], default=0
        )


@settings(max_examples=25, deadline=None)
@given(priced_networks())
def test_trades_speed_for_damage_from_the_fastest_of_all_to_no_damage_at_all(priced):
    mixes = frontier(priced).mixes
    assert 1 <= len(mixes) <= allocation.POINTS
    assert all(left.seconds <= right.seconds for left, right in pairwise(mixes))
    assert all(left.damage > right.damage for left, right in pairwise(mixes))
    assert mixes[-1].damage == 0
    for mix in mixes:
        assert mix == mix_of(priced, mix.int8)
        assert mix.seconds == pytest.approx(by_hand(priced, mix.int8))
        assert {*mix.int8, *mix.left} == {*priced.names}


@settings(max_examples=25, deadline=None)
@given(priced_networks(), st.data())
def test_predicts_more_damage_the_more_is_in_int8_and_the_whole_for_all(priced, data):
    some = data.draw(st.sets(st.sampled_from(priced.names)))
    more = some | data.draw(st.sets(st.sampled_from(priced.names)))
    assert priced.damage(some) <= priced.damage(more) * (1 + 1e-9)
    total = priced.added(priced.names)
    if priced.whole is None or not total:
        assert priced.damage(priced.names) == total
    else:
        assert priced.damage(priced.names) == pytest.approx(max(priced.whole, total / 2))


def test_converts_a_tensor_once_however_many_read_it():
    regions = tuple(RegionPrice(name, 1.0, 1.0, 0.0) for name in ("first", "left", "right"))
    priced = Priced(regions, (Conversion("first", ("left", "right"), 0.25, 0.5),))
    assert priced.seconds({"first"}) == 3.5
    assert priced.seconds({"left", "right"}) == priced.seconds({"left"}) == 3.25
    assert priced.seconds({"first", "left"}) == 3.5
    assert priced.seconds(()) == priced.seconds({"first", "left", "right"}) == 3.0


def test_leaves_a_region_in_float_between_two_where_the_conversions_cost_more():
    regions = (RegionPrice("a", 3, 1, 0), RegionPrice("b", 1.2, 1, 5), RegionPrice("c", 3, 1, 0))
    edges = tuple(Conversion(one, (other,), 0.3, 0.3) for one, other in (("a", "b"), ("b", "c")))
    mixes = frontier(Priced(regions, edges)).mixes
    assert [mix.left for mix in mixes] == [(), ("b",)]
    assert [mix.seconds for mix in mixes] == pytest.approx([3.0, 3.8])


def test_says_for_which_budgets_the_solver_had_no_answer():
    regions = tuple(RegionPrice(f"r{place}", 2.0, 1.0, 10.0**-place) for place in range(6))

    class Silent:
        x = None

    with patch("scipy.optimize.milp", return_value=Silent()):
        answer = frontier(Priced(regions))
    assert answer.mixes == ()
    assert len(answer.unsolved) == allocation.POINTS


def test_gives_no_answer_that_overdraws_its_budget():
    regions = tuple(RegionPrice(f"r{place}", 2.0, 1.0, 1.0) for place in range(3))

    class Overdrawn:
        x = [1.0, 1.0, 1.0]  # noqa: RUF012

    with patch("scipy.optimize.milp", return_value=Overdrawn()):
        answer = frontier(Priced(regions))
    assert [mix.int8 for mix in answer.mixes] == [("r0", "r1", "r2")]
    assert answer.unsolved[-1] == 0.0


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -1.0])
@pytest.mark.parametrize("place", ["fp32", "int8", "damage", "quantize", "rest", "whole"])
def test_refuses_a_figure_that_is_no_price(wrong, place):
    figures = dict.fromkeys(("fp32", "int8", "damage", "quantize", "rest", "whole"), 1.0) | {place: wrong}
    region = RegionPrice("a", figures["fp32"], figures["int8"], figures["damage"])
    edge = Conversion("a", ("b",), figures["quantize"], 1.0)
    with pytest.raises(ValueError, match="a price or damage"):
        frontier(Priced((region, RegionPrice("b", 1, 1, 1)), (edge,), figures["rest"], figures["whole"]))


def test_refuses_names_that_stand_twice_or_nowhere():
    region = RegionPrice("a", 1, 1, 1)
    with pytest.raises(ValueError, match="a stands twice"):
        frontier(Priced((region, region)))
    with pytest.raises(ValueError, match="no region b"):
        frontier(Priced((region,), (Conversion("a", ("b",), 1, 1),)))
    with pytest.raises(KeyError):
        mix_of(Priced((region,)), {"b"})
