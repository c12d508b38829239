"""Count the labels that prove a gate on real sets: of rows at random, and of only what differs.

    TITRANT_DATA=… python benchmarks/labels_saved.py

A network of `small_nets` is quantized by titrant (`ort.static`). At random: the fewest test rows of which 80 % of the
draws prove the gate. By difference: beside 300 labeled rows the other test rows have no label; those that both models
decide otherwise get one after the other until the gate is proven. Both are means over draws with seeds 0, 1, …
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.evidence import Evidence, Unlabeled
from titrant.runtime.contract.judge import judge
from titrant.runtime.contract.unlabeled.judging import judge_with_unlabeled
from titrant.runtime.values import Rows
from titrant.schema.gate import Gate, gate_test

ROWS = """
import os
from pathlib import Path
import nets
nets.DATA = Path(os.environ["TITRANT_DATA"])

def rows(name):
    parts = getattr(nets, name)()
    few = {key: array[:300] for key, array in parts["test"].items()}
    return {"train": {key: array[:4000] for key, array in parts["train"].items()}, "test": few}
"""
RECIPE = """
titrant: 1
name: {name}
level: balanced
task: {task}_classification
model: {{factory: "nets:{net}", weights: {weights}}}
data:
  source: {{factory: "rows:rows", args: {{name: {name}}}}}
  label: label
  split: {{tuning: {{train: 0.25}}, calibration: {{train: 0.25}}, evaluation: test, overlap: drop}}
quantization: {{method: ort.static}}
validation: {{retention: 0.5, calibration: none, require: evidence}}
export: [{{format: onnx}}]
"""
SETS: dict[str, tuple[str, str, str]] = {
    "adult": ("Tabular", "tabular.pt", "binary"), "fashion": ("Depthwise", "depthwise.pt", "multiclass"),
}  # fmt: skip
LABELED, DRAWS, POWER = 300, 60, 0.8
Decisions = tuple[np.ndarray, np.ndarray, np.ndarray]


def decided(name: str, folder: Path) -> Decisions:
    """Quantize a network, and return the test rows' labels and the decisions of the original and the int8 file."""
    import onnxruntime
    import torch

    import titrant
    from titrant.runtime.store.home import home_folder

    net, weights, task = SETS[name]
    data = Path(os.environ["TITRANT_DATA"])
    for file in ("nets.py", weights):
        shutil.copy(data / "small_nets" / file, folder)
    (folder / "rows.py").write_text(ROWS)
    recipe = folder / f"{name}.yaml"
    recipe.write_text(RECIPE.format(name=name, net=net, weights=weights, task=task))
    run = titrant.run(titrant.plan(titrant.read(recipe), trust=True))
    sys.path.insert(0, str(folder))
    import nets  # type: ignore[import-not-found]

    nets.DATA = data
    test: dict[str, Any] = getattr(nets, name)()["test"]
    rows = next(array for key, array in test.items() if key != "label")
    original = getattr(nets, net)().eval()
    original.load_state_dict(torch.load(folder / weights, weights_only=True))
    session = onnxruntime.InferenceSession(str(next((home_folder() / "runs" / run.run).glob("[oq]u*/*.onnx"))))
    batches = [rows[start : start + 64] for start in range(0, len(rows), 64)]
    with torch.no_grad():
        old = np.concatenate([original(torch.from_numpy(batch)).numpy() for batch in batches])
    new = np.concatenate([session.run(None, {session.get_inputs()[0].name: batch})[0] for batch in batches])
    return test["label"], old.argmax(1), new.argmax(1)


def gates(name: str) -> Iterator[Gate]:
    """List what is asked."""
    asked = [("accuracy", "retention", threshold) for threshold in (0.98, 0.99, 0.995)]
    asked += [("kept", "at_least", threshold) for threshold in (0.97, 0.98)] if name == "adult" else []
    for metric, comparison, threshold in asked:
        test = gate_test(metric, comparison)
        yield Gate(f"{metric} {threshold}", "gates", metric, "all", comparison, threshold, test, "measured")  # type: ignore[arg-type]


def evidence(given: Decisions, places: np.ndarray, further: Unlabeled | None = None) -> Evidence:
    """Return what judging looks at, of rows whose labels are there."""
    labels, old, new = (array[places] for array in given)
    return Evidence(_rows(labels, given, places), _sure(old), _sure(new), old == new, unlabeled=further)


def _rows(labels: np.ndarray | None, given: Decisions, places: np.ndarray) -> Rows:
    classes = tuple(str(number) for number in range(int(given[0].max()) + 1))
    positive = 1 if len(classes) == 2 else None
    return Rows("evaluation", {}, labels, np.arange(len(places)), places.astype(np.uint64), classes, positive)


def _sure(decisions: np.ndarray) -> Answers:
    return Answers(np.zeros((len(decisions), 2)), decisions)


def at_random(gate: Gate, given: Decisions) -> int | None:
    """Return the fewest labels of random rows that prove a gate in 80 % of the draws; None where all do not."""
    total = len(given[0])

    def power(count: int) -> float:
        draws = (np.random.default_rng(seed).permutation(total)[:count] for seed in range(DRAWS))
        return float(np.mean([judge(gate, evidence(given, places)).verdict == "PASS" for places in draws]))

    low, high = 50, total
    if power(total) < POWER:
        return None
    while high - low > max(5, low // 50):
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


def by_difference(gate: Gate, given: Decisions, unlabeled: int) -> tuple[float, float, float]:
    """Return how often a gate is proven, and the means of labels that it takes then and of rows that differ."""
    proven, taken, differing = [], [], []
    for seed in range(DRAWS):
        order = np.random.default_rng(seed).permutation(len(given[0]))
        places = order[LABELED : LABELED + unlabeled]
        truth, old, new = (array[places] for array in given)
        waiting = np.flatnonzero(old != new)
        differing.append(len(waiting))
        judged = evidence(given, order[:LABELED])

        def passes(count: int) -> bool:
            labels = np.full(len(places), -1)  # noqa: B023
            labels[waiting[:count]] = truth[waiting[:count]]  # noqa: B023 - called in this turn
            further = Unlabeled(_rows(None, given, places), _sure(old), _sure(new), labels)  # noqa: B023
            return judge_with_unlabeled(gate, replace(judged, unlabeled=further)).verdict == "PASS"  # noqa: B023

        low, high = -1, len(waiting)
        proven.append(passes(high))
        while proven[-1] and high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if passes(middle) else (middle, high)
        if proven[-1]:
            taken.append(high)
    return float(np.mean(proven)), float(np.mean(taken)) if taken else float("nan"), float(np.mean(differing))


def main() -> None:
    """Measure both sets and print a table."""
    print("| set | gate | labels at random | rows without labels | differ | proven | labels of them |")
    print("|---|---|---|---|---|---|---|")
    for name in SETS:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["TITRANT_HOME"] = f"{folder}/home"
            given = decided(name, Path(folder))
        for gate in gates(name):
            random = at_random(gate, given)
            for unlabeled in (1000, 3000, len(given[0]) - LABELED):
                proven, labels, differing = by_difference(gate, given, unlabeled)
                said = f"> {len(given[0]):,}" if random is None else f"{random:,}"
                row = f"| {name} | {gate.id} | {said} | {unlabeled:,} | {differing:.1f} | {proven:.0%} | {labels:.1f} |"
                print(row, flush=True)


if __name__ == "__main__":
    main()
