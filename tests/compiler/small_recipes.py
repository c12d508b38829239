"""Small recipes with hand-made facts and decisions, for tests of inspection and lowering; not a test itself."""

from dataclasses import replace
from pathlib import Path

from titrant.compiler.bind.bound_recipe import BoundRecipe, UserReference
from titrant.compiler.decide.rule import Chain, Decisions, ExportRequest, Ranking, Settled, ThreadCounts
from titrant.schema.facts import Column, DataFacts, Hardware, HardwareIdentity, Layer, ModelFacts, RoleFacts, TensorSpec
from titrant.schema.gate import Contract, Gate
from titrant.schema.language.parse import parse

TABULAR = """\
titrant: 1
name: tabular
task: binary_classification
model:
  factory: titrant.recipes.models:TabularNet
  args: {features: auto, classes: 2}
data:
  source: {sklearn: breast_cancer}
  label: target
  positive: malignant
  transform: [standardize]
  split: {train: 0.5, tuning: 0.1, calibration: 0.1, evaluation: 0.3}
  subgroups: {size: {column: mean radius, bins: [12, 16]}}
train: {epochs: 2}
"""

PARTS = """\
titrant: 1
name: parts
task: multiclass_classification
model: {factory: "nets:Net", weights: net.safetensors}
data:
  sources:
    a: {csv: a.csv, inputs: [x, y], label: w}
    b: {npz: b.npz}
  label: z
  split: {tuning: a, evaluation: {b: 0.75}, by: patient}
  subgroups: {sex: {column: sex, values: [f, m]}}
"""

FACTORY = """\
titrant: 1
name: made
task: multiclass_classification
model: {factory: "nets:Net", weights: included}
data:
  source: {factory: "sets:load", args: {n: 5}, files: [a.bin, b.bin]}
  label: y
  transform: [{resize: {height: 8, width: 8}}, {normalize: {mean: 0.5, std: [0.1, 0.2, 0.3]}}]
  split: {tuning: 0.2, evaluation: 0.8}
"""

UNLABELED = """\
titrant: 1
name: detector
task: unlabeled
model:
  onnx: detector.onnx
  inputs: [{name: image, shape: [1, 3, 32, 32]}]
"""

HARDWARE = Hardware(
    HardwareIdentity(
        "linux",
        "x86_64",
        "toy",
        ("avx2",),
        2,
        8 << 30,
        (),
        "3.11",
        {"numpy": "2.4.6", "onnx": "1.23.2", "onnxruntime": "1.31.1", "torch": "2.13.0"},
    )
)
FEATURES = TensorSpec("features", ("batch", 30), "float32")
LOGITS = TensorSpec("logits", ("batch", 2), "float32")
MODEL = ModelFacts(
    "factory", "11" * 32, 1026, 1026, 4104, (Layer("net.0", "Linear", 1024, 4096, (32, 32)),), (FEATURES,), (LOGITS,),
    flops=2048, activation_bytes=256,
)  # fmt: skip
ONNX = ModelFacts(
    "onnx", "22" * 32, 100, 100, 400, (), (TensorSpec("image", (1, 3, 32, 32), "float32"),),
    (TensorSpec("boxes", (1, 10, 4), "float32"),),
)  # fmt: skip
DATA = DataFacts("33" * 32, 569, (), ("malignant", "benign"), "malignant", (FEATURES,), {"tuning": RoleFacts(57, 57)})
# The data whole, with enough rows of each class for a contract.
JUDGED = replace(
    DATA,
    roles={
        role: RoleFacts(rows, rows, {"malignant": rows // 3, "benign": rows - rows // 3})
        for role, rows in {"train": 285, "tuning": 57, "calibration": 57, "evaluation": 170}.items()
    },
    columns=(
        Column("mean radius", "float64"),
        Column("mean texture", "float64"),
        Column("target", "int64", distinct=2),
    ),
)
RETENTION = Gate("retention", "retention", "accuracy", "all", "retention", 0.95, "score_ratio", "level balanced")
LATENCY = Gate("latency", "target", "latency_p95", "all", "at_most", 0.005, "order_statistic", "x.yaml:1:1", "s")

PLAIN = Chain("onnx", "none", None, "onnxruntime", "onnx", 0)
STATIC = Chain("onnx.ort.static", "ort.static", 8, "onnxruntime", "onnx", 2)
DYNAMIC = Chain("onnx.ort.dynamic", "ort.dynamic", 8, "onnxruntime", "onnx", 1)
ANY_FORMAT = (ExportRequest("auto", "model"),)
SCRIPT = Chain("torchscript", "none", None, "torch", "torchscript", 0)


def bind(text, folder: Path, **files) -> BoundRecipe:
    """Bind a recipe by hand: keys with "/" for dots name the files, which are made where they are missing."""
    parsed = parse(text, "x.yaml", folder=folder)
    found = {}
    for key, name in files.items():
        path = folder / name
        if not path.exists():
            path.write_bytes(name.encode())
        found[key.replace("__", ".")] = path
    references = (UserReference("model.factory", "nets:Net", "recipe", folder / "nets.py"),)
    user = references if "nets:" in text else ()
    return BoundRecipe(parsed, parsed.recipe, folder, found, user)


def decisions(
    *chains,
    exports=ANY_FORMAT,
    training=None,
    gates=(RETENTION,),
    original_engine="torch",
    point=None,
    plain=(),
):
    """Decide by hand."""
    settled = Settled(
        level="balanced",
        device="cpu",
        threads=ThreadCounts(1, 1),
        original_engine=original_engine,
        model_args={"features": 30, "classes": 2},
        training=training,
        exports=exports,
        chains=chains,
        plain=plain,
        objective=Ranking(("latency", "size"), 4),
        operating_point=point or {},
        profile={"batches": [1, 8]},
        contract=Contract(gates, 0.95, "evidence"),
    )
    return Decisions((), settled, ("a warning",))
