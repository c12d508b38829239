"""What a run records of a judged candidate: how it compares with the plain conversion and with the original."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from titrant.runtime.run.gains import gains, reductions, timed_anew
from titrant.schema.diagnostics.diagnostics import TitrantError
from titrant.schema.plan import Step
from titrant.schema.record import Measurement

pytestmark = pytest.mark.usefixtures("here")


def beside(plan, seconds=0.5, **options):
    """Time a plain conversion beside the candidates, which is none of them."""
    params = {"level": 9, "padding": 20, **options}
    made = Step("onnx-fp32", "toys:make", 1, params, {"model": "load.model"}, 7, "make")
    steps = []
    for step in plan.steps:
        if step.id == "latency":
            models = {**step.inputs["models"], "onnx-fp32": "onnx-fp32.model"}
            times = {**step.params["seconds"], "onnx-fp32": seconds}
            step = replace(step, inputs={"models": models}, params={**step.params, "seconds": times})  # noqa: PLW2901
        steps.append(step)
    candidates = tuple(replace(candidate, plain="onnx-fp32", format="onnx") for candidate in plan.candidates)
    return replace(plan, steps=(steps[0], made, *steps[1:]), candidates=candidates)


def found(record):
    return {
        (candidate.candidate, gain.objective, gain.against): (round(gain.factor, 2), gain.verdict)
        for candidate in record.candidates
        for gain in candidate.gains
    }


def test_compares_with_the_plain_conversion_and_the_original_in_every_objective(toy, make_plan):
    record = toy.run(beside(make_plan((1,), seconds={1: 0.48})))
    assert record.exit == 0
    (candidate,) = record.candidates
    assert [(gain.objective, gain.first, gain.against, gain.title, gain.plain) for gain in candidate.gains] == [
        ("latency", True, "onnx-fp32", "plain ONNX", True),
        ("latency", True, "original", "the original", False),
        ("size", False, "onnx-fp32", "plain ONNX", True),
        ("size", False, "original", "the original", False),
    ]
    times = {key[2]: value for key, value in found(record).items() if key[1] == "latency"}
    assert times == {"onnx-fp32": (1.04, "alike"), "original": (2.08, "better")}
    assert not candidate.gains[0].anew


def test_releases_what_was_asked_for_where_the_plain_conversion_is_faster(toy, make_plan):
    record = toy.run(beside(make_plan((1,), seconds={1: 0.5}), seconds=0.1))
    assert (record.exit, record.released) == (0, ("c1",))
    assert found(record)["c1", "latency", "onnx-fp32"] == (0.2, "worse")


def test_compares_with_the_original_alone_where_the_plain_conversion_cannot_be_made(toy, make_plan):
    record = toy.run(beside(make_plan((1,)), do="raise"))
    assert (record.exit, record.released) == (0, ("c1",))
    assert {key[2] for key in found(record)} == {"original"}


def test_raises_a_candidate_s_own_error_of_a_file_that_is_shared_with_what_is_timed_beside(toy, make_plan):
    plan = make_plan((1,), make={1: {"do": "refuse"}})
    steps = [replace(step, candidate="") if step.id == "c1" else step for step in plan.steps]
    with pytest.raises(TitrantError) as caught:
        toy.run(replace(plan, steps=tuple(steps)))
    assert [diagnostic.code for diagnostic in caught.value.diagnostics] == ["T001"]


def walk(plan, values):
    sizes = dict.fromkeys(("load.model", "c1.model"), SimpleNamespace(size=100))
    return SimpleNamespace(plan=plan, value_if_there=values.get, artifacts=sizes)


def timing(seconds):
    return {"1": {"samples": [seconds] * 60, "cpu": [seconds] * 60, "waiting": 1.0}}


def test_goes_by_the_runs_that_judged_where_there_are_any(make_plan):
    plan = make_plan((1,))
    steps = [
        replace(step, inputs={**step.inputs, "timings": "c1.latency.timings"}) if step.id == "c1.contract" else step
        for step in plan.steps
    ]
    plan = replace(plan, steps=tuple(steps))
    chose = {"original": timing(4.0), "c1": timing(1.0)}
    anew = {"original": timing(4.0), "c1": timing(2.0)}
    both = walk(plan, {"latency.timings": chose, "c1.latency.timings": anew})
    first, *_ = gains(both, plan.candidates[0])
    assert (first.factor, first.anew) == (2.0, True)
    first, *_ = gains(walk(plan, {"latency.timings": chose}), plan.candidates[0])
    assert (first.factor, first.anew) == (4.0, False)
    failed = {"original": timing(4.0), "c1": {"failed": "no memory"}}
    assert timed_anew(walk(plan, {"c1.latency.timings": failed}), plan.candidates[0]) is None


def test_tells_how_fast_a_file_is_where_the_search_is_after_its_answers(toy, make_plan):
    plan = beside(make_plan((1,), seconds={1: 0.48}))
    plan = replace(plan, searches=tuple(replace(search, objective=("quality", "m:f")) for search in plan.searches))
    (candidate,) = toy.run(plan).candidates
    assert [(gain.objective, gain.first) for gain in candidate.gains] == [("latency", True)] * 2


KEPT = {"estimate": 0.99, "lower": 0.98, "cases": 200, "units": None, "reason": "no label"}


def reduced(make_plan, result=None, *, student=False, **measured):
    """Return what is recorded of a candidate that is made of a reduced network, of which `result` is what it keeps."""
    plan = make_plan((1,))
    inputs = {} if student else {"model": plan.original}
    cut = Step("cut", "model.load" if student else "prune.toy", 1, {}, inputs, 7, "make")
    gate = {"metric": "accuracy", "comparison": "retention"}
    kept = Step("cut.kept", "toys:judge", 1, {"gates": [gate], "confidence": 0.9}, {}, 7, "observe")
    made = [replace(each, inputs={"model": "cut.model"}) if each.id == "c1" else each for each in plan.steps]
    candidate = replace(plan.candidates[0], reduced=("cut.kept.judgement",))
    values = {} if result is None else {"cut.kept.judgement": {"results": [result]}}
    settled = walk(replace(plan, steps=(*made, cut, kept)), values)
    settled.artifacts |= {"cut.model": SimpleNamespace(size=40)}
    done = tuple(Measurement(name, value) for name, value in measured.items())
    settled.records = {"cut": SimpleNamespace(result=SimpleNamespace(measurements=done))}
    settled.reason = lambda name: f"{name} broke"
    (reduction,) = reductions(settled, candidate)
    return reduction


def test_records_how_much_smaller_a_reduction_made_the_network_and_what_that_keeps(make_plan):
    reduction = reduced(make_plan, KEPT, parameters_removed=0.2)
    assert (reduction.operator, reduction.ratio, reduction.of) == ("prune.toy", 1.25, "parameters")
    assert (reduction.kept, reduction.lower, reduction.rows, reduction.confidence) == (0.99, 0.98, 200, 0.9)
    assert (reduction.metric, reduction.beside, reduction.because) == ("accuracy", False, "")
    masked = reduced(make_plan, KEPT, weights_masked=0.5)
    assert (masked.ratio, masked.masked) == (1.0, 0.5)


def test_compares_a_student_by_the_bytes_of_its_file(make_plan):
    reduction = reduced(make_plan, KEPT, student=True)
    assert (reduction.operator, reduction.ratio, reduction.of) == ("student", 2.5, "bytes")


@pytest.mark.parametrize(
    ("result", "because"),
    [
        (None, "cut.kept broke"),
        ({**KEPT, "estimate": None}, "no label"),
        ({**KEPT, "cases": 4}, "there are too few evaluation rows to show it (report.min_cell)"),
        ({**KEPT, "units": 3}, "there are too few evaluation rows to show it (report.min_cell)"),
    ],
)
def test_says_why_it_does_not_tell_what_a_network_keeps(make_plan, result, because):
    reduction = reduced(make_plan, result)
    assert (reduction.kept, reduction.lower, reduction.because) == (None, None, because)
