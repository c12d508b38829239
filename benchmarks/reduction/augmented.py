"""CIFAR-10 from JPEG files, with changed copies of the training images: shifted, and every second one mirrored."""

import numpy as np
from cifar import load

SHIFT, SEED = 3, 0


def sources(folder: str, copies: int = 1) -> dict[str, dict[str, np.ndarray]]:
    """Return `train`, with so many changed copies of each image beside it, and `test`."""
    loaded = load(folder)
    generator = np.random.default_rng(SEED)
    image, label = loaded["train"]["image"], loaded["train"]["label"]
    images = [image, *(changed(image, generator) for _ in range(copies))]
    return {"train": {"image": np.concatenate(images), "label": np.tile(label, copies + 1)}, "test": loaded["test"]}


def changed(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return each image shifted by up to three pixels each way, and every second one mirrored; (rows, 3, 32, 32)."""
    wide = np.pad(images, ((0, 0), (0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)))
    down, right = generator.integers(0, 2 * SHIFT + 1, (2, len(images)))
    mirrored = generator.random(len(images)) < 0.5
    height, width = images.shape[2:]
    shifted = [wide[row, :, y : y + height, x : x + width] for row, (y, x) in enumerate(zip(down, right, strict=True))]
    return np.stack([each[..., ::-1] if turn else each for each, turn in zip(shifted, mirrored, strict=True)])
