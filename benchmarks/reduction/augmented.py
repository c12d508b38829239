"""CIFAR-10 from JPEG files, parted by hand: shifted and mirrored copies are for training alone."""

import numpy as np
from cifar import load

# Of ten images of a class eight are trained on; the others choose.
TRAINED, SHIFT, SEED = 0.8, 3, 0


def sources(folder: str, copies: int = 1) -> dict[str, dict[str, np.ndarray]]:
    """Return `train`, with so many changed copies of each image beside it, `tuning` and `test`."""
    loaded = load(folder)
    generator = np.random.default_rng(SEED)
    image, label = loaded["train"]["image"], loaded["train"]["label"]
    trained = np.zeros(len(label), bool)
    for name in np.unique(label):
        places = np.flatnonzero(label == name)
        trained[generator.permutation(places)[: round(TRAINED * len(places))]] = True
    images = [image[trained], *(changed(image[trained], generator) for _ in range(copies))]
    train = {"image": np.concatenate(images), "label": np.tile(label[trained], copies + 1)}
    return {"train": train, "tuning": {"image": image[~trained], "label": label[~trained]}, "test": loaded["test"]}


def changed(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return each image shifted by up to three pixels each way, and every second one mirrored; (rows, 3, 32, 32)."""
    wide = np.pad(images, ((0, 0), (0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)))
    down, right = generator.integers(0, 2 * SHIFT + 1, (2, len(images)))
    mirrored = generator.random(len(images)) < 0.5
    height, width = images.shape[2:]
    shifted = [wide[row, :, y : y + height, x : x + width] for row, (y, x) in enumerate(zip(down, right, strict=True))]
    return np.stack([each[..., ::-1] if turn else each for each, turn in zip(shifted, mirrored, strict=True)])
