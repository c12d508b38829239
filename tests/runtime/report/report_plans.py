"""A plan made by hand, small and whole, as the compiler would lower it."""

from titrant.schema.facts import HardwareIdentity
from titrant.schema.gate import Contract, Gate
from titrant.schema.plan import Candidate, CandidateSearch, Decision, Plan, Prediction, Rejected, Step

MACHINE = HardwareIdentity(
    "linux",
    "x86_64",
    "AMD EPYC 7B13",
    ("avx2", "fma"),
    2,
    4 << 30,
    (),
    "3.11.2",
    {"numpy": "2.4.1", "onnx": "1.23.0", "onnxruntime": "1.31.0", "torch": "2.13.0+cpu"},
)
METHODS = {
    "onnx": ("none", "onnxruntime", "onnx", 0),
    "ort-dynamic": ("ort.dynamic", "onnxruntime", "onnx", 2),
    "ort-static": ("ort.static", "onnxruntime", "onnx", 3),
    "torch-dynamic": ("torch.dynamic", "torch", "torchscript", 4),
}
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def step(id, operator, ports, stage="prepare", *, of="", because="", cost=(0.1, 1 << 20, 4000, "guess"), **params):
    return Step(id, operator, 1, params, ports, 42, stage, of, because, Prediction(*cost))


def shared_steps(fit=True):
    given = "fit.model" if fit else "model.model"
    spec = {"name": "features", "shape": ["batch", 30], "dtype": "float32"}
    logits = {"name": "logits", "shape": ["batch", 2], "dtype": "float32"}
    cost = (2.5, 82_000, 41_000, "modelled")
    sources = {"tables": "data.tables", "split": "split.split"}
    steps = [
        step("data", "data.load", {}, because="the recipe's source"),
        step("split", "data.split", {"tables": "data.tables"}),
        step("transform", "data.transform", sources, transforms=[{"name": "standardize"}]),
        step("model", "model.load" if fit else "model.load_onnx", {}, cost=cost, inputs=[spec], outputs=[logits]),
    ]
    if fit:
        ports = {"model": "model.model", "train": "transform.train", "tuning": "transform.tuning"}
        steps.append(
            step("fit", "train.fit", ports, because="no weights were given", cost=(4.0, 30 << 20, 41_000, "guess"))
        )
    answers = {"model": given, "rows": "transform.tuning"}
    point = {"rows": "transform.tuning", "outputs": "baseline.tuning.outputs"}
    steps += [
        step("baseline.tuning", "validate.predict", answers, because="what is compared with"),
        step("point", "validate.operating_point", point),
    ]
    return steps, given


def candidate_steps(name, given):
    method, _, form, _ = METHODS[name]
    steps, source = [], given
    if form == "onnx":
        steps.append(
            step(f"{name}.export", "export.onnx", {"model": given, "example": "transform.tuning"}, "make", of=name)
        )
        source = f"{name}.export.model"
    if method != "none":
        ports = {"model": source} | ({"calibration": "transform.calibration"} if method == "ort.static" else {})
        operator = "quantize." + method.replace(".", "_")
        steps.append(step(name, operator, ports, "make", of=name, because=f"method {method}"))
        source = f"{name}.model"
    answers = {"model": source, "rows": "transform.tuning"}
    steps += [
        step(f"{name}.tuning", "validate.predict", answers, "make", of=name, because="to choose"),
        step(f"{name}.quality", "validate.measure", compared(name, "tuning"), "make", of=name, because="to choose"),
    ]
    return steps, source


def compared(name, role):
    return {
        "rows": f"transform.{role}",
        "original": f"baseline.{role}.outputs",
        "candidate": f"{name}.{role}.outputs",
        "point": "point.point",
    }


def judge_steps(name, source):
    answers = {"model": source, "rows": "transform.evaluation"}
    ports = compared(name, "evaluation") | {"timings": "latency.timings", "model": source}
    return [
        step(f"{name}.evaluation", "validate.predict", answers, "judge", of=name, because="if shortlisted"),
        step(f"{name}.contract", "validate.contract", ports, "judge", of=name, because="if shortlisted"),
    ]


def decisions():
    return (
        Decision(
            "quantization.method",
            "auto",
            "onnx, ort.dynamic, ort.static, torch.dynamic tried",
            "what can run here is made, measured and compared",
            "methods.every_feasible",
            (Rejected("cast", "this processor has no half-precision arithmetic"),),
            "recipes/breast_cancer.yaml:3:8",
        ),
        Decision(
            "quantization.reduce_range",
            "",
            "true",
            "AVX2 without VNNI adds 8-bit products in 16 bits, which overflow",
            "numbers.saturation",
            (Rejected("false", "activations would saturate"),),
        ),
        Decision("target.device", "auto", "cpu", "no accelerator is there", "device.first_available"),
    )


def whole_plan(names=tuple(METHODS), fit=True, contract=None, task="binary_classification", warnings=()):
    steps, given = shared_steps(fit)
    sources = {}
    for name in names:
        made, sources[name] = candidate_steps(name, given)
        steps += made
    ports = {"models": {"original": given, **sources}, "rows": "transform.tuning"}
    cost = (3.3, 5 << 20, 20_000, "guess")
    steps.append(step("latency", "profile.latency", ports, "measure", because="side by side, in turns", cost=cost))
    answers = {"model": given, "rows": "transform.evaluation"}
    steps.append(step("baseline.evaluation", "validate.predict", answers, "judge"))
    for name in names:
        steps += judge_steps(name, sources[name])
    return Plan(
        name="breast-cancer",
        recipe_digest=DIGEST[::-1],
        language=1,
        task=task,
        hardware=MACHINE,
        model_digest=DIGEST,
        data_digest=DIGEST[::-1],
        threads=1,
        timing_threads=1,
        deterministic=True,
        original=given,
        original_engine="torch" if fit else "onnxruntime",
        decisions=decisions(),
        steps=tuple(steps),
        candidates=tuple(candidate(name, source) for name, source in sources.items()),
        searches=(CandidateSearch("auto", "breast-cancer", names, ("latency", "size"), 4, "latency.timings", 1),),
        contract=contract or Contract(gates(), 0.95, "evidence"),
        shipped={"transforms": "transform.transforms", "point": "point.point"},
        warnings=warnings,
    )


def candidate(name, source):
    ports = f"{name}.tuning.outputs", f"{name}.quality.quality", f"{name}.contract.judgement"
    return Candidate(name, *METHODS[name], source, *ports)


def gate(id, metric, comparison, threshold, test, **more):
    """A gate on every case; its preset is the first part of its id."""
    return Gate(id, id.partition(".")[0], metric, more.pop("slice", "all"), comparison, threshold, test, **more)


def gates():
    level, where = "level balanced", "recipes/breast_cancer.yaml:12:3"
    cases = {"needed_cases": 118, "available_cases": 171, "assumption": "one decision in a hundred changes"}
    return (
        gate("retention.accuracy", "accuracy", "retention", 0.95, "score_ratio", origin=level, **cases),
        gate("calibration.brier", "brier", "rise_at_most", 0.02, "paired_mean", origin=level),
        gate("target.latency", "latency_p95", "at_most", 5e-3, "order_statistic", origin=where, unit="s"),
        gate("target.size", "size", "at_most", 204_800, "counted", origin=where, unit="B"),
    )
