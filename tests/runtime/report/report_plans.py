"""A plan made by hand, small and whole, as the compiler would lower it."""

from titrant.schema.facts import HardwareIdentity
from titrant.schema.gate import Contract, Gate
from titrant.schema.plan import Candidate, Decision, Plan, Prediction, Rejected, Search, Step

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


def step(id, operator, ports, stage="prepare", *, candidate="", because="", cost=(0.1, 1 << 20, 4000, "guess"), **params):
    return Step(id, operator, 1, params, ports, 42, stage, candidate, because, Prediction(*cost))


def shared_steps(fit=True):
    given = "fit.model" if fit else "model.model"
    spec = {"name": "features", "shape": ["batch", 30], "dtype": "float32"}
    logits = {"name": "logits", "shape": ["batch", 2], "dtype": "float32"}
    loader = "model.load" if fit else "model.load_onnx"
    steps = [
        step("data", "data.load", {}, because="the recipe's source"),
        step("split", "data.split", {"tables": "data.tables"}),
        step(
            "transform",
            "data.transform",
            {"tables": "data.tables", "split": "split.split"},
            transforms=[{"name": "standardize"}],
        ),
        step("model", loader, {}, cost=(2.5, 82_000, 41_000, "modelled"), inputs=[spec], outputs=[logits]),
    ]
    if fit:
        ports = {"model": "model.model", "train": "transform.train", "tuning": "transform.tuning"}
        steps.append(
            step("fit", "train.fit", ports, because="no weights were given", cost=(4.0, 30 << 20, 41_000, "modelled"))
        )
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
        steps.append(
            step(f"{name}.export", "export.onnx", {"model": given, "example": "transform.tuning"}, "make", name)
        )
        source = f"{name}.export.model"
    if method != "none":
        ports = {"model": source}
        if method == "ort.static":
            ports["calibration"] = "transform.calibration"
        steps.append(step(name, "quantize." + method.replace(".", "_"), ports, "make", name, f"method {method}"))
        source = f"{name}.model"
    steps += [
        step(
            f"{name}.tuning",
            "validate.predict",
            {"model": source, "rows": "transform.tuning"},
            "make",
            name,
            "to choose",
        ),
        step(
            f"{name}.quality",
            "validate.measure",
            {
                "rows": "transform.tuning",
                "original": "baseline.tuning.outputs",
                "candidate": f"{name}.tuning.outputs",
                "point": "point.point",
            },
            "make",
            name,
            "to choose",
        ),
    ]
    return steps, source


def judge_steps(name, source):
    return [
        step(
            f"{name}.evaluation",
            "validate.predict",
            {"model": source, "rows": "transform.evaluation"},
            "judge",
            name,
            "if shortlisted",
        ),
        step(
            f"{name}.contract",
            "validate.contract",
            {
                "rows": "transform.evaluation",
                "original": "baseline.evaluation.outputs",
                "candidate": f"{name}.evaluation.outputs",
                "point": "point.point",
                "timings": "latency.timings",
                "model": source,
            },
            "judge",
            name,
            "if shortlisted",
        ),
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
    sources, judging = {}, []
    for name in names:
        made, sources[name] = candidate_steps(name, given)
        steps += made
    steps.append(
        step(
            "latency",
            "profile.latency",
            {"models": {"original": given, **sources}, "rows": "transform.tuning"},
            "measure",
            because="side by side, in turns",
            cost=(3.3, 5 << 20, 20_000, "guess"),
        )
    )
    steps.append(
        step("baseline.evaluation", "validate.predict", {"model": given, "rows": "transform.evaluation"}, "judge")
    )
    for name in names:
        judging += judge_steps(name, sources[name])
    steps += judging
    candidates = tuple(
        Candidate(
            name,
            *METHODS[name],
            sources[name],
            f"{name}.tuning.outputs",
            f"{name}.quality.quality",
            f"{name}.contract.judgement",
        )
        for name in names
    )
    search = Search("auto", "breast-cancer", names, ("latency", "size"), 4, "latency.timings", 1)
    return Plan(
        "breast-cancer",
        DIGEST[::-1],
        1,
        task,
        MACHINE,
        DIGEST,
        DIGEST[::-1],
        1,
        1,
        True,
        given,
        "torch" if fit else "onnxruntime",
        decisions(),
        tuple(steps),
        candidates,
        (search,),
        contract or Contract(gates(), 0.95, "evidence"),
        {"transforms": "transform.transforms", "point": "point.point"},
        warnings,
    )


def gates():
    level = "level balanced"
    where = "recipes/breast_cancer.yaml:12:3"
    return (
        Gate(
            "retention.accuracy",
            "retention",
            "accuracy",
            "all",
            "retention",
            0.95,
            "score_ratio",
            level,
            needed_cases=118,
            available_cases=171,
            assumption="one decision in a hundred changes",
        ),
        Gate("calibration.brier", "calibration", "brier", "all", "rise_at_most", 0.02, "paired_mean", level),
        Gate("target.latency", "target", "latency_p95", "all", "at_most", 5e-3, "order_statistic", where, "s"),
        Gate("target.size", "target", "size", "all", "at_most", 204_800, "counted", where, "B"),
    )
