"""The search over mixtures ends, goes on from what was kept, and never makes what a failure rules out."""

from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.mixture.allocation import Conversion, Priced, RegionPrice, frontier
from titrant.runtime.mixture.proposal import WORTH, TriedMix, propose


@st.composite
def searches(draw):
    """A network, and how much of its damage the contract bears; the loss grows with the damage, at any pace."""
    count = draw(st.integers(1, 7))
    regions = tuple(
        RegionPrice(f"r{place}", draw(st.floats(1, 2)), draw(st.floats(0.3, 2)), 10.0 ** draw(st.floats(-5, 0)))
        for place in range(count)
    )
    cost = draw(st.floats(0, 0.4))
    edges = tuple(Conversion(f"r{place}", (f"r{place + 1}",), cost, cost) for place in range(count - 1))
    priced = Priced(regions, edges)
    share = draw(st.one_of(st.just(0.0), st.floats(1e-6, 1)))
    return priced, share * priced.damage(priced.names), draw(st.sampled_from([0.3, 1.0, 2.0]))


def search(priced, bearable, pace, retention=0.99):
    """Try the uniform and what is proposed until nothing is; a mixture is kept where its damage is bearable."""
    lines = frontier(priced)
    tried = []

    def attempt(int8):
        damage = priced.damage(int8)
        loss = (1 - retention) * (damage / bearable) ** pace if bearable else 1.0 if damage else 0.0
        tried.append(TriedMix(frozenset(int8), loss <= 1 - retention, min(loss, 1.0)))

    attempt(priced.names)
    while (mix := propose(priced, lines, tried, retention)) is not None:
        attempt(mix.int8)
        assert len(tried) <= len(lines.mixes) + 1
    return lines, tried


@settings(max_examples=25, deadline=None)
@given(searches())
def test_ends_with_the_fastest_mixture_of_the_frontier_that_is_kept(drawn):
    priced, bearable, pace = drawn
    lines, tried = search(priced, bearable, pace)
    kept = [attempt.int8 for attempt in tried if attempt.kept]
    best = min([priced.seconds(()), *map(priced.seconds, kept)])
    could = [mix.seconds for mix in lines.mixes if mix.damage <= bearable]
    assert all(best <= seconds * (1 + WORTH) for seconds in could)


@settings(max_examples=25, deadline=None)
@given(searches())
def test_tries_nothing_twice_nothing_slower_and_nothing_that_a_failure_rules_out(drawn):
    priced, bearable, pace = drawn
    _, tried = search(priced, bearable, pace)
    for place, attempt in enumerate(tried[1:], 1):
        before = tried[:place]
        assert attempt.int8 not in [other.int8 for other in before]
        for other in before:
            if other.kept:
                assert priced.seconds(attempt.int8) * (1 + WORTH) <= priced.seconds(other.int8)
            else:
                assert priced.damage(attempt.int8) < priced.damage(other.int8)
                assert not attempt.int8 >= other.int8


def test_needs_few_attempts_where_loss_follows_damage():
    regions = tuple(RegionPrice(f"r{place}", 1.0, 0.5, 2.0**-place) for place in range(12))
    priced = Priced(regions, whole=4.0)
    for bearable in (1.5, 0.5, 0.1, 0.01):
        _, tried = search(priced, bearable, 1.0)
        assert len(tried) <= 5, bearable


def test_begins_with_the_fastest_mixture_that_is_expected_to_keep_the_contract():
    priced = Priced(tuple(RegionPrice(f"r{place}", 1.0, 0.5, 2.0**-place) for place in range(8)))
    lines = frontier(priced)
    uniform = TriedMix(frozenset(priced.names), False, 0.04)
    first = propose(priced, lines, [uniform], 0.99)
    assert first.damage <= priced.damage(priced.names) / 4
    faster = lines.mixes[lines.mixes.index(first) - 1]
    assert faster.damage > priced.damage(priced.names) / 4


def test_proposes_nothing_where_float_is_as_fast():
    priced = Priced(tuple(RegionPrice(f"r{place}", 1.0, 0.97, 2.0**-place) for place in range(4)))
    assert propose(priced, frontier(priced), [], 0.99) is None


def test_proposes_nothing_once_the_uniform_was_kept_and_is_as_fast_as_any():
    priced = Priced(tuple(RegionPrice(f"r{place}", 1.0, 0.5, 2.0**-place) for place in range(4)))
    assert propose(priced, frontier(priced), [TriedMix(frozenset(priced.names), True, 0.0)], 0.99) is None
