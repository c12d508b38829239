"""The ten models of the benchmark: their recipes, and the folder with everything that these name."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from titrant.schema.values.frozen import dataclass

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# Modules that the recipes name, copied beside them.
MODULES = (
    HERE / "rows.py", HERE / "trained_nets.py", HERE / "next_word.py", HERE.parent / "llama.py",
    ROOT / "tests" / "models" / "resnet20.py", ROOT / "tests" / "real" / "modules" / "cifar.py",
    ROOT / "tests" / "real" / "modules" / "faces.py",
)  # fmt: skip
# A drop of a point and a half may show: the same for auto and for every method.
HEAD = """\
titrant: 1
name: {name}
level: balanced
task: {task}
{model}
{data}
quantization: {{method: auto}}
{validation}
profile: {{batches: [1, 32]}}
"""
LABELED = """\
data:
  source: {{factory: "rows:{source}", args: {{train: {train}}}}}
  inputs: [{inputs}]
  label: label
  split: {{tuning: {{train: 0.3}}, calibration: {{train: 0.1}}, evaluation: test, overlap: drop, stratify: false}}"""
RETENTION = "validation: {retention: 0.985, require: evidence}"


@dataclass(frozen=True)
class BenchmarkModel:
    """One model: its recipe, the file in the cache that a script makes ("": none), and how many parameters it has."""

    name: str
    task: str
    model: str
    data: str
    trained: str = ""
    parameters: int = 0
    validation: str = RETENTION

    def recipe(self, data: Path, cache: Path, *, quick: bool) -> str:
        """Return the recipe; `quick` learns from less."""
        filled = {"data": data, "cache": cache, "train": 3_000 if quick else 8_000}
        return HEAD.format(
            name=self.name,
            task=self.task,
            model=self.model.format(**filled),
            data=self.data.format(**filled),
            validation=self.validation,
        )


def _labeled(source: str, *inputs: str) -> str:
    return LABELED.replace("{source}", source).replace("{inputs}", ", ".join(inputs))


def _weights(factory: str, place: str) -> str:
    return f'model: {{{{factory: "{factory}", weights: {place}}}}}'


MANY, TWO = "multiclass_classification", "binary_classification"
MODELS = (
    BenchmarkModel(
        "tabular", TWO, _weights("nets:Tabular", "{data}/small_nets/tabular.pt"), _labeled("adult", "row"),
        parameters=582_146,
    ),
    BenchmarkModel(
        "depthwise", MANY, _weights("nets:Depthwise", "{data}/small_nets/depthwise.pt"), _labeled("fashion", "image"),
        parameters=298_506,
    ),
    BenchmarkModel(
        "encoder", MANY, _weights("nets:Encoder", "{data}/small_nets/encoder.pt"), _labeled("fashion", "image"),
        parameters=2_237_578,
    ),
    BenchmarkModel(
        "digits", MANY,
        "model: {{factory: \"titrant.recipes.models:DigitsNet\", args: {{classes: auto}}}}\ntrain: {{epochs: 12}}",
        """\
data:
  source: {{sklearn: digits}}
  inputs: [image]
  label: target
  transform: [{{normalize: {{mean: 0.5, std: 0.5, scale: 1}}}}]
  split: {{train: 0.5, tuning: 0.1, calibration: 0.1, evaluation: 0.3}}""",
        parameters=260_682,
    ),
    BenchmarkModel(
        "resnet20", MANY, _weights("resnet20:ResNet20", "{data}/resnet20_cifar10/resnet20-12fca82f.th"),
        """\
data:
  source:
    factory: cifar:load
    args: {{folder: {data}/cifar10_jpeg, every: 2}}
  inputs: [image]
  label: label
  classes: [airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck]
  split: {{calibration: {{train: 0.2}}, tuning: {{train: 0.5}}, evaluation: test, overlap: drop}}
  transform: [{{normalize: {{mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}}}}]""",
        parameters=269_722,
    ),
    BenchmarkModel(
        "llama260k", "unlabeled", _weights("next_word:NextWord", "{cache}/llama260k.pt")[:-2]
        + ", output: {{kind: logits}}}}",
        """\
data:
  source: {{factory: "rows:stories"}}
  inputs: [tokens]
  split: {{tuning: 0.2, calibration: 0.1, evaluation: 0.7, stratify: false}}""",
        trained="llama260k.pt", parameters=260_032, validation="validation: {agreement: {at_least: 0.9}}",
    ),
    BenchmarkModel(
        "faces", "unlabeled",
        """\
model:
  onnx: {data}/ultralight_face/version-RFB-320.onnx
  output: [{{name: scores, kind: probabilities}}, {{name: boxes, kind: values}}]""",
        """\
data:
  source: {{factory: "faces:load", args: {{folder: {data}/ultralight_face, count: 120}}}}
  inputs: [input]
  split: {{tuning: 0.2, calibration: 0.2, evaluation: 0.6, stratify: false}}""",
        parameters=281_000,
        validation="validation: {retention: 0.8, agreement: {boxes: {measure: absolute, tolerance: 0.02}}}",
    ),
    BenchmarkModel(
        "decoder", MANY, _weights("trained_nets:Decoder", "{cache}/decoder.pt"), _labeled("characters", "tokens"),
        trained="decoder.pt", parameters=619_969,
    ),
    BenchmarkModel(
        "lstm", MANY, _weights("trained_nets:RowsLstm", "{cache}/lstm.pt"), _labeled("fashion", "image"),
        trained="lstm.pt", parameters=148_970,
    ),
    BenchmarkModel(
        "two_inputs", MANY, _weights("trained_nets:TwoHalves", "{cache}/two_inputs.pt"),
        _labeled("halves", "top", "bottom"), trained="two_inputs.pt", parameters=205_002,
    ),
)  # fmt: skip
# Together with every method these stay below twenty minutes.
QUICK = ("tabular", "depthwise", "lstm", "two_inputs")


def lay_out(folder: Path, data: Path, cache: Path, *, quick: bool) -> dict[str, Path]:
    """Write every recipe into a folder, with the modules that they name; return the recipes by model."""
    folder.mkdir(parents=True, exist_ok=True)
    for module in (*MODULES, data / "small_nets" / "nets.py"):
        shutil.copy(module, folder / module.name)
    recipes = {}
    for model in MODELS:
        recipes[model.name] = folder / f"{model.name}.yaml"
        recipes[model.name].write_text(model.recipe(data, cache, quick=quick), "utf-8")
    return recipes


def prepare(cache: Path, data: Path, models: Mapping[str, BenchmarkModel]) -> None:
    """Train and convert what the cache lacks: minutes for each network that train.py trains."""
    cache.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "TITRANT_DATA": str(data)}
    for model in models.values():
        if not model.trained or (cache / model.trained).exists():
            continue
        if model.name == "llama260k":
            sys.path.append(str(HERE.parent))
            from next_word import convert

            convert(data / "stories260K" / "stories260K.bin", cache / model.trained)
        else:
            command = [sys.executable, str(HERE / "train.py"), Path(model.trained).stem, "--cache", str(cache)]
            subprocess.run(command, env=environment, check=True)
