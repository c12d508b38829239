"""Run records made by hand from the dataclasses, small and whole, one for each way that a run can end."""

import json
from dataclasses import replace

from report_plans import DIGEST, MACHINE, METHODS, gate, gates, whole_plan
from report_values import SIZES, answers, curves, timings, values

from titrant.schema.gate import Contract, GateResult, Judgement
from titrant.schema.plan import ModelCost
from titrant.schema.record import Artifact, CandidateRecord, RunRecord, StepRecord, StepResult
from titrant.schema.values.canonical import plain

RECIPE = """\
titrant: 1
name: breast-cancer
level: balanced
task: binary_classification
model:
  factory: titrant.recipes.models:TabularNet
  args: {features: 30, classes: 2}
data:
  source: {sklearn: breast_cancer}
  label: target
  positive: malignant
  transform: [standardize]
target: {latency: {p95: 5 ms, batch: 1}, size: 200 KiB}
export: [{format: onnx}]
"""


def result(gate, verdict, bounds, pair, *about, changed=None, needed=None):
    """`bounds`: estimate, lower, upper; `pair`: the metric of either model; `about`: cases, then reason and method."""
    cases, why = about
    return GateResult(gate, verdict, *bounds, *pair, cases, changed, needed, *why)


def results(candidate):
    size = SIZES[candidate]
    reached = ("the lower bound reaches the threshold", "exact bound, 2 changed cases")
    under = "the upper bound stays under the threshold"
    retained = (1.0, 0.9758, 1.0247), (166 / 171, 166 / 171)
    risen = (0.0004, -0.0011, 0.0019), (0.0271, 0.0275)
    return (
        result("retention.accuracy", "PASS", *retained, 171, reached, changed=2, needed=118),
        result("calibration.brier", "PASS", *risen, 171, (under, "paired mean"), changed=171),
        result(
            "target.latency", "PASS", (21e-6, 19e-6, 24e-6), (88e-6, 21e-6), 200, (under, "order statistic of 200 runs")
        ),
        result("target.size", "PASS", (size, size, size), (42_300, size), 0, ("", "counted")),
    )


def retention(verdict, bounds, after, why, *, changed, needed):
    """The gates of ort-static with another answer to the first."""
    pair = 166 / 171, after / 171
    first = result("retention.accuracy", verdict, bounds, pair, 171, why, changed=changed, needed=needed)
    return (first, *results("ort-static")[1:])


def step_record(number, one, judged, rejected):
    if one.candidate in rejected:
        return StepRecord(one.id, "rejected", error="the engine gave NaN" if one.id == one.candidate else "")
    if one.stage == "judge" and one.candidate and one.candidate not in judged:
        return StepRecord(one.id, "unused")
    made = {"model": Artifact("onnx", DIGEST, SIZES.get(one.candidate, 42_300))}
    seconds = 0.08 * (number % 5 + 1)
    cost = StepResult("k" * 64, one.operator, made, (), seconds, 1_400_000, predicted=told(one))
    return StepRecord(one.id, "finished", "k" * 64, cost)


def told(one):
    """What was predicted of a step before it ran; of the timing, also what its models take."""
    timed = one.inputs.get("models", ()) if one.operator == "profile.latency" else ()
    models = {name: ModelCost({"1": 0.0002, "32": 0.001}, 2 << 20, "modelled") for name in timed}
    return replace(one.prediction, models=models, bases={"output_bytes": "counted"})


def judgement(candidate, rows=None, verdict="PASS", released=True, proven=True):
    return Judgement(candidate, verdict, released, proven, rows or results(candidate))


def record(plan, candidates, ended, found, recipe=RECIPE):
    """`ended`: the verdict, the exit code and what was released."""
    rejected = [one.candidate for one in candidates if one.status == "rejected"]
    judged = [one.candidate for one in candidates if one.judgement]
    steps = tuple(step_record(number, one, judged, rejected) for number, one in enumerate(plan.steps))
    verdict, exit, released = ended
    run = RunRecord("", plan.name, DIGEST, verdict, exit, steps, tuple(candidates), released, 0, 0, 0.0)
    return {
        "plan": plain(plan),
        "run": plain(run),
        "values": found,
        "hardware": plain(MACHINE),
        "recipe_text": recipe,
        "recipe_file": "recipes/breast_cancer.yaml",
    }


def outcomes(**judgements):
    """Every candidate with what became of it; `judgements` by id, underscores for dashes."""
    given = {name.replace("_", "-"): value for name, value in judgements.items()}
    found = []
    for name in METHODS:
        if name == "torch-dynamic":
            found.append(CandidateRecord(name, "rejected", "the engine gave NaN on row batches", SIZES[name]))
        elif name in given:
            status, because, judged = given[name]
            found.append(CandidateRecord(name, status, because, SIZES[name], {}, judged))
        else:
            found.append(CandidateRecord(name, "measured", "slower and larger than ort-static", SIZES[name]))
    return found


def released():
    """Everything passed: ort-static is released, onnx passed before it, ort-dynamic was not worth judging."""
    candidates = outcomes(
        onnx=("judged", "kept the contract; a more aggressive candidate did too", judgement("onnx")),
        ort_static=("released", "the last of the shortlist that kept the contract", judgement("ort-static")),
    )
    changes = {"onnx": answers(0, 0), "ort-static": answers()}
    files = {"ort-static": "outputs/breast-cancer.onnx"}
    return record(whole_plan(), candidates, ("PASS", 0, ("ort-static",)), values(changes, files=files))


def not_proven():
    """Retention could not be proven; evidence was enough."""
    why = "the threshold lies between the bounds", "exact bound, 4 changed cases"
    rows = retention("INCONCLUSIVE", (164 / 166, 0.9389, 1.0041), 164, why, changed=4, needed=402)
    judged = judgement("ort-static", rows, "INCONCLUSIVE", True, False)
    candidates = outcomes(ort_static=("released", "no other candidate is as fast", judged))
    plan = whole_plan(warnings=("retention.accuracy: 171 evaluation cases are few for a proof",))
    return record(plan, candidates, ("NOT PROVEN", 0, ("ort-static",)), values({"ort-static": answers(3, 1)}))


def failed():
    """Retention is broken: the original is kept."""
    why = "even the upper bound is below the threshold", "score test, 27 changed cases"
    rows = retention("FAIL", (141 / 166, 0.8012, 0.8921), 141, why, changed=27, needed=118)
    judged = judgement("ort-static", rows, "FAIL", False, False)
    candidates = outcomes(ort_static=("judged", "breaks retention.accuracy", judged))
    files = {"ort-static": "quarantine/breast-cancer.onnx"}
    return record(whole_plan(), candidates, ("FAIL", 5, ()), values({"ort-static": answers(26, 1)}, files=files))


def inconclusive():
    """Safety needs more malignant cases than there are, one gate cannot be assessed, and proof is required."""
    level = {"origin": "level medical_critical"}
    cases = {"slice": "class malignant", "needed_cases": 299, "available_cases": 64, "assumption": "no case is lost"}
    safety = gate("safety.kept", "sensitivity", "at_least", 0.99, "exact_binomial", **level, **cases)
    missing = "the recipe names no subgroups"
    bias = gate("bias", "sensitivity", "ratio_at_least", 0.85, "not_assessable", **level, assumption=missing)
    lost = "61 cases without a loss prove 0.9521 and no more", "exact binomial"
    rows = (
        result("safety.kept", "INCONCLUSIVE", (1.0, 0.9521, 1.0), (1.0, 1.0), 61, lost, changed=0, needed=299),
        result("bias", "INCONCLUSIVE", (None, None, None), (None, None), 0, (missing, "")),
        *results("onnx"),
    )
    judged = judgement("onnx", rows, "INCONCLUSIVE", False, False)
    plan = whole_plan(contract=Contract((safety, bias, *gates()), 0.95, "proof"))
    candidates = outcomes(onnx=("judged", "safety.kept and bias are not proven", judged))
    return record(plan, candidates, ("INCONCLUSIVE", 5, ()), values({"onnx": answers(0, 0)}))


def unlabeled():
    """An ONNX original without labels, training or classes: agreement is the contract."""
    cases = {"origin": "level balanced", "needed_cases": 58, "available_cases": 200}
    agreement = gate("retention.agreement", "agreement", "at_least", 0.95, "exact_binomial", **cases)
    why = "the lower bound reaches the threshold", "exact binomial"
    bounds = 0.995, 0.9765, 0.9997
    rows = (result("retention.agreement", "PASS", bounds, (None, 199 / 200), 200, why, changed=1, needed=58),)
    judged = judgement("ort-static", rows)
    names = "ort-dynamic", "ort-static"
    plan = whole_plan(names, fit=False, contract=Contract((agreement,), 0.95, "evidence"), task="unlabeled")
    candidates = [
        CandidateRecord("ort-dynamic", "measured", "slower than the original", SIZES["ort-dynamic"]),
        CandidateRecord("ort-static", "released", "the fastest that kept it", SIZES["ort-static"], {}, judged),
    ]
    found = {"timings": timings(("original", *names)), "quality": {}, "point": None, "curves": None}
    return record(plan, candidates, ("PASS", 0, ("ort-static",)), found, "titrant: 1\ntask: unlabeled\n")


def nothing_made():
    """Every candidate was rejected before it could be measured."""
    names = "ort-static", "torch-dynamic"
    candidates = [CandidateRecord(name, "rejected", "the engine gave NaN") for name in names]
    found = {"timings": None, "quality": None, "point": None, "curves": curves()}
    return record(whole_plan(names), candidates, ("FAIL", 5, ()), found)


def bare():
    """The least that a finished run can hold: one candidate, one gate, no training, no warnings."""
    made = unlabeled()
    keep = ("data", "split", "transform", "model", "latency")
    plan = made["plan"] | {"decisions": made["plan"]["decisions"][1:2]}
    plan["steps"] = [one for one in plan["steps"] if one["id"] in keep or one["candidate"] == "ort-static"]
    return made | {"plan": plan, "recipe_text": "titrant: 1\n"}


def renamed(made, names):
    """The same record with other names wherever they stand: `names` maps an old one to a new one."""
    text = json.dumps(made)
    for old, new in names.items():
        text = text.replace(old, json.dumps(new)[1:-1])
    return json.loads(text)
