"""Run records made by hand from the dataclasses, small and whole, one a way that a run can end."""

from dataclasses import replace

import numpy as np

from titrant.runtime.report.answers import count_answers
from titrant.schema.artifact import Artifact
from titrant.schema.canonical import plain
from titrant.schema.facts import HardwareIdentity
from titrant.schema.gate import Contract, Gate, GateResult, Judgement
from titrant.schema.plan import Candidate, Decision, Plan, Prediction, Rejected, Search, Step
from titrant.schema.record import CandidateRecord, RunRecord, StepRecord, StepResult

MACHINE = HardwareIdentity(
    "linux", "x86_64", "AMD EPYC 7B13", ("avx2", "fma"), 2, 4 << 30, (), "3.11.2",
    {"numpy": "2.4.1", "onnx": "1.23.0", "onnxruntime": "1.31.0", "torch": "2.13.0+cpu"},
)  # fmt: skip
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
METHODS = {
    "onnx": ("none", "onnxruntime", "onnx", 0),
    "ort-dynamic": ("ort.dynamic", "onnxruntime", "onnx", 2),
    "ort-static": ("ort.static", "onnxruntime", "onnx", 3),
    "torch-dynamic": ("torch.dynamic", "torch", "torchscript", 4),
}
SIZES = {"onnx": 41_204, "ort-dynamic": 15_873, "ort-static": 13_120, "torch-dynamic": 24_310}
SPEED = {"original": 61e-6, "onnx": 14.2e-6, "ort-dynamic": 19.1e-6, "ort-static": 11.9e-6}
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def step(id, operator, ports, stage="prepare", candidate="", because="", cost=(0.1, 1 << 20, 4000, "guess"), **params):
    return Step(id, operator, 1, params, ports, 42, stage, candidate, because, Prediction(*cost))


def shared_steps(fit=True):
    given = "fit.model" if fit else "model.model"
    spec = {"name": "features", "shape": ["batch", 30], "dtype": "float32"}
    logits = {"name": "logits", "shape": ["batch", 2], "dtype": "float32"}
    loader = "model.load" if fit else "model.load_onnx"
    steps = [
        step("data", "data.load", {}, because="the recipe's source"),
        step("split", "data.split", {"tables": "data.tables"}),
        step("transform", "data.transform", {"tables": "data.tables", "split": "split.split"}, transforms=[{"name": "standardize"}]),
        step("model", loader, {}, cost=(2.5, 82_000, 41_000, "modelled"), inputs=[spec], outputs=[logits]),
    ]
    if fit:
        ports = {"model": "model.model", "train": "transform.train", "tuning": "transform.tuning"}
        steps.append(step("fit", "train.fit", ports, because="no weights were given", cost=(4.0, 30 << 20, 41_000, "modelled")))
    answers = {"model": given, "rows": "transform.tuning"}
    steps += [
        step("baseline.tuning", "validate.predict", answers, because="what is compared with"),
        step("point", "validate.operating_point", {"rows": "transform.tuning", "outputs": "baseline.tuning.outputs"}),
    ]
    return steps, given


def candidate_steps(name, given):
    method = METHODS[name][0]
    steps = []
    source = given
    if METHODS[name][2] == "onnx":
        steps.append(step(f"{name}.export", "export.onnx", {"model": given, "example": "transform.tuning"}, "make", name))
        source = f"{name}.export.model"
    if method != "none":
        ports = {"model": source}
        if method == "ort.static":
            ports["calibration"] = "transform.calibration"
        steps.append(step(name, "quantize." + method.replace(".", "_"), ports, "make", name, f"method {method}"))
        source = f"{name}.model"
    steps += [
        step(f"{name}.tuning", "validate.predict", {"model": source, "rows": "transform.tuning"}, "make", name, "to choose"),
        step(
            f"{name}.quality", "validate.measure",
            {"rows": "transform.tuning", "original": "baseline.tuning.outputs", "candidate": f"{name}.tuning.outputs", "point": "point.point"},
            "make", name, "to choose",
        ),
    ]  # fmt: skip
    return steps, source


def judge_steps(name, source):
    return [
        step(f"{name}.evaluation", "validate.predict", {"model": source, "rows": "transform.evaluation"}, "judge", name, "if shortlisted"),
        step(
            f"{name}.contract", "validate.contract",
            {"rows": "transform.evaluation", "original": "baseline.evaluation.outputs", "candidate": f"{name}.evaluation.outputs",
             "point": "point.point", "timings": "latency.timings", "model": source},
            "judge", name, "if shortlisted",
        ),
    ]  # fmt: skip


def gates():
    level = "level balanced"
    where = "recipes/breast_cancer.yaml:12:3"
    return (
        Gate("retention.accuracy", "retention", "accuracy", "all", "retention", 0.95, "score_ratio", level,
             needed_cases=118, available_cases=171, assumption="one decision in a hundred changes"),
        Gate("calibration.brier", "calibration", "brier", "all", "rise_at_most", 0.02, "paired_mean", level),
        Gate("target.latency", "target", "latency_p95", "all", "at_most", 5e-3, "order_statistic", where, "s"),
        Gate("target.size", "target", "size", "all", "at_most", 204_800, "counted", where, "B"),
    )  # fmt: skip


def results(candidate):
    size = SIZES[candidate]
    return (
        GateResult("retention.accuracy", "PASS", 1.0, 0.9758, 1.0247, 166 / 171, 166 / 171, 171, 2, 118,
                   "the lower bound reaches the threshold", "exact bound, 2 changed cases"),
        GateResult("calibration.brier", "PASS", 0.0004, -0.0011, 0.0019, 0.0271, 0.0275, 171, 171, None,
                   "the upper bound stays under the threshold", "paired mean"),
        GateResult("target.latency", "PASS", 21e-6, 19e-6, 24e-6, 88e-6, 21e-6, 200, None, None,
                   "the upper bound stays under the threshold", "order statistic of 200 runs"),
        GateResult("target.size", "PASS", size, size, size, 42_300, size, 0, None, None, "", "counted"),
    )  # fmt: skip


def answers(lost=1, gained=1):
    """64 malignant and 107 benign cases; the original is wrong on 5 of them."""
    labels = np.array([0] * 64 + [1] * 107)
    original = labels.copy()
    original[[0, 1, 2]] = 1
    original[[64, 65]] = 0
    candidate = original.copy()
    candidate[:gained] = 0
    candidate[10 : 10 + lost] = 1
    return plain(count_answers(("malignant", "benign"), labels, original, candidate, 0))


def timings(names):
    def one(p50, peak):
        batches = {}
        for batch, growth in ((1, 1.0), (8, 1.6), (32, 3.4)):
            half = p50 * growth
            samples = [half * (0.97 + 0.001 * index) for index in range(59)]
            batches[str(batch)] = {"p50": half, "p95": half * 1.4, "p99": half * 1.9, "samples": samples, "throughput": batch / half}
        return batches | {"peak_bytes": peak}

    return {name: one(SPEED[name], 900_000 if name == "original" else 310_000 + SIZES[name]) for name in names if name in SPEED}


def quality(names):
    def one(accuracy, agreement):
        figures = {"accuracy": 55 / 57, "auroc": 0.991, "brier": 0.024}
        after = figures | {"accuracy": accuracy}
        return {"rows": 57, "original": figures, "candidate": after, "agreement": agreement, "retention": accuracy / (55 / 57)}

    return {name: one(55 / 57 if name != "ort-dynamic" else 54 / 57, 1.0 if name == "onnx" else 56 / 57) for name in names}


def curves():
    epochs = range(30)
    loss = [0.68 * 0.86**epoch + 0.03 for epoch in epochs]
    tuning = [0.66 * 0.87**epoch + 0.07 + 0.0015 * max(0, epoch - 20) for epoch in epochs]
    accuracy = [min(55, 36 + 2 * epoch) / 57 for epoch in epochs]
    return {"loss": loss, "tuning_loss": tuning, "tuning_accuracy": accuracy, "best_epoch": 23}


def decisions():
    return (
        Decision("quantization.method", "auto", "onnx, ort.dynamic, ort.static, torch.dynamic tried",
                 "what can run here is made, measured and compared", "methods.every_feasible",
                 (Rejected("cast", "this processor has no half-precision arithmetic"),), "recipes/breast_cancer.yaml:3:8"),
        Decision("quantization.reduce_range", "", "true", "AVX2 without VNNI adds 8-bit products in 16 bits, which overflow",
                 "numbers.saturation", (Rejected("false", "activations would saturate"),)),
        Decision("target.device", "auto", "cpu", "no accelerator is there", "device.first_available"),
    )  # fmt: skip


def whole_plan(names=tuple(METHODS), fit=True, contract=None, task="binary_classification", warnings=()):
    steps, given = shared_steps(fit)
    sources, judging = {}, []
    for name in names:
        made, sources[name] = candidate_steps(name, given)
        steps += made
    steps.append(step("latency", "profile.latency", {"models": {"original": given, **sources}, "rows": "transform.tuning"}, "measure",
                      because="side by side, in turns", cost=(3.3, 5 << 20, 20_000, "guess")))  # fmt: skip
    steps.append(step("baseline.evaluation", "validate.predict", {"model": given, "rows": "transform.evaluation"}, "judge"))
    for name in names:
        judging += judge_steps(name, sources[name])
    steps += judging
    candidates = tuple(
        Candidate(name, *METHODS[name], sources[name], f"{name}.tuning.outputs", f"{name}.quality.quality", f"{name}.contract.judgement")
        for name in names
    )
    search = Search("auto", "breast-cancer", names, ("latency", "size"), 4, "latency.timings", 1)
    return Plan(
        "breast-cancer", DIGEST[::-1], 1, task, MACHINE, DIGEST, DIGEST[::-1], 1, 1, True, given, "torch" if fit else "onnxruntime",
        decisions(), tuple(steps), candidates, (search,), contract or Contract(gates(), 0.95, "evidence"),
        {"transforms": "transform.transforms", "point": "point.point"}, warnings,
    )  # fmt: skip


def step_records(plan, judged=(), rejected=()):
    records = []
    for number, one in enumerate(plan.steps):
        if one.candidate in rejected:
            records.append(StepRecord(one.id, "rejected", error="the engine gave NaN on row batches" if one.id == one.candidate else ""))
        elif one.stage == "judge" and one.candidate and one.candidate not in judged:
            records.append(StepRecord(one.id, "unused"))
        else:
            size = SIZES.get(one.candidate, 42_300)
            result = StepResult("k" * 64, one.operator, {"model": Artifact("onnx", DIGEST, size)}, (), 0.08 * (number % 5 + 1), 1_400_000)
            records.append(StepRecord(one.id, "finished", "k" * 64, result))
    return tuple(records)


def judgement(candidate, rows=None, verdict="PASS", released=True, proven=True):
    return Judgement(candidate, verdict, released, proven, rows or results(candidate))


def record(plan, candidates, verdict, exit, released, values, recipe=RECIPE):
    rejected = [one.candidate for one in candidates if one.status == "rejected"]
    judged = [one.candidate for one in candidates if one.judgement]
    run = RunRecord("", plan.name, DIGEST, verdict, exit, step_records(plan, judged, rejected), tuple(candidates), released, 0, 0, 0.0)
    return {
        "plan": plain(plan), "run": plain(run), "values": values, "hardware": plain(MACHINE), "recipe_text": recipe,
        "recipe_file": "recipes/breast_cancer.yaml",
    }  # fmt: skip


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


def values(changes=None, **more):
    names = ("original", *METHODS)
    return {
        "timings": timings(names), "quality": quality(["onnx", "ort-dynamic", "ort-static"]),
        "point": {"kind": "threshold", "threshold": 0.5, "source": "the default"}, "curves": curves(), "answers": changes or {},
    } | more  # fmt: skip


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
    rows[0] = GateResult("retention.accuracy", "INCONCLUSIVE", 164 / 166, 0.9389, 1.0041, 166 / 171, 164 / 171, 171, 4, 402,
                         "the threshold lies between the bounds", "exact bound, 4 changed cases")  # fmt: skip
    judged = judgement("ort-static", tuple(rows), "INCONCLUSIVE", True, False)
    candidates = outcomes(ort_static=("released", "no other candidate is as fast", judged))
    plan = whole_plan(warnings=("retention.accuracy: 171 evaluation cases are few for a proof",))
    return record(plan, candidates, "NOT PROVEN", 0, ("ort-static",), values({"ort-static": answers(3, 1)}))


def failed(require="evidence"):
    """Retention is broken: the original is kept."""
    rows = list(results("ort-static"))
    rows[0] = GateResult("retention.accuracy", "FAIL", 141 / 166, 0.8012, 0.8921, 166 / 171, 141 / 171, 171, 27, 118,
                         "even the upper bound is below the threshold", "score test, 27 changed cases")  # fmt: skip
    judged = judgement("ort-static", tuple(rows), "FAIL", False, False)
    candidates = outcomes(ort_static=("judged", "breaks retention.accuracy", judged))
    changes = {"ort-static": answers(26, 1)}
    files = {"ort-static": "quarantine/breast-cancer.onnx"}
    return record(whole_plan(), candidates, "FAIL", 5, (), values(changes, files=files))


def inconclusive():
    """Safety needs more malignant cases than there are, one gate cannot be assessed, and proof is required."""
    origin = "level medical_critical"
    safety = Gate("safety.kept", "safety", "sensitivity", "class malignant", "at_least", 0.99, "exact_binomial", origin,
                  needed_cases=299, available_cases=64, assumption="no case is lost")  # fmt: skip
    bias = Gate("bias", "bias", "sensitivity", "all", "ratio_at_least", 0.85, "not_assessable", origin,
                assumption="the recipe names no subgroups")  # fmt: skip
    rows = (
        GateResult("safety.kept", "INCONCLUSIVE", 1.0, 0.9521, 1.0, 61 / 64, 61 / 64, 61, 0, 299,
                   "61 cases without a loss prove 0.9521 and no more", "exact binomial"),
        GateResult("bias", "INCONCLUSIVE", None, None, None, None, None, 0, None, None, "not assessable: the recipe names no subgroups", ""),
        *results("onnx"),
    )  # fmt: skip
    judged = judgement("onnx", rows, "INCONCLUSIVE", False, False)
    plan = whole_plan(contract=Contract((safety, bias, *gates()), 0.95, "proof"))
    candidates = outcomes(onnx=("judged", "safety.kept and bias are not proven", judged))
    return record(plan, candidates, "INCONCLUSIVE", 5, (), values({"onnx": answers(0, 0)}))


def unlabeled():
    """An ONNX original without labels, training or classes: agreement is the contract."""
    agreement = Gate("retention.agreement", "retention", "agreement", "all", "at_least", 0.95, "exact_binomial", "level balanced",
                     needed_cases=58, available_cases=200)  # fmt: skip
    rows = (GateResult("retention.agreement", "PASS", 0.995, 0.9765, 0.9997, None, 199 / 200, 200, 1, 58, "the lower bound reaches the threshold", "exact binomial"),)
    judged = judgement("ort-static", rows)
    plan = whole_plan(("ort-dynamic", "ort-static"), fit=False, contract=Contract((agreement,), 0.95, "evidence"), task="unlabeled")
    candidates = [
        CandidateRecord("ort-dynamic", "measured", "slower than the original", SIZES["ort-dynamic"]),
        CandidateRecord("ort-static", "released", "the fastest that kept the contract", SIZES["ort-static"], {}, judged),
    ]
    found = {"timings": timings(("original", "ort-dynamic", "ort-static")), "quality": {}, "point": None, "curves": None}
    return record(plan, candidates, "PASS", 0, ("ort-static",), found, recipe="titrant: 1\nname: face-detector\ntask: unlabeled\n")


def nothing_made():
    """Every candidate was rejected before it could be measured."""
    plan = whole_plan(("ort-static", "torch-dynamic"))
    candidates = [CandidateRecord(name, "rejected", "the engine gave NaN") for name in ("ort-static", "torch-dynamic")]
    return record(plan, candidates, "FAIL", 5, (), {"timings": None, "quality": None, "point": None, "curves": curves()})


def renamed(made, name):
    """The same record with another name, as a user could write it, wherever a user writes one."""
    return made | {
        "plan": made["plan"] | {"name": name, "decisions": [plain(replace(decisions()[0], subject=name, because=name))]},
        "recipe_text": f"# {name}\n",
        "run": made["run"] | {"candidates": [one | {"because": name} for one in made["run"]["candidates"]]},
    }
