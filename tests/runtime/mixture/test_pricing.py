"""Prices add up to what was measured, and conversions cost what two mixtures took beyond their regions."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.mixture.allocation import Priced, RegionPrice
from titrant.runtime.mixture.pricing import BorderTensor, ProfiledMix, alternating, crosses, price, promising

SECONDS = st.floats(1e-6, 1e-3)


def chain(names):
    return tuple(BorderTensor(one, (other,)) for one, other in pairwise(names))


@st.composite
def measurements(draw):
    """True prices of a chain, and what profiling its four files gives; the profiler slows every node."""
    names = tuple(f"r{place}" for place in range(draw(st.integers(2, 7))))
    true = {name: (draw(SECONDS), draw(SECONDS)) for name in names}
    rest, cost = draw(st.sampled_from([0.0, 1e-5])), draw(st.floats(0, 1e-5))
    slower = draw(st.floats(1, 3))

    def profiled(int8):
        nodes = {name: true[name][name in int8] for name in names} | {"": rest}
        converted = [tensor.producer for tensor in chain(names) if crosses(tensor, int8)]
        by_region = {name: slower * (seconds + cost * converted.count(name)) for name, seconds in nodes.items()}
        return ProfiledMix(int8, sum(nodes.values()) + cost * len(converted), by_region)

    return names, true, rest, cost, profiled


def priced_by(names, profiled):
    mixes = [profiled(int8) for int8 in alternating(names)]
    return price(names, chain(names), profiled(frozenset()), profiled(frozenset(names)), mixes)


@settings(max_examples=60, deadline=None)
@given(measurements())
def test_finds_what_each_region_and_each_conversion_costs(drawn):
    names, true, rest, cost, profiled = drawn
    priced = priced_by(names, profiled)
    assert priced.rest == pytest.approx(rest)
    for region in priced.regions:
        assert (region.fp32, region.int8) == pytest.approx(true[region.name])
    for conversion in priced.conversions:
        assert (conversion.quantize, conversion.dequantize) == pytest.approx((cost, cost), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(measurements(), st.lists(SECONDS, min_size=4, max_size=4))
def test_adds_up_to_what_the_four_files_took_whatever_the_profiler_said(drawn, seconds):
    names, _, _, _, profiled = drawn
    sets = [frozenset(), frozenset(names), *alternating(names)]
    files = [ProfiledMix(int8, took, profiled(int8).by_region) for int8, took in zip(sets, seconds, strict=True)]
    priced = price(names, chain(names), files[0], files[1], files[2:])
    if not files[0].by_region[""]:
        assert [priced.seconds(int8) for int8 in sets[:2]] == pytest.approx(seconds[:2])
    for int8, took in zip(sets[2:], seconds[2:], strict=True):
        nodes = Priced(priced.regions, (), priced.rest).seconds(int8)
        # A mixture that took less than its regions tells of noise: a conversion is no gain.
        assert priced.seconds(int8) == pytest.approx(max(took, nodes))


def test_gives_a_conversion_that_no_mixture_has_the_mean_price_of_its_direction():
    names = ("a", "b", "c")
    tensors = (BorderTensor("a", ("b",)), BorderTensor("a", ("c",)))
    files = [ProfiledMix(int8, took, dict.fromkeys(names, 1.0)) for int8, took in (
        (frozenset(), 3.0), (frozenset(names), 3.0), (frozenset("ac"), 3.2), (frozenset("b"), 3.6)
    )]  # fmt: skip
    priced = price(names, tensors, files[0], files[1], files[2:])
    assert [crosses(tensor, frozenset("ac")) for tensor in tensors] == [True, False]
    read, unread = priced.conversions
    assert (read.dequantize, read.quantize) == pytest.approx((0.2, 0.6))
    assert (unread.dequantize, unread.quantize) == pytest.approx((0.2, 0.6))


def test_asks_nothing_of_conversions_where_no_mixture_ran():
    files = [ProfiledMix(frozenset(int8), 2.0, {"a": 1.0, "b": 1.0}) for int8 in ("", "ab")]
    priced = price(("a", "b"), (BorderTensor("a", ("b",)),), *files, [])
    assert (priced.conversions[0].quantize, priced.conversions[0].dequantize) == (0.0, 0.0)


def test_has_no_mixtures_of_a_single_region():
    assert alternating(("a",)) == ()
    priced = price(
        ("a",), (), ProfiledMix(frozenset(), 2.0, {"a": 1.0}), ProfiledMix(frozenset("a"), 1.0, {"a": 1.0}), []
    )
    assert (priced.regions[0].fp32, priced.regions[0].int8) == (2.0, 1.0)


@pytest.mark.parametrize(("count", "timed"), [(1, 0), (2, 2), (3, 6), (4, 14), (5, 14), (20, 14)])
def test_times_every_mixture_of_few_regions_and_the_fastest_of_many(count, timed):
    names = [f"r{place}" for place in range(count)]
    priced = Priced(tuple(RegionPrice(name, 2.0 + place, 1.0, 0.0) for place, name in enumerate(names)))
    mixes = promising(priced)
    assert len(mixes) == len(set(mixes)) == timed
    assert frozenset() not in mixes
    assert frozenset(names) not in mixes
    seconds = [priced.seconds(int8) for int8 in mixes]
    assert seconds == sorted(seconds)
