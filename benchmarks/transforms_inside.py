"""Measure files with their transforms inside: equal answers on raw columns, and what they cost at batch 1.

    TITRANT_DATA=… python benchmarks/transforms_inside.py [--methods none,ort.dynamic,ort.static]

Adult (8 of 14 columns are text), NHANES I and heart disease are trained here, and released twice by one recipe: with
the transforms beside the file and inside it. On every row plain onnxruntime answers the raw columns with the one, and
titrant the other. Times are medians of turns in one process, one thread; `load` is `titrant.load` on one raw row, over
the engine's own time for it.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd  # noqa: TID253 - its very subject

ROOT = Path(__file__).parent.parent
HEART = [
    "age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca", "thal",
    "ill",
]  # fmt: skip
ADULT = [
    "age", "workclass", "weight", "education", "years", "marital", "occupation", "relationship", "race", "sex", "gain",
    "loss", "hours", "country", "income",
]  # fmt: skip
RECIPE = """\
titrant: 1
name: {name}
level: balanced
task: binary_classification
model: {{factory: "titrant.recipes.models:TabularNet", args: {{features: auto, classes: 2}}}}
data:
  source: {{parquet: rows.parquet}}
  label: {label}
  positive: {positive}
  transform: [impute, {encode}standardize]
  split: {{train: 0.4, tuning: 0.15, calibration: 0.1, evaluation: 0.35}}
train: {{epochs: 8}}
quantization: {{method: {method}}}
profile: {{batches: [1]}}
validation: {{retention: none, calibration: none}}
export: [{{format: onnx, name: beside}}, {{format: onnx, name: inside, transforms: inside}}]
"""


def adult(data: Path) -> tuple[pd.DataFrame, str, str]:
    """Return the census, whose gaps are in text columns."""
    file = data / "adult" / "adult.data"
    return pd.read_csv(file, header=None, names=ADULT, skipinitialspace=True, na_values="?"), "income", '">50K"'


def nhanes(data: Path) -> tuple[pd.DataFrame, str, str]:
    """Return 18 numbers of each person, with their gaps, and whether he or she died within ten years."""
    table = pd.read_csv(data / "nhanes1" / "NHANESI_subset_X.csv", index_col=0)
    years = pd.read_csv(data / "nhanes1" / "NHANESI_subset_y.csv", index_col=0)["y"]
    known = (years > 0) | (years < -10)
    died = ((years > 0) & (years <= 10)).map({True: "died", False: "lived"})
    return table[known].assign(died=died[known]), "died", "died"


def heart(data: Path) -> tuple[pd.DataFrame, str, str]:
    """Return 13 numbers of each patient, with their gaps, and whether the heart is ill."""
    file = data / "uci_heart_cleveland" / "processed.cleveland.data"
    table = pd.read_csv(file, header=None, names=HEART, na_values="?")
    return table.assign(ill=(table["ill"] > 0).map({True: "ill", False: "well"})), "ill", "ill"


def run(folder: Path, recipe: str) -> Path:
    """Run a recipe and return its folder of outputs."""
    (folder / "recipe.yaml").write_text(recipe)
    environment = {**os.environ, "TITRANT_HOME": str(folder / "home"), "CI": "true"}
    command = [sys.executable, "-m", "titrant", "run", "recipe.yaml"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return max((folder / "home" / "runs").iterdir()) / "outputs"


def seconds(calls: dict[str, Callable[[], object]], turns: int = 1500) -> dict[str, float]:
    """Return the median of each call, taking turns."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(turns):
        for name, call in calls.items():
            call()
            begun = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - begun)
    return {name: statistics.median(times) for name, times in taken.items()}


def measure(outputs: Path, table: pd.DataFrame) -> dict[str, float]:
    """Compare both files on every row, and time them on one."""
    import onnxruntime

    import titrant

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    opened = {
        name: onnxruntime.InferenceSession(str(outputs / f"{name}.onnx"), options, providers=["CPUExecutionProvider"])
        for name in ("beside", "inside")
    }
    inside, beside = opened["inside"], opened["beside"]
    raw = {
        item.name: table[item.name].fillna("").to_numpy(object)
        if item.type == "tensor(string)"
        else table[item.name].to_numpy(np.float64)
        for item in inside.get_inputs()
    }
    with titrant.load(outputs, name="beside") as model, titrant.load(outputs, name="inside") as joined:
        made = model._inputs(table)
        parts = [slice(start, start + 64) for start in range(0, len(table), 64)]
        [name] = made
        plain = np.concatenate([beside.run(None, {name: made[name][part]})[0] for part in parts])
        answers = np.concatenate(
            [inside.run(None, {key: values[part] for key, values in raw.items()})[0] for part in parts]
        )
        one, row = {key: values[:1] for key, values in raw.items()}, table.iloc[:1]
        single = {key: values.iloc[:1].tolist() for key, values in table.items()}
        case = {name: made[name][:1]}
        taken = seconds(
            {
                "bare": lambda: beside.run(None, case),
                "inside": lambda: inside.run(None, one),
                "load beside": lambda: model(row),
                "load inside": lambda: joined(row),
                "load inside, lists": lambda: joined(single),
            }
        )
    return {
        "rows": len(table),
        "other decisions": int((plain.argmax(axis=1) != answers.argmax(axis=1)).sum()),
        "largest difference": float(np.abs(plain - answers).max()),
        "bare us": 1e6 * taken["bare"],
        "inside us": 1e6 * taken["inside"],
        "ratio": taken["inside"] / taken["bare"],
        "load beside over engine ms": 1e3 * (taken["load beside"] - taken["bare"]),
        "load inside over engine ms": 1e3 * (taken["load inside"] - taken["inside"]),
        "load inside, lists, over engine ms": 1e3 * (taken["load inside, lists"] - taken["inside"]),
    }


def main() -> None:
    """Measure every data set with every method."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--methods", default="none,ort.dynamic,ort.static")
    methods = parser.parse_args().methods.split(",")
    data = Path(os.environ["TITRANT_DATA"])
    for read in (adult, nhanes, heart):
        table, label, positive = read(data)
        text = any(table[name].dtype == object or str(table[name].dtype) == "str" for name in table if name != label)
        for method in methods:
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch)
                table.to_parquet(folder / "rows.parquet", index=False)
                recipe = RECIPE.format(
                    name=read.__name__, label=label, positive=positive, method=method, encode="one_hot, " * text
                )
                figures = measure(run(folder, recipe), table.drop(columns=label))
            print(f"{read.__name__} {method}: {', '.join(f'{key} {value:.3g}' for key, value in figures.items())}")


if __name__ == "__main__":
    main()
