"""PneumoniaMNIST: one file with three splits of different lengths."""

import numpy as np


def load(file: str) -> dict[str, dict[str, np.ndarray]]:
    """Return the sources `train`, `val` and `test`: image (rows, 1, 28, 28) uint8 and label (rows, 1)."""
    arrays = np.load(file)
    return {
        name: {"image": arrays[f"{name}_images"][:, None], "label": arrays[f"{name}_labels"]}
        for name in ("train", "val", "test")
    }
