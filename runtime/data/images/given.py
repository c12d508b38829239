"""Read what a released model is given in place of rows: files of images, or arrays of pixels, as its data were read."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from titrant.runtime.data.images.read import read_given, stacked
from titrant.runtime.data.images.stored import CHANNELS, ImageRefusedError, PixelForm, ShownImage, StoredImage, seen
from titrant.runtime.values import ImageReading
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError


def as_rows(rows: Any, readings: Mapping[str, ImageReading], *, resize: bool) -> Any:
    """Return rows with every column of images as pixels in 0..1; anything else comes back as it is.

    Takes the path of an image or a list of paths for a model of one column of images, or a mapping or DataFrame
    whose column holds paths or an array. Arrays are (rows, channels, height, width) or (rows, height, width): float in
    0..1, or uint8 and uint16 as stored in files. StepError X342 for numbers out of that range.
    """
    lone = next(iter(readings)) if len(readings) == 1 else None
    if isinstance(rows, (str, os.PathLike)):
        rows = [rows]
    if lone is not None and _are_paths(rows):
        return {lone: read_given([Path(path) for path in rows], readings[lone], resize=resize)}
    if not hasattr(rows, "keys"):
        return rows if lone is None else {lone: _pixels(_array(rows, lone), lone, readings[lone])}
    columns = {name: rows[name] for name in rows.keys()}  # noqa: SIM118  (a DataFrame yields its columns' names too)
    for name, reading in readings.items():
        given = columns.get(name)
        if given is None:
            continue
        listed = [given] if isinstance(given, (str, os.PathLike)) else list(given)
        if _are_paths(listed):
            columns[name] = read_given([Path(path) for path in listed], reading, resize=resize)
        else:
            columns[name] = _pixels(_array(given, name), name, reading)
    return columns


def _are_paths(rows: Any) -> bool:
    return isinstance(rows, Sequence) and bool(rows) and all(isinstance(path, (str, os.PathLike)) for path in rows)


def _array(rows: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(rows)
    except ValueError:
        help = "give images of one size, or paths of image files"
        raise StepError(Diagnostic("X342", f"{name} is no array: its rows differ in shape", help=help)) from None


def _pixels(array: np.ndarray, name: str, reading: ImageReading) -> np.ndarray:
    """Bring an array of images to (rows, channels, height, width) in 0..1."""
    if array.dtype.kind == "O":
        return array
    planes = array[:, None] if array.ndim == 3 else array
    channels = CHANNELS[reading.color]
    if planes.ndim != 4 or planes.shape[1] not in (1, 3) or not len(planes):
        shape = ", ".join(map(str, array.shape))
        help = f"give (rows, {channels}, height, width), or the path of an image"
        raise StepError(Diagnostic("X342", f"{name} is an array of ({shape}), and no images", help=help))
    if array.dtype not in (np.uint8, np.uint16):
        return _unit(planes, name, channels)
    white = 255 if array.dtype == np.uint8 else _deep_white(planes, name, reading)
    form = PixelForm(array.dtype.itemsize * 8, "whole", "gray" if planes.shape[1] == 1 else "RGB")
    images: list[ShownImage] = []
    for place, image in enumerate(planes):
        try:
            images.append(seen(StoredImage(image.transpose(1, 2, 0), white, form), reading))
        except ImageRefusedError as refused:
            raise refused.error(f"image {place + 1:,} of {name}") from None
    return stacked(images, reading, lambda place: f"image {place + 1:,} of {name}", resize=True)


def _deep_white(planes: np.ndarray, name: str, reading: ImageReading) -> int:
    """Return the number that is white in uint16, as in the images that the model was judged on."""
    whites = reading.deep_whites or (65535,)
    largest = int(planes.max())
    if reading.window is None and (len(whites) > 1 or largest > whites[0]):
        spoken = " and ".join(f"{white:,}" for white in whites)
        message = (
            f"{name} is uint16 up to {largest:,}, and white was {spoken} in the images that the model was judged on"
        )
        raise StepError(Diagnostic("X342", message, help="give float in 0..1, or the path of an image"))
    return whites[0]


def _unit(planes: np.ndarray, name: str, channels: int) -> np.ndarray:
    """Check that floats are pixels in 0..1 already, and give gray ones as many channels as the model takes."""
    low, high = float(planes.min()), float(planes.max())
    if planes.dtype.kind != "f" or low < 0 or high > 1:
        help = "give float in 0..1, uint8 or uint16 as files hold them, or the path of an image"
        message = f"{name} is {planes.dtype.name} from {low:,.6g} to {high:,.6g}, and pixels are 0 to 1"
        raise StepError(Diagnostic("X342", message, help=help))
    planes = planes.astype(np.float32, copy=False)
    return np.repeat(planes, channels, axis=1) if planes.shape[1] == 1 < channels else planes
