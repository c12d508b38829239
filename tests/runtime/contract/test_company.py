"""Whether answers depend on who shares the batch: as a gate, and in words."""

import numpy as np
import pytest

from titrant.runtime.contract.company import (
    Differing,
    Invariance,
    batch_sentence,
    read_invariance,
    seen_words,
    serving_advice,
)
from titrant.runtime.contract.judge import judge
from titrant.schema.gate import controls_of, gate_test


def seen(rows=200, dependent=(), *, scales=True, identical=False, alone=True):
    ways = {"differ": len(dependent), "apart": 0.02}
    return {
        "rows": rows, "batch": 64, "scales": scales, "identical": identical, "alone": ways if alone else None,
        "company": ways, "outlier": {"differ": 7, "apart": 0.4}, "tried": list(range(rows)),
        "dependent": list(dependent),
    }  # fmt: skip


@pytest.fixture
def invariance_gate(gate):
    return gate(gate_test("batch_invariance", "at_least"), "batch_invariance", "at_least", 0.98)


def judged(invariance_gate, evidence, invariance, **given):
    labels = np.zeros(400, int)
    return judge(invariance_gate, evidence(labels, labels, labels, invariance=invariance, **given))


def test_bounds_the_share_of_cases_that_no_company_changes(invariance_gate, evidence):
    result = judged(invariance_gate, evidence, seen())
    assert (result.verdict, result.estimate, result.cases) == ("PASS", 1.0, 200)
    assert result.lower == pytest.approx(0.05 ** (1 / 200))
    assert result.reason == (
        "0 of 200 cases are answered otherwise alone or in other company than in batches of 64; the bound at 0.95 "
        "confidence is 0.9851, and at least 0.98 is needed"
    )


def test_fails_where_many_cases_are_mixed_and_is_open_where_few_were_tried(invariance_gate, evidence):
    assert judged(invariance_gate, evidence, seen(dependent=range(20))).verdict == "FAIL"
    few = judged(invariance_gate, evidence, seen(rows=60))
    assert few.verdict == "INCONCLUSIVE"
    assert "149 cases with no difference would prove it" in few.reason


def test_counts_rows_of_one_unit_once(invariance_gate, evidence):
    units = np.arange(400) // 10
    assert judged(invariance_gate, evidence, seen(rows=400), units=units).verdict == "INCONCLUSIVE"


def test_passes_by_structure_only_what_has_no_such_scale_and_is_the_same_bit_by_bit(invariance_gate, evidence):
    few = judged(invariance_gate, evidence, seen(rows=10, scales=False, identical=True))
    assert (few.verdict, few.lower, few.upper) == ("PASS", 1.0, 1.0)
    assert "bit by bit" in few.method
    for more in ({"scales": True, "identical": True}, {"scales": False, "identical": False}):
        assert judged(invariance_gate, evidence, seen(rows=10, **more)).verdict == "INCONCLUSIVE"


def test_is_not_assessable_where_nobody_asked(invariance_gate, evidence):
    result = judged(invariance_gate, evidence, None)
    assert (result.verdict, result.assessable) == ("INCONCLUSIVE", False)
    assert result.reason == "no row was asked again in other company"


def test_names_company_alone_where_no_single_row_is_answered(invariance_gate, evidence):
    assert "answered otherwise in other company than" in judged(invariance_gate, evidence, seen(alone=False)).reason


def test_puts_the_gate_to_no_answers_of_the_original(invariance_gate):
    assert controls_of(invariance_gate) == ()


def test_says_in_which_batches_a_candidate_was_judged_and_what_that_means():
    mixed = read_invariance(seen(dependent=(1, 2, 3)))
    assert batch_sentence("ort.dynamic", mixed) == (
        "“ort.dynamic” was judged in batches of 64. Its answers depend on who shares the batch (a layer finds its "
        "scale from the batch): they move by up to 40 % of the largest, and are other ones for 3 of 200 alone, 3 in "
        "other company, 7 beside an outlier. What is proven holds for batches of 64 like those that were judged."
    )
    assert serving_advice({"ort.dynamic": mixed}) == [
        "“ort.dynamic” answers a case by who shares its batch: serve it in batches of 64, as it was judged, ask for "
        "`validation.batch_invariance`, or choose a method with fixed scales."
    ]
    steady = Invariance(32, 64, False, True, Differing(0, 0.0), Differing(0, 0.0))
    assert batch_sentence("static", steady) == (
        "“static” was judged in batches of 64. Its answers do not depend on who shares the batch: the same bit by bit "
        "on 32 rows."
    )
    assert serving_advice({"static": steady}) == []


@pytest.mark.parametrize(
    ("apart", "depends"),
    [(0.0, False), (9e-5, False), (2e-4, True), (None, True)],
    ids=["0", "rounding", "more", "inf"],
)
def test_takes_rounding_for_no_dependence(apart, depends):
    invariance = Invariance(32, 64, False, False, Differing(0, 0.0), None, Differing(0, apart))
    assert invariance.depends == depends
    assert seen_words(invariance) == "0 of 32 in other company, 0 beside an outlier"
