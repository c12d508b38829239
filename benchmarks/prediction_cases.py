"""The recipes whose predictions are compared with what happened: those that ship, and real models and data."""

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parent.parent

RESNET = """\
titrant: 1
name: resnet20
level: balanced
task: multiclass_classification
model:
  factory: resnet20:ResNet20
  weights: {data}/resnet20_cifar10/resnet20-12fca82f.th
data:
  source:
    factory: cifar:load
    args: {{folder: {data}/cifar10_jpeg}}
    files:
      - {data}/cifar10_jpeg/cifar10_test_even_jpeg.tar
      - {data}/cifar10_jpeg/cifar10_train_0000-0499_jpeg.tar
  inputs: [image]
  label: label
  classes: [airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck]
  split: {{calibration: {{train: 0.1}}, tuning: {{train: 0.1}}, evaluation: test, overlap: drop}}
  transform: [{{normalize: {{mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}}}}]
quantization: {{method: auto}}
profile: {{batches: [1], iterations: 100}}
export: [{{format: onnx}}, {{format: torchscript}}]
"""

PNEUMONIA = """\
titrant: 1
name: pneumonia
level: balanced
task: binary_classification
model: {{factory: "titrant.recipes.models:SmallCnn", args: {{classes: auto}}}}
data:
  source:
    factory: pneumonia:load
    args: {{file: {data}/pneumoniamnist/pneumoniamnist.npz}}
    files: [{data}/pneumoniamnist/pneumoniamnist.npz]
  inputs: [image]
  label: label
  positive: 1
  split: {{train: {{train: 0.9}}, calibration: {{train: 0.1}}, tuning: val, evaluation: test, overlap: drop}}
  transform: [{{normalize: {{mean: 0.5, std: 0.25}}}}]
train: {{epochs: 6}}
quantization: {{method: ort.static}}
validation: {{safety: {{kept: 0.97}}, gates: [{{metric: auroc, comparison: drop_at_most, threshold: 0.02}}]}}
profile: {{batches: [1], iterations: 60}}
export: [{{format: onnx}}]
"""

FACES = """\
titrant: 1
name: faces
level: balanced
task: unlabeled
model:
  onnx: {data}/ultralight_face/version-RFB-320.onnx
  output: [{{name: scores, kind: probabilities}}, {{name: boxes, kind: values}}]
data:
  source:
    factory: faces:load
    args: {{folder: {data}/ultralight_face, count: 120}}
    files: [{data}/ultralight_face/1.jpg, {data}/ultralight_face/10.jpg, {data}/ultralight_face/11.jpg]
  inputs: [input]
  split: {{tuning: 0.2, calibration: 0.2, evaluation: 0.6, stratify: false}}
quantization: {{method: auto}}
profile: {{batches: [1], iterations: 60}}
export: [{{format: onnx}}]
"""

TABLE = """\
titrant: 1
name: {name}
level: balanced
task: binary_classification
model: {{factory: "titrant.recipes.models:TabularNet", args: {{features: auto, classes: auto, hidden: {hidden}}}}}
data:
  source: {{factory: "real_tables:{name}", args: {args}, files: {files}}}
  label: {label}
  positive: {positive}
  inputs: {inputs}
  transform: [standardize]
  subgroups: {subgroups}
train: {{epochs: {epochs}}}
quantization: {{method: auto}}
validation: {{retention: 0.97}}
export: [{{format: {format}}}]
"""

FASHION = """\
titrant: 1
name: fashion
level: aggressive
task: multiclass_classification
model: {{factory: "titrant.recipes.models:SmallCnn", args: {{classes: auto, channels: 16}}}}
data:
  source: {{factory: "real_tables:fashion", args: {{file: {file}, rows: 8000}}, files: [{file}]}}
  inputs: [image]
  label: label
  transform: [{{normalize: {{mean: 0.5, std: 0.25}}}}]
train: {{epochs: 3, batch_size: 128, optimizer: sgd, learning_rate: 0.05}}
quantization: {{method: ort.static, options: {{calibration: entropy, rows: 100}}}}
export: [{{format: onnx}}]
"""


def _table(name: str, file: str, **parts: str) -> str:
    defaults = {"hidden": "[128, 64]", "inputs": "null", "subgroups": "{}", "epochs": "10", "format": "onnx"}
    text = TABLE.format(name=name, files=f"[{file}]", **{**defaults, **parts})
    kept = [line for line in text.splitlines() if line not in ("  inputs: null", "  subgroups: {}")]
    return "\n".join(kept) + "\n"


def cases(data: Path | None) -> dict[str, str]:
    """Return the recipes by name; those on real data only where `data` names the folder."""
    found = {path.stem: path.read_text("utf-8") for path in sorted((ROOT / "recipes").glob("*.yaml"))}
    found = {name: text for name, text in found.items() if not name.endswith(".lock")}
    if data is None:
        return found
    nhanes, adult = f"{data}/nhanes1", f"{data}/adult/adult.data"
    heart, fashion = f"{data}/uci_heart_cleveland/processed.cleveland.data", f"{data}/fashion_mnist/fashion_mnist.npz"
    return found | {
        "resnet20": RESNET.format(data=data),
        "pneumonia": PNEUMONIA.format(data=data),
        "faces": FACES.format(data=data),
        "fashion": FASHION.format(file=fashion),
        "nhanes": _table(
            "nhanes",
            f"{nhanes}/NHANESI_subset_X.csv, {nhanes}/NHANESI_subset_y.csv",
            args=f"{{folder: {nhanes}}}",
            label="died",
            positive="yes",
            hidden="[256, 256, 128]",
            subgroups="{sex: {column: Sex, values: [1, 2]}}",
        ),
        "adult": _table(
            "adult",
            adult,
            args=f"{{file: {adult}}}",
            label="income",
            positive='">50K"',
            inputs="[age, weight, education, gain, loss, hours]",
            subgroups="{sex: {column: sex, values: [Male, Female]}}",
            epochs="5",
        ),
        "heart": _table(
            "heart", heart, args=f"{{file: {heart}}}", label="ill", positive="yes", epochs="40", format="torchscript"
        ),
    }


def changed(text: str) -> str:
    """Change a recipe so that all of it runs again: another seed, and half as many epochs more."""
    text = re.sub(r"(?m)^(name: .*)$", r"\1\nseed: 7", text, count=1)
    return re.sub(r"epochs: (\d+)", lambda found: f"epochs: {max(2, int(found[1]) * 3 // 2)}", text, count=1)


def lay_out(folder: Path) -> None:
    """Copy the user modules that the recipes name into their folder."""
    tests = ROOT / "tests"
    for file in (*(tests / "real" / "modules").glob("*.py"), tests / "models" / "resnet20.py"):
        shutil.copy(file, folder / file.name)
    shutil.copy(Path(__file__).parent / "real_tables.py", folder / "real_tables.py")
