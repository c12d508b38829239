"""Run records made by hand from the dataclasses, small and whole, one for each way that a run can end."""

from dataclasses import replace

from report_plans import DIGEST, MACHINE, METHODS, decisions, gates, whole_plan
from report_values import SIZES, answers, curves, quality, timings, values

from titrant.schema.artifact import Artifact
from titrant.schema.canonical import plain
from titrant.schema.gate import Contract, Gate, GateResult, Judgement
from titrant.schema.record import CandidateRecord, RunRecord, StepRecord, StepResult

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


def results(candidate):
    size = SIZES[candidate]
    return (
        GateResult(
            "retention.accuracy",
            "PASS",
            1.0,
            0.9758,
            1.0247,
            166 / 171,
            166 / 171,
            171,
            2,
            118,
            "the lower bound reaches the threshold",
            "exact bound, 2 changed cases",
        ),
        GateResult(
            "calibration.brier",
            "PASS",
            0.0004,
            -0.0011,
            0.0019,
            0.0271,
            0.0275,
            171,
            171,
            None,
            "the upper bound stays under the threshold",
            "paired mean",
        ),
        GateResult(
            "target.latency",
            "PASS",
            21e-6,
            19e-6,
            24e-6,
            88e-6,
            21e-6,
            200,
            None,
            None,
            "the upper bound stays under the threshold",
            "order statistic of 200 runs",
        ),
        GateResult("target.size", "PASS", size, size, size, 42_300, size, 0, None, None, "", "counted"),
    )






def step_records(plan, judged=(), rejected=()):
    records = []
    for number, one in enumerate(plan.steps):
        if one.candidate in rejected:
            records.append(
                StepRecord(
                    one.id, "rejected", error="the engine gave NaN on row batches" if one.id == one.candidate else ""
                )
            )
        elif one.stage == "judge" and one.candidate and one.candidate not in judged:
            records.append(StepRecord(one.id, "unused"))
        else:
            size = SIZES.get(one.candidate, 42_300)
            result = StepResult(
                "k" * 64,
                one.operator,
                {"model": Artifact("onnx", DIGEST, size)},
                (),
                0.08 * (number % 5 + 1),
                1_400_000,
            )
            records.append(StepRecord(one.id, "finished", "k" * 64, result))
    return tuple(records)


def judgement(candidate, rows=None, verdict="PASS", released=True, proven=True):
    return Judgement(candidate, verdict, released, proven, rows or results(candidate))


def record(plan, candidates, ended, found, recipe=RECIPE):
    """`ended`: the verdict, the exit code and what was released."""
    rejected = [one.candidate for one in candidates if one.status == "rejected"]
    judged = [one.candidate for one in candidates if one.judgement]
    run = RunRecord(
        "",
        plan.name,
        DIGEST,
        verdict,
        exit,
        step_records(plan, judged, rejected),
        tuple(candidates),
        released,
        0,
        0,
        0.0,
    )
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
    return record(whole_plan(), candidates, "PASS", 0, ("ort-static",), values(changes, files=files))


def not_proven():
    """Retention could not be proven; evidence was enough."""
    rows = list(results("ort-static"))
    rows[0] = GateResult(
        "retention.accuracy",
        "INCONCLUSIVE",
        164 / 166,
        0.9389,
        1.0041,
        166 / 171,
        164 / 171,
        171,
        4,
        402,
        "the threshold lies between the bounds",
        "exact bound, 4 changed cases",
    )
    judged = judgement("ort-static", tuple(rows), "INCONCLUSIVE", True, False)
    candidates = outcomes(ort_static=("released", "no other candidate is as fast", judged))
    plan = whole_plan(warnings=("retention.accuracy: 171 evaluation cases are few for a proof",))
    return record(plan, candidates, "NOT PROVEN", 0, ("ort-static",), values({"ort-static": answers(3, 1)}))


def failed(require="evidence"):
    """Retention is broken: the original is kept."""
    rows = list(results("ort-static"))
    rows[0] = GateResult(
        "retention.accuracy",
        "FAIL",
        141 / 166,
        0.8012,
        0.8921,
        166 / 171,
        141 / 171,
        171,
        27,
        118,
        "even the upper bound is below the threshold",
        "score test, 27 changed cases",
    )
    judged = judgement("ort-static", tuple(rows), "FAIL", False, False)
    candidates = outcomes(ort_static=("judged", "breaks retention.accuracy", judged))
    changes = {"ort-static": answers(26, 1)}
    files = {"ort-static": "quarantine/breast-cancer.onnx"}
    return record(whole_plan(), candidates, "FAIL", 5, (), values(changes, files=files))


def inconclusive():
    """Safety needs more malignant cases than there are, one gate cannot be assessed, and proof is required."""
    origin = "level medical_critical"
    safety = Gate(
        "safety.kept",
        "safety",
        "sensitivity",
        "class malignant",
        "at_least",
        0.99,
        "exact_binomial",
        origin,
        needed_cases=299,
        available_cases=64,
        assumption="no case is lost",
    )
    bias = Gate(
        "bias",
        "bias",
        "sensitivity",
        "all",
        "ratio_at_least",
        0.85,
        "not_assessable",
        origin,
        assumption="the recipe names no subgroups",
    )
    rows = (
        GateResult(
            "safety.kept",
            "INCONCLUSIVE",
            1.0,
            0.9521,
            1.0,
            1.0,
            1.0,
            61,
            0,
            299,
            "61 cases without a loss prove 0.9521 and no more",
            "exact binomial",
        ),
        GateResult(
            "bias",
            "INCONCLUSIVE",
            None,
            None,
            None,
            None,
            None,
            0,
            None,
            None,
            "not assessable: the recipe names no subgroups",
            "",
        ),
        *results("onnx"),
    )
    judged = judgement("onnx", rows, "INCONCLUSIVE", False, False)
    plan = whole_plan(contract=Contract((safety, bias, *gates()), 0.95, "proof"))
    candidates = outcomes(onnx=("judged", "safety.kept and bias are not proven", judged))
    return record(plan, candidates, "INCONCLUSIVE", 5, (), values({"onnx": answers(0, 0)}))


def unlabeled():
    """An ONNX original without labels, training or classes: agreement is the contract."""
    agreement = Gate(
        "retention.agreement",
        "retention",
        "agreement",
        "all",
        "at_least",
        0.95,
        "exact_binomial",
        "level balanced",
        needed_cases=58,
        available_cases=200,
    )
    rows = (
        GateResult(
            "retention.agreement",
            "PASS",
            0.995,
            0.9765,
            0.9997,
            None,
            199 / 200,
            200,
            1,
            58,
            "the lower bound reaches the threshold",
            "exact binomial",
        ),
    )
    judged = judgement("ort-static", rows)
    plan = whole_plan(
        ("ort-dynamic", "ort-static"), fit=False, contract=Contract((agreement,), 0.95, "evidence"), task="unlabeled"
    )
    candidates = [
        CandidateRecord("ort-dynamic", "measured", "slower than the original", SIZES["ort-dynamic"]),
        CandidateRecord(
            "ort-static", "released", "the fastest that kept the contract", SIZES["ort-static"], {}, judged
        ),
    ]
    found = {
        "timings": timings(("original", "ort-dynamic", "ort-static")),
        "quality": {},
        "point": None,
        "curves": None,
    }
    return record(
        plan, candidates, "PASS", 0, ("ort-static",), found, recipe="titrant: 1\nname: face-detector\ntask: unlabeled\n"
    )


def nothing_made():
    """Every candidate was rejected before it could be measured."""
    plan = whole_plan(("ort-static", "torch-dynamic"))
    candidates = [CandidateRecord(name, "rejected", "the engine gave NaN") for name in ("ort-static", "torch-dynamic")]
    return record(
        plan, candidates, "FAIL", 5, (), {"timings": None, "quality": None, "point": None, "curves": curves()}
    )


def renamed(made, name):
    """The same record with another name, as a user could write it, wherever a user writes one."""
    return made | {
        "plan": made["plan"]
        | {"name": name, "decisions": [plain(replace(decisions()[0], subject=name, because=name))]},
        "recipe_text": f"# {name}\n",
        "run": made["run"] | {"candidates": [one | {"because": name} for one in made["run"]["candidates"]]},
    }
