"""Fashion-MNIST's test rows in two halves, one to tune on and one to judge by, as a data factory of the recipes.

The recipes' folder holds a copy of this file; TITRANT_DATA names the folder with the rows.
"""

import os
from pathlib import Path

import numpy as np

CALIBRATION = 256
Sources = dict[str, dict[str, np.ndarray]]


def load(seed: int = 0) -> Sources:
    """Return `calibration` (256 training rows), `tuning` and `judge` (5,000 test rows each, parted by `seed`).

    Each holds image (rows, 1, 28, 28) float32, normalized as the networks learned it, and label (rows,) int64.
    """
    arrays = np.load(Path(os.environ["TITRANT_DATA"]) / "fashion_mnist" / "fashion_mnist.npz")
    order = np.random.default_rng(seed).permutation(len(arrays["test_x"]))
    half = len(order) // 2

    def part(name: str, places: np.ndarray) -> dict[str, np.ndarray]:
        image = (arrays[f"{name}_x"][places].astype(np.float32) / 255 - 0.286) / 0.353
        return {"image": image[:, None].astype(np.float32), "label": arrays[f"{name}_y"][places].astype(np.int64)}

    drawn = np.random.default_rng(seed).choice(len(arrays["train_x"]), CALIBRATION, replace=False)
    return {
        "calibration": part("train", drawn),
        "tuning": part("test", np.sort(order[:half])),
        "judge": part("test", np.sort(order[half:])),
    }
