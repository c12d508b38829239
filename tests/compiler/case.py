"""A small case with hand-made facts, for tests of decisions, gates and facts; not a test itself."""

from dataclasses import replace
from pathlib import Path

from titrant.compiler.bind.bind import bind
from titrant.compiler.decide.decide import decide
from titrant.schema.facts import (
    Column,
    DataFacts,
    Gpu,
    Hardware,
    HardwareIdentity,
    Layer,
    ModelFacts,
    RoleFacts,
    TensorSpec,
)
from titrant.schema.language.parse import parse

RECIPE = """\
titrant: 1
name: demo
task: binary_classification
model:
  factory: titrant.recipes.models:TabularNet
  args: {features: auto, classes: auto}
data:
  source: {sklearn: breast_cancer}
  label: target
  positive: malignant
  transform: [standardize]
  subgroups: {size: {column: mean radius, bins: [12]}}
train: {epochs: 3}
"""
TRAINED = """\
titrant: 1
name: trained
task: multiclass_classification
model: {factory: "titrant.recipes.models:DigitsNet", args: {classes: auto}, weights: included}
data: {source: {sklearn: digits}, inputs: [image], label: target}
"""
# Without data: random inputs and agreement only. A factory, so that no file has to be there.
UNLABELED = """\
titrant: 1
name: detector
task: unlabeled
model:
  factory: titrant.recipes.models:DigitsNet
  args: {classes: 10}
  weights: included
  inputs: [{name: image, shape: [batch, 1, 8, 8]}]
"""
PACKAGES = {"numpy": "2.4.6", "onnx": "1.23.2", "onnxruntime": "1.31.1", "torch": "2.13.0"}


def machine(*instructions, gpus=(), packages=PACKAGES, kind="x86_64", cores=2):
    """Describe a machine by its instruction sets."""
    return Hardware(HardwareIdentity("linux", kind, "toy", instructions, cores, 8 << 30, gpus, "3.11", packages))


AVX2 = machine("avx2", "fma")
VNNI = machine("avx2", "avx512bw", "avx512f", "avx512_vnni")
H200 = Gpu(0, "NVIDIA H200", "cuda", 139 << 30, "9.0")

FEATURES = TensorSpec("features", ("batch", 30), "float32")
IMAGE = TensorSpec("image", ("batch", 1, 8, 8), "float32")
MODEL = ModelFacts(
    "factory",
    "11" * 32,
    3906,
    3906,
    15_624,
    (Layer("net.0", "Linear", 1984, 7936, (64, 30)), Layer("net.2", "Linear", 130, 520, (2, 64))),
    (FEATURES,),
    (TensorSpec("logits", ("batch", 2), "float32"),),
    flops=7812,
    activation_bytes=256,
)
DIGITS = replace(
    MODEL,
    layers=(Layer("conv", "Conv2d", 320, 1280, (32, 1, 3, 3)), Layer("head", "Linear", 330, 1320, (10, 32))),
    inputs=(IMAGE,),
    outputs=(TensorSpec("logits", ("batch", 10), "float32"),),
)


def role(rows, malignant):
    """Describe one role's rows: a third of them small, with a tenth of the malignant ones."""
    small = rows // 3
    few = malignant // 10
    return RoleFacts(
        rows,
        rows,
        {"malignant": malignant, "benign": rows - malignant},
        {"size": {"[-inf, 12)": small, "[12, inf)": rows - small}},
        {"size": {"[-inf, 12)": few, "[12, inf)": malignant - few}},
    )


COLUMNS = (Column("mean radius", "float64"), Column("mean texture", "float64"), Column("target", "int64", (), 0, 2))
DATA = DataFacts(
    "33" * 32,
    569,
    COLUMNS,
    ("malignant", "benign"),
    "malignant",
    (FEATURES,),
    {"train": role(284, 106), "tuning": role(57, 21), "calibration": role(57, 21), "evaluation": role(171, 64)},
)
NAMES = tuple(str(digit) for digit in range(10))
DIGIT_ROWS = {
    name: RoleFacts(rows, rows, dict.fromkeys(NAMES, rows // 10))
    for name, rows in (("train", 900), ("tuning", 180), ("calibration", 180), ("evaluation", 540))
}
DIGIT_DATA = DataFacts(
    "44" * 32,
    1800,
    (Column("image", "float32", (1, 8, 8)), Column("target", "int64")),
    NAMES,
    None,
    (IMAGE,),
    DIGIT_ROWS,
)
RANDOM = DataFacts(
    "55" * 32, 256, (), (), None, (IMAGE,), {name: RoleFacts(rows, rows) for name, rows in (
        ("train", 128), ("tuning", 26), ("calibration", 26), ("evaluation", 76)
    )}
)  # fmt: skip


def bound(text=RECIPE, *changes):
    """Bind a recipe with `--set` changes."""
    return bind(parse(text, "x.yaml", folder=Path(), overrides=changes))


def decided(text=RECIPE, *changes, hardware=AVX2, model=None, data=None):
    """Decide a recipe for hand-made facts."""
    facts = {RECIPE: (MODEL, DATA), TRAINED: (DIGITS, DIGIT_DATA), UNLABELED: (DIGITS, RANDOM)}
    known_model, known_data = next((one for start, one in facts.items() if text.startswith(start)), (MODEL, DATA))
    return decide(bound(text, *changes), hardware, model or known_model, data or known_data)
