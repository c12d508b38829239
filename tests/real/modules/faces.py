"""Three photographs, cut into overlapping windows of the detector's size."""

import numpy as np
from PIL import Image


def load(folder: str, count: int) -> dict[str, np.ndarray]:
    """Return `input` (count, 3, 240, 320) float32, pixels as (x - 127) / 128."""
    photos = [Image.open(f"{folder}/{name}.jpg").convert("RGB") for name in (1, 10, 11)]
    generator = np.random.default_rng(0)
    windows = []
    for number in range(count):
        image = photos[number % len(photos)]
        scale = generator.uniform(0.5, 1.0)
        width, height = int(image.width * scale), int(image.height * scale)
        left, top = generator.integers(0, image.width - width + 1), generator.integers(0, image.height - height + 1)
        window = image.crop((left, top, left + width, top + height)).resize((320, 240))
        windows.append((np.asarray(window, np.float32).transpose(2, 0, 1) - 127) / 128)
    return {"input": np.stack(windows)}
