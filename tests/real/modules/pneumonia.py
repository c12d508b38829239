"""PneumoniaMNIST: one file with three splits of different lengths."""

import numpy as np


def load(file: str, train_every: int = 1) -> dict[str, dict[str, np.ndarray]]:
    """Return the sources `train`, `val` and `test`: image (rows, 1, 28, 28) uint8 and label (rows, 1).

    Of every so many images to train on one is taken.
    """
    arrays = np.load(file)
    every = {"train": train_every, "val": 1, "test": 1}
    return {
        name: {"image": arrays[f"{name}_images"][::step, None], "label": arrays[f"{name}_labels"][::step]}
        for name, step in every.items()
    }
