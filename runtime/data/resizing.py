"""Resize images to one size."""

from collections.abc import Mapping

import numpy as np

from titrant.runtime.data.parameters import TransformStep
from titrant.runtime.values import Fitted
from titrant.schema.diagnostics import Diagnostic, RecipeError


def fit_resize(columns: Mapping[str, np.ndarray], step: TransformStep) -> Fitted:
    """Keep the size; RecipeError X122 for a column that is not an image."""
    for name, column in columns.items():
        if column.dtype.kind != "O" and column.ndim not in (3, 4):
            raise RecipeError(Diagnostic("X122", f"resize: {name} is not an image", help="name the image `columns`"))
    if step.height is None or step.width is None:
        raise RecipeError(
            Diagnostic("X122", "resize needs height and width", help="write `resize: {height: 32, width: 32}`")
        )
    return Fitted("resize", tuple(columns), {"height": step.height, "width": step.width}, {})


def apply_resize(fitted: Fitted, place: int, column: np.ndarray) -> np.ndarray:
    """Return images of the fitted size, bilinear with antialiasing; uint8 pixels are rounded and stay uint8.

    Takes (rows, channels, height, width), (rows, height, width), or an object array of such rows.
    """
    size = int(fitted.params["height"]), int(fitted.params["width"])
    if column.dtype.kind != "O" and column.shape[-2:] == size:
        return column
    if not len(column):
        return np.empty((0, *(column.shape[1:-2] if column.ndim > 1 else (3,)), *size), dtype=np.float32)
    return np.stack([_resized(image, *size) for image in column])


def _resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    from PIL import Image

    planes = image.reshape(-1, *image.shape[-2:]).astype(np.float32)
    scaled = [np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR)) for plane in planes]
    resized = np.stack(scaled).reshape(*image.shape[:-2], height, width)
    return np.rint(resized).astype(np.uint8) if image.dtype == np.uint8 else resized
