"""A look beyond what the contract allows proves nothing, and says how many fresh rows would."""

from titrant.runtime.contract.verdict import beyond, charged
from titrant.schema.gate import Contract, Gate, GateResult, Judgement
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
