"""What `auto` does not make: what cannot win, however far predictions are off, and what a budget has no room for."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.compiler.decide.measuring import AUTO_EVALUATIONS
from titrant.compiler.decide.rule import SearchBudget
from titrant.compiler.predict.narrow import (
    MARGIN,
    Aims,
    beyond_budget,
    hopeless,
    leave_out,
    margin,
    merit,
    times_slower,
)
from titrant.compiler.predict.outlook import Outlook

# Each generates lists of candidates, so that forty examples take seconds.
few = settings(max_examples=20)
OBJECTIVES = ("latency", "size", "peak_memory", "throughput", "quality")
SPEED = Aims(("latency", "size"))
PLAIN = Outlook("onnx-fp32", "onnxruntime", 0, True, "onnx-fp32", seconds=1.0, bytes=1000 << 10)
INT8 = Outlook("int8", "onnxruntime", 1, False, ("onnxruntime", 8, False, True), seconds=0.5, bytes=260 << 10)


@st.composite
def competing(draw):
    """Candidates of one search: some plain, some of methods that say what they cost, some of others."""
    places = range(draw(st.integers(1, 8)))
    return [
        Outlook(
            chain=f"c{place}",
            engine=draw(st.sampled_from(("onnxruntime", "openvino"))),
            rank=place,
            plain=draw(st.booleans()),
            kind=draw(
                st.sampled_from((("a", 8, True, False), ("a", 8, False, True), ("b", 16, False, False), f"c{place}"))
            ),
            # Mostly so near to each other that it depends on the margin.
            seconds=draw(st.none() | st.sampled_from((1.0, 1.2, 1.4, 1.6, 1.9, 2.1, 4.0)) | st.floats(1e-5, 10)),
            bytes=draw(st.none() | st.integers(1, 1 << 30)),
            making_seconds=draw(st.none() | st.floats(0, 1e4)),
        )
        for place in places
    ]


AIMS = st.builds(
    Aims,
    objective=st.permutations(OBJECTIVES).flatmap(lambda names: st.integers(1, 5).map(lambda n: tuple(names[:n]))),
    size=st.none() | st.integers(1, 1 << 30),
    plain_may_fail=st.booleans(),
    budget=st.builds(SearchBudget, st.none() | st.integers(1, 8), st.none() | st.floats(0.01, 100)),
    written=st.booleans(),
)


@few
@given(competing(), AIMS)
def test_never_drops_what_may_be_as_good_as_the_best(search, aims):
    aims = replace(aims, objective=("latency", *aims.objective), size=None, plain_may_fail=False, budget=SearchBudget())
    dropped = hopeless(search, aims)
    for item in search:
        if item.chain in dropped:
            assert not item.plain
            rivals = [other for other in search if other.plain and times_slower(item, other) is not None]
            assert any(item.seconds / margin(item, other) > other.seconds for other in rivals)
            assert item.seconds > min(other.seconds for other in search if other.seconds is not None)


@few
@given(competing(), AIMS)
def test_drops_for_its_size_only_what_is_larger_than_the_target_by_more_than_the_prediction_may_be_off(search, aims):
    dropped = hopeless(search, replace(aims, objective=("size",), budget=SearchBudget()))
    for item in search:
        if item.chain in dropped:
            assert item.bytes * 0.97 > aims.size
    assert not search or len(dropped) < len(search) or any(item.plain for item in search)


@few
@given(competing(), AIMS)
def test_never_drops_a_method_of_which_nothing_is_known_nor_a_plain_conversion(search, aims):
    left_out = leave_out([search], aims)
    for item in search:
        nothing = item.seconds is None and item.bytes is None and item.making_seconds is None
        if item.plain or (nothing and item.kind == item.chain and not aims.written):
            assert item.chain not in left_out


@few
@given(competing(), AIMS)
def test_keeps_to_the_budget_and_to_the_best_of_each_kind(search, aims):
    left_out = leave_out([search], aims)
    made = [item for item in search if not item.plain and item.chain not in left_out]
    cut = [item for item in search if item.chain in left_out and left_out[item.chain].by_budget]
    room = aims.budget.evaluations
    if room is not None and aims.written:
        assert len(made) <= room
        assert not cut or len(made) == room
    for item in cut:
        assert aims.written or item.kind != item.chain
        in_reach = item.seconds is None or all(
            other.seconds is None or item.seconds <= MARGIN * other.seconds for other in search if not other.plain
        )
        # What may win is cut for what may win as well, and the best of its kind for no second of another.
        for other in made if in_reach and item.kind != item.chain else ():
            alike = [each for each in made if each.kind == item.kind]
            assert alike or merit(other, aims.objective) <= merit(item, aims.objective) or other.kind == other.chain


@few
@given(competing(), competing(), AIMS)
def test_makes_for_all_searches_what_one_of_them_may_need(first, second, aims):
    left_out = leave_out([first, second], aims)
    for search in (first, second):
        alone = leave_out([search], aims)
        others = {item.chain for item in (second if search is first else first)}
        for item in search:
            if item.chain not in alone and item.chain not in others:
                assert item.chain not in left_out


@few
@given(st.lists(competing(), min_size=1, max_size=3), AIMS)
def test_answers_the_same_whatever_the_order_of_the_candidates(searches, aims):
    assert leave_out(searches, aims) == leave_out([search[::-1] for search in searches], aims)


@few
@given(competing(), st.permutations(OBJECTIVES))
def test_orders_candidates_totally_by_every_list_of_objectives(search, objective):
    merits = [merit(item, objective) for item in search]
    for one in merits:
        for other in merits:
            assert (one <= other) or (other <= one)
            for third in merits:
                assert not (one <= other <= third) or one <= third
    for place, name in enumerate(objective):
        if name in ("latency", "throughput"):
            assert all(each[place] == (-1.0 if item.seconds is None else item.seconds)
                       for each, item in zip(merits, search, strict=True))  # fmt: skip


@pytest.mark.parametrize(
    ("item", "aims", "because"),
    [
        (replace(INT8, seconds=8.0), SPEED, "it is expected to take 8.0 times as long as onnx-fp32"),
        (replace(INT8, seconds=1.6), SPEED, "it is expected to take 1.6 times as long as onnx-fp32"),
        (replace(INT8, seconds=1.4), SPEED, ""),
        (replace(INT8, seconds=1.6, engine="openvino"), SPEED, ""),
        (replace(INT8, seconds=2.1, engine="openvino"), SPEED, "it is expected to take 2.1 times as long as onnx-fp32"),
        (replace(INT8, seconds=8.0), Aims(("size", "latency")), ""),
        (replace(INT8, seconds=8.0), replace(SPEED, plain_may_fail=True), ""),
        # A plain conversion that is too large itself says nothing of others.
        (replace(INT8, seconds=8.0), replace(SPEED, size=300 << 10), ""),
        (INT8, replace(SPEED, size=200 << 10), "its file is expected to take 260.0 KiB, and target.size is 200.0 KiB"),
        (INT8, replace(SPEED, size=250 << 10), ""),
        (
            replace(INT8, making_seconds=130.0),
            replace(SPEED, budget=SearchBudget(minutes=1)),
            "making it is expected to take 2 min 10 s, and search.budget.minutes is 1",
        ),
        (replace(INT8, making_seconds=110.0), replace(SPEED, budget=SearchBudget(minutes=1)), ""),
    ],
)
def test_says_what_a_candidate_cannot_win_by(item, aims, because):
    small = replace(INT8, chain="small", bytes=1 << 10)  # so that not everything is too large
    assert hopeless([PLAIN, item, small], aims).get("int8", "") == because


def test_drops_nothing_for_its_size_where_everything_is_too_large():
    assert hopeless([PLAIN, INT8], replace(SPEED, size=1 << 10)) == {}


def test_takes_the_best_of_each_kind_before_a_second_of_one_and_what_is_far_behind_last():
    search = [PLAIN, *(replace(INT8, chain=f"dynamic{place}", seconds=0.1 + 0.01 * place) for place in range(1, 4))]
    search += [
        replace(INT8, chain="half", kind=("torch", 16, False, False), seconds=0.9),
        replace(INT8, chain="static", kind=("onnxruntime", 8, True, False), seconds=0.19),
    ]
    aims = replace(SPEED, budget=SearchBudget(2), written=True)
    assert set(beyond_budget(search, aims)) == {"dynamic2", "dynamic3", "half"}
    assert set(beyond_budget(search, replace(aims, budget=SearchBudget(4)))) == {"half"}
    # Where size comes first, nothing is far behind for its speed.
    by_size = replace(aims, objective=("size", "latency"), budget=SearchBudget(3))
    assert set(beyond_budget(search, by_size)) == {"dynamic2", "dynamic3"}


def test_lets_auto_try_every_method_of_which_nothing_is_known():
    count = AUTO_EVALUATIONS + 3
    search = [replace(INT8, chain=f"own{place}", kind=f"own{place}", seconds=None) for place in range(count)]
    aims = replace(SPEED, budget=SearchBudget(AUTO_EVALUATIONS))
    assert beyond_budget([PLAIN, *search], aims) == {}
    assert beyond_budget([PLAIN, *search, INT8], aims) == {}


@few
@given(competing(), AIMS, st.data())
def test_what_mends_a_chain_takes_no_room_and_goes_with_it(search, aims, data):
    alone = leave_out([search], aims)
    bases = [item for item in search if not item.plain]
    mending = [
        replace(base, chain=f"{base.chain}.again", base=base.chain, rank=data.draw(st.integers(0, 9)), plain=False)
        for base in bases
    ]
    together = leave_out([[*mending, *search]], aims)
    assert {name: because for name, because in together.items() if not name.endswith(".again")} == alone
    for item in mending:
        if item.base in alone:
            assert together[item.chain].by_budget == alone[item.base].by_budget


def test_makes_a_method_although_what_mends_it_is_gentler_and_as_fast():
    mixed = replace(INT8, chain="int8.mix1", base="int8", rank=0)
    other = replace(INT8, chain="other", kind=("openvino", 8, True, False))
    aims = replace(SPEED, budget=SearchBudget(evaluations=2))
    assert leave_out([[PLAIN, mixed, INT8, other]], aims) == {}
    only = replace(SPEED, budget=SearchBudget(evaluations=1))
    slow = replace(other, seconds=0.4)
    out = leave_out([[PLAIN, mixed, INT8, slow]], only)
    assert set(out) == {"int8", "int8.mix1"}
    assert all(each.by_budget for each in out.values())


def test_tries_smaller_networks_with_the_methods_that_promise_most():
    methods = [replace(INT8, chain=name, seconds=seconds) for name, seconds in (("a", 0.3), ("b", 0.1), ("c", 0.2))]
    grown = [replace(item, chain=f"smaller+{item.chain}", base=item.chain, grows=True) for item in methods]
    out = leave_out([[*methods, *grown]], SPEED)
    assert {name: each.because for name, each in out.items()} == {
        "smaller+a": "smaller networks are tried with b and c"
    }
