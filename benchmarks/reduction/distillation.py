"""A student of a quarter of its teacher's parameters, distilled and trained alone, over five seeds.

Fashion-MNIST: teacher and students learn from the same rows, unless `--teacher-rows` gives the teacher more, tuning
rows choose the epoch, and the whole test set is looked at once for each. Both students of a seed begin with the same
weights and see the rows in the same order. Run with TITRANT_DATA: `python benchmarks/reduction/distillation.py [--rows
N] [--epochs N]`; exits 1 where the interval of the gain holds 0.
"""

import argparse
import copy
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253 - the file defines torch modules
from torch import nn  # noqa: TID253

import titrant

SEEDS = 5
TUNING = 2000
# Of a two-sided interval of 95 % with four degrees of freedom.
QUANTILE = 2.776
TERMS = {"temperature": 4.0, "weight": 0.9}


def network(width: int) -> nn.Module:
    """Return three convolutions and a head: (batch, 1, 28, 28) → logits (batch, 10)."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(),
        nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1), nn.BatchNorm2d(4 * width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, 10),
    )  # fmt: skip


def seeded(width: int, seed: int) -> nn.Module:
    """Return a network with weights drawn from a seed."""
    torch.manual_seed(seed)
    return network(width)


def images(rows: int) -> dict[str, tuple[dict[str, np.ndarray], np.ndarray]]:
    """Return rows by role: the first of the train set to learn from, its last to choose by, and the test set."""
    arrays = np.load(Path(os.environ["TITRANT_DATA"]) / "fashion_mnist" / "fashion_mnist.npz")

    def part(pixels: np.ndarray, labels: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        return {"x": pixels[:, None].astype(np.float32) / 255 - 0.29}, labels.astype(np.int64)

    return {
        "train": part(arrays["train_x"][:rows], arrays["train_y"][:rows]),
        "tuning": part(arrays["train_x"][-TUNING:], arrays["train_y"][-TUNING:]),
        "test": part(arrays["test_x"], arrays["test_y"]),
    }


def accuracy(module: nn.Module, rows: tuple[dict[str, np.ndarray], np.ndarray]) -> float:
    """Return the share of rows whose class is right."""
    with torch.inference_mode():
        answers = torch.cat([module.eval()(part) for part in torch.from_numpy(rows[0]["x"]).split(1000)])
    return float((answers.argmax(1).numpy() == rows[1]).mean())


def trained(module: nn.Module, roles: dict[str, Any], params: dict[str, Any], seed: int, **teacher: Any) -> nn.Module:
    """Train a copy of a module, by a teacher where there is one."""
    operator = "distill.fit" if teacher else "train.fit"
    inputs = {"model": copy.deepcopy(module), "train": roles["train"], "tuning": roles["tuning"], **teacher}
    extra = TERMS if teacher else {}
    done = titrant.apply(operator, inputs, {**params, **extra}, seed=seed, threads=torch.get_num_threads())
    made: nn.Module = done.outputs["model"].module
    return made


def main() -> int:
    """Print each seed, and the mean gain with its interval of 95 %."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--teacher-rows", type=int, default=None)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    roles = images(asked.rows)
    moved = {"learning_rate": 3e-3, "schedule": "one_cycle"}
    params = {"epochs": asked.epochs, "metric": "tuning accuracy", "early_stop": False, **moved}
    rows = asked.teacher_rows or asked.rows
    passes = max(1, asked.epochs * asked.rows // rows)  # as many steps as a student takes
    teacher = trained(seeded(32, 0), images(rows), {**params, "epochs": passes}, 0)
    counts = [sum(value.numel() for value in module.parameters()) for module in (teacher, network(16))]
    print(f"teacher {counts[0]:,} parameters: {accuracy(teacher, roles['test']):.4f}; student {counts[1]:,}")
    gains = []
    for seed in range(1, asked.seeds + 1):
        student = seeded(16, seed)
        alone = accuracy(trained(student, roles, params, seed), roles["test"])
        taught = accuracy(trained(student, roles, params, seed, teacher=teacher), roles["test"])
        gains.append(taught - alone)
        print(f"seed {seed}: alone {alone:.4f}, distilled {taught:.4f}, gain {100 * gains[-1]:+.2f} points", flush=True)
    mean = statistics.fmean(gains)
    half = QUANTILE * statistics.stdev(gains) / len(gains) ** 0.5
    seconds = time.process_time() - began
    print(f"gain {100 * mean:+.2f} points, 95 % interval {100 * (mean - half):+.2f} to {100 * (mean + half):+.2f}")
    print(f"{seconds:.0f} CPU seconds")
    if asked.json:
        print(json.dumps({"gains": gains, "mean": mean, "half_width": half, "cpu_seconds": seconds}))
    return 0 if mean - half > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
