"""A look beyond what the contract allows proves nothing, and says how many fresh rows would."""

from dataclasses import replace

import pytest

from titrant.runtime.contract.verdict import beyond, charged
from titrant.schema.gate import Contract, Gate, GateResult, Judgement
from titrant.schema.open_looks import share_of
from titrant.schema.record import Look, LookSubject

RETENTION = Gate("retention", "retention", "accuracy", "all", "retention", 0.95, "score_ratio", "here")
SIZE = Gate("size", "target", "size", "all", "at_most", 1000.0, "counted", "here", "B")
PASSED = {
    gate.id: GateResult(gate.id, "PASS", 1.0, 0.99, 1.0, 0.9, 0.9, 171, 0, None, "seen", "test")
    for gate in (RETENTION, SIZE)
}
JUDGED = Judgement("c", "PASS", True, True, tuple(PASSED.values()))


def look(number, spent):
    return Look(number, spent, LookSubject("r", "f"), 171, ())


def test_leaves_the_first_look_and_every_planned_one_as_they_are():
    once = Contract((RETENTION, SIZE), 0.95, "proof")
    five = Contract((RETENTION, SIZE), 0.99, "proof", looks=5)
    assert charged(once, JUDGED, None) == charged(once, JUDGED, look(1, 0.05)) == JUDGED
    assert charged(five, JUDGED, look(5, 0.05)) == JUDGED


def test_proves_nothing_beyond_them_but_what_looks_at_no_rows():
    once = Contract((RETENTION, SIZE), 0.95, "proof")
    answer = charged(once, JUDGED, look(2, 0.10))
    assert (answer.verdict, answer.released, answer.proven) == ("INCONCLUSIVE", False, False)
    assert [result.verdict for result in answer.results] == ["INCONCLUSIVE", "PASS"]
    assert answer.results[0].reason == (
        "look number 2 at these rows: earlier ones have spent 0.05 of the 0.05 that may go wrong (validation.looks); "
        "171 fresh rows would prove as much as a first look; seen: seen"
    )


def test_lets_it_through_as_not_proven_where_evidence_is_enough():
    answer = charged(Contract((RETENTION, SIZE), 0.95, "evidence"), JUDGED, look(2, 0.10))
    assert (answer.verdict, answer.released, answer.proven) == ("INCONCLUSIVE", True, False)


def test_charges_looks_that_were_planned_only_after_one_had_spent_all():
    assert beyond(Contract((RETENTION,), 0.99, "proof", looks=5), look(2, 0.06))
    assert not beyond(Contract((RETENTION,), 0.99, "proof", looks=6), look(2, 0.06))


OPEN = Contract((RETENTION, SIZE), 1 - 0.05 * share_of(1), "proof", looks="open")


def open_look(place, number=None):
    spent = 0.05 * sum(share_of(each) for each in range(1, place + 1))
    return Look(number or place, spent, LookSubject("r", "f"), 171, (), True, 0.05 * share_of(place), place)


def passed(p_value):
    first = replace(PASSED["retention"], p_value=p_value)
    return replace(JUDGED, results=(first, PASSED["size"]))


@pytest.mark.parametrize("place", [1, 2, 7, 1000])
def test_lets_a_gate_of_open_looks_pass_where_its_p_value_is_within_the_share_of_the_model(place):
    rate = 0.05 * share_of(place)
    assert charged(OPEN, passed(rate * 0.999), open_look(place)).verdict == "PASS"
    answer = charged(OPEN, passed(rate * 1.001), open_look(place))
    assert [result.verdict for result in answer.results] == ["INCONCLUSIVE", "PASS"]


def test_says_what_an_open_look_leaves_and_how_many_cases_would_do():
    answer = charged(OPEN, passed(0.01), open_look(3))
    assert answer.results[0].reason == (
        "look number 3 at these rows, with 3 models judged on them: a pass may be wrong with a chance of 0.00338 here "
        "(validation.looks: open); seen: seen; p = 0.01, and about 212 cases with the same shares would do"
    )
    assert answer.results[0].needed_cases == 212


def test_passes_nothing_on_rows_of_which_no_always_valid_p_value_is_known():
    answer = charged(OPEN, passed(None), open_look(1))
    assert answer.results[0].verdict == "INCONCLUSIVE"
    assert "no always-valid p-value" in answer.results[0].reason


def test_charges_every_look_where_the_rows_that_are_tried_are_drawn_anew():
    gate = replace(RETENTION, metric="batch_invariance", comparison="at_least", test="exact_binomial")
    contract = replace(OPEN, gates=(gate, SIZE))
    rate = 0.05 * share_of(4)
    assert charged(contract, passed(rate * 0.99), open_look(1, number=4)).verdict == "PASS"
    assert charged(contract, passed(rate * 1.01), open_look(1, number=4)).verdict == "INCONCLUSIVE"


def test_proves_nothing_in_open_looks_after_a_planned_one_spent_all():
    mixed = replace(open_look(1, number=2), spent=0.05 + 0.05 * share_of(1))
    assert beyond(OPEN, mixed)
    assert charged(OPEN, passed(0.0), mixed).verdict == "INCONCLUSIVE"
    assert not any(beyond(OPEN, open_look(place)) for place in (1, 2, 50, 5000))
