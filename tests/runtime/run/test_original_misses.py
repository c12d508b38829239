"""What the original itself misses is said before anything is made of it, and is not a candidate's."""

from dataclasses import replace

import pytest

from titrant.schema.gate import Gate
from titrant.schema.plan import Step

pytestmark = pytest.mark.usefixtures("here")

ASKED = 1.5  # toys reach 0.9 before and 1.0 after
LIMIT = Gate("limit", "gates", "accuracy", "all", "at_least", ASKED, "exact_binomial", "recipe")


def with_limit(plan, change, gate=LIMIT):
    """Ask of every candidate what the original misses as well, and judge the original by it on tuning rows."""
    for candidate in plan.candidates:
        plan = change(plan, f"{candidate.id}.contract", gates=[{"id": gate.id, "preset": gate.preset}], verdict="FAIL")
    inputs = dict.fromkeys(("rows", "point"), "load.rows") | {"model": plan.original}
    inputs |= dict.fromkeys(("original", "candidate"), "load.rows")
    params = {"candidate": "original", "gates": [{"id": gate.id, "preset": gate.preset}]}
    judge = Step("original.limits", "toys:judge", 1, params, inputs, 7, "prepare")
    first, *others = plan.steps
    return replace(
        plan,
        steps=(first, judge, *others),
        contract=replace(plan.contract, gates=(gate, *plan.contract.gates)),
        original_limits="original.limits.judgement",
    )


def test_says_before_any_candidate_is_made_what_the_original_misses_and_blames_none(toy, make_plan, change):
    record = toy.run(with_limit(make_plan(), change))
    texts = [event.get("text") or event.get("step", "") for event in toy.events]
    said = next(place for place, text in enumerate(texts) if "the original itself misses, on tuning rows" in text)
    assert "limit (1.0000, ≥ 1.5 is asked): no candidate is to blame for that" in texts[said]
    assert texts.index("original.limits") < said < texts.index("c1")
    assert (record.exit, record.verdict, record.original_misses) == (5, "FAIL", ("limit",))
    (judged,) = [candidate for candidate in record.candidates if candidate.status == "judged"]
    assert judged.because == "the original itself misses limit"


@pytest.mark.parametrize(
    "gate",
    [
        replace(LIMIT, threshold=0.5),  # the original reaches it
        replace(LIMIT, comparison="retention"),  # it is about what changed
        replace(LIMIT, metric="kept"),
        replace(LIMIT, preset="target", metric="throughput", test="order_statistic", unit="cases/s"),
    ],
)
def test_blames_a_candidate_for_what_is_its_own(toy, make_plan, change, gate):
    record = toy.run(with_limit(make_plan(), change, gate))
    assert record.original_misses == ()
    (judged,) = [candidate for candidate in record.candidates if candidate.status == "judged"]
    assert judged.because == "the contract is not kept: limit"
