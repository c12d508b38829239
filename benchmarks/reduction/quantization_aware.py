"""What int8 keeps after calibration, after fine-tuning and after a training that imitates it, of two networks.

The networks are `mbx` and `mbr` of `benchmarks/titration/networks.py`: the depthwise network of small_nets with some
channels scaled, which calibration in onnxruntime loses. Fashion-MNIST: train rows to learn from, tuning rows choose the
epoch, 512 rows calibrate, and the test set is looked at once for each file. Run with TITRANT_DATA:
`python benchmarks/reduction/quantization_aware.py [--rows N] [--epochs N] [--seeds N]`; exits 1 where imitating int8
does not keep more than fine-tuning alone with every seed.
"""

import argparse
import copy
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import titrant

sys.path.insert(0, str(Path(__file__).parents[1] / "titration"))

import networks

TUNING, CALIBRATION = 2000, 512
FIT = {"batch_size": 64, "learning_rate": 3e-4, "schedule": "cosine", "early_stop": False}


def rows_of(count: int) -> dict[str, Any]:
    """Return rows by role: (images, labels), and of calibration and test what each is read by."""
    sets = networks.nets.fashion()
    image, label = sets["train"]["image"], sets["train"]["label"]
    return {
        "train": ({"image": image[:count]}, label[:count]),
        "tuning": ({"image": image[-TUNING:]}, label[-TUNING:]),
        "calibration": {"image": image[-TUNING - CALIBRATION : -TUNING]},
        "test": sets["test"],
    }


def int8(module: Any, rows: dict[str, Any]) -> float:
    """Return the accuracy on test rows of a network's file in int8."""
    import onnxruntime

    made = titrant.apply("quantize.ort_static", {"model": module, "calibration": rows["calibration"]})
    session = onnxruntime.InferenceSession(str(made.outputs["model"].path))
    name, test = session.get_inputs()[0].name, rows["test"]
    answers = [session.run(None, {name: part})[0] for part in np.array_split(test["image"], 50)]
    return float((np.concatenate(answers).argmax(1) == test["label"]).mean())


def measured(network: Any, rows: dict[str, Any], epochs: int, seed: int) -> dict[str, float]:
    """Train a network with and without rounding; return accuracies on test rows and CPU seconds."""
    given = {"train": rows["train"], "tuning": rows["tuning"]}
    params = {**FIT, "epochs": epochs}
    figures = {}
    for name, more in (("train.fit", {}), ("train.quantization_aware", {"calibration": rows["calibration"]})):
        begun = time.process_time()
        inputs = {"model": copy.deepcopy(network), **given, **more}
        done = titrant.apply(name, inputs, params, seed=seed)
        figures[f"{name}.seconds"] = time.process_time() - begun
        figures[name] = int8(done.outputs["model"], rows)
        if name == "train.fit":
            figures["fine_tuned"] = networks.answers(done.outputs["model"].module)[1]
    return figures


def main() -> int:
    """Print a line for each network and seed, and all of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--networks", nargs="+", default=["mbx", "mbr"])
    asked = parser.parse_args()
    rows, lines = rows_of(asked.rows), []
    for name in asked.networks:
        network = networks.NETWORKS[name]()
        start = {"network": name, "fp32": networks.answers(network)[1], "calibrated": int8(network, rows)}
        for seed in range(asked.seeds):
            lines.append({**start, "seed": seed, **measured(network, rows, asked.epochs, seed)})
            print(
                " ".join(
                    f"{key} {value:.4f}" if isinstance(value, float) else str(value) for key, value in lines[-1].items()
                ),
                flush=True,
            )
    print(json.dumps(lines))
    return 0 if all(line["train.quantization_aware"] > line["train.fit"] for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
