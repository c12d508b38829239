"""Read labels that say where something is in an image: a class for each pixel, or boxes with a class each."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from titrant.runtime.data.classes import Classes
from titrant.runtime.data.columns import value_text
from titrant.runtime.data.parameters import PlainValue
from titrant.runtime.values import Fitted
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError, RecipeError
from titrant.schema.language.nearest import nearest
from titrant.schema.values.text import is_whole

# What a class may be numbered at most: masks are kept in 16 bits.
_MOST_CLASSES = 1 << 15
# How many numbers a pixel may have where the last dimension could be channels too.
_CHANNELS = (1, 3, 4)
# left, top, right, bottom, class
BOX_NUMBERS = 5


def find_object_classes(
    labels: Sequence[np.ndarray], column: str, kind: str, stated: Sequence[PlainValue], *, resized: bool = False
) -> Classes:
    """Name the classes of masks or boxes over all sources: 0 up to the highest number, or as is `stated`.

    What is stated are the names of 0, 1, … in the order of the model's outputs, or, where all are whole numbers, the
    numbers that stand in the labels. Masks that are `resized` may differ in size. Raises PreconditionError X646 for
    masks, X647 for boxes that hold anything but classes, RecipeError X128 for a number without a class.
    """
    numbers: set[int] = set()
    for label in labels:
        parts = [mask[None] for mask in label] if resized and label.dtype == object else [label]
        for part in parts:
            numbers |= _numbers(part, column) if kind == "mask" else _box_classes(part, column)
    entries = [value_text(entry) for entry in stated]
    if entries and all(map(is_whole, entries)):
        left_out = [str(number) for number in sorted(numbers) if str(number) not in entries]
        if left_out:
            raise _left_out(column, left_out, entries)
        return Classes(tuple(entries), tuple(entries), kind="integer")
    highest = max(numbers, default=0)
    # A mask that shows one class only has a second one: that of everything else.
    least = 2 if kind == "mask" else 1
    count = max(len(entries), least) if entries else max(highest + 1, least)
    if highest >= count:
        raise _left_out(column, [str(highest)], entries)
    values = tuple(map(str, range(count)))
    return Classes(values, tuple(entries) or values, kind="text" if entries else "integer")


def object_labels(
    column: np.ndarray, classes: Classes, kind: str, inputs: Mapping[str, np.ndarray], name: str
) -> np.ndarray:
    """Return a role's masks (rows, height, width) int16 or boxes (rows, most, 5) float64, by place among the classes.

    `inputs` are the role's images, and `name` is that of the label. Raises PreconditionError X647 as `box_numbers`.
    """
    if kind == "mask":
        return mask_numbers(column, classes)
    return box_numbers(column, classes, image_size(inputs), name)


def resized_objects(
    column: np.ndarray, kind: str, steps: Sequence[Fitted], images: Callable[[str], np.ndarray]
) -> np.ndarray:
    """Return masks or boxes as the transforms that resize their images leave them; as they are where none does.

    `images` gives the role's images by column, as they were. Raises PreconditionError X606 where boxes could be about
    several images that differ in size.
    """
    resizing = [step for step in steps if step.name == "resize"]
    if not resizing:
        return column
    last = resizing[-1]  # sizes in between make no difference to where things lie
    height, width = int(last.params["height"]), int(last.params["width"])
    if kind == "mask":
        return resized_masks(column, height, width)
    every = [images(name) for name in last.columns]
    sizes = [[image.shape[-2:] for image in each] for each in every]
    if any(each != sizes[0] for each in sizes):
        message = f"a row has several images of different sizes, {', '.join(last.columns)}, and its boxes are of one"
        advice = "bring images and boxes to one size in a data factory"
        raise PreconditionError(Diagnostic("X606", message, help=advice))
    return resized_boxes(column, every[0], height, width)


def resized_masks(masks: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return masks (rows, height, width) as `resize` makes their images: each pixel is that which lies nearest to it.

    Takes (rows, height, width), also with one channel, or an object array of masks that differ in size.
    """
    masks = _squeezed(masks)
    if not len(masks):
        return np.empty((0, height, width), np.float32 if masks.dtype == object else masks.dtype)
    return np.stack([mask[np.ix_(_nearest(mask.shape[0], height), _nearest(mask.shape[1], width))] for mask in masks])


def _nearest(given: int, made: int) -> np.ndarray:
    """Return which of the pixels of a line lies nearest to each of a resized one, (made,), by their centers."""
    places: np.ndarray = np.floor((np.arange(made) + 0.5) * given / made).astype(np.int64)
    return np.minimum(places, given - 1)


def resized_boxes(boxes: np.ndarray, images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return boxes (rows, most, 5) as `resize` moves their images, which lie at the same places.

    `images` are those before, (rows, channels, height, width) or (rows, height, width), or an object array of them.
    """
    sizes = np.array([image.shape[-2:] for image in images], np.float64).reshape(len(images), 2)
    moved = boxes.astype(np.float64)
    moved[..., [0, 2]] *= (width / sizes[:, 1])[:, None, None]
    moved[..., [1, 3]] *= (height / sizes[:, 0])[:, None, None]
    return moved


def mask_numbers(masks: np.ndarray, classes: Classes) -> np.ndarray:
    """Return each pixel's place among the classes: (rows, height, width) int16."""
    values = np.array([int(value) for value in classes.values])
    table = np.zeros(int(values.max()) + 1, np.int16)
    table[values] = np.arange(len(values))
    pixels: np.ndarray = table[_squeezed(masks).astype(np.int64)]
    return pixels


def box_numbers(boxes: np.ndarray, classes: Classes, size: tuple[int, int] | None, column: str) -> np.ndarray:
    """Return boxes (rows, most, 5) float64 with places among the classes, cut at the edges of the image.

    `size` is (height, width), None where it is not known. Boxes come before the rows of NaN that fill a case up. Raises
    PreconditionError X647 for a box that is none, or that lies outside the image.
    """
    given = boxes.astype(np.float64)
    there = np.isfinite(given).all(axis=2)
    wide = (given[..., 2] > given[..., 0]) & (given[..., 3] > given[..., 1])
    if bool((there & ~wide).any()):
        flat = int(np.any(there & ~wide, axis=1).sum())
        what = f"boxes of no width or height in {flat} of {len(given)} rows"
        raise _no_boxes(column, f"{what}: the numbers are left, top, right, bottom, class")
    if size is not None:
        ends = np.array([size[1], size[0], size[1], size[0]], np.float64)
        outside = there & ((given[..., :2] >= ends[:2]).any(axis=2) | (given[..., 2:4] <= 0).any(axis=2))
        if outside.any():
            rows = int(np.any(outside, axis=1).sum())
            raise _no_boxes(column, f"boxes outside the image of {size[0]} × {size[1]} in {rows} of {len(given)} rows")
        given[..., :4] = np.clip(given[..., :4], 0, ends)
    place = {int(value): number for number, value in enumerate(classes.values)}
    given[..., 4][there] = [place[int(value)] for value in given[..., 4][there]]
    order = np.argsort(~there, axis=1, kind="stable")
    sorted_boxes: np.ndarray = np.take_along_axis(given, order[..., None], axis=1)
    sorted_boxes[~np.take_along_axis(there, order, axis=1)] = np.nan
    return sorted_boxes


def image_size(inputs: Mapping[str, np.ndarray]) -> tuple[int, int] | None:
    """Return (height, width) of the first input of images, channels first or last; None where none is one."""
    for values in inputs.values():
        if values.ndim == 4:
            first = values.shape[1] in _CHANNELS or values.shape[3] not in _CHANNELS
            height, width = values.shape[2:] if first else values.shape[1:3]
            return int(height), int(width)
    return None


def _squeezed(masks: np.ndarray) -> np.ndarray:
    return masks[:, 0] if masks.ndim == 4 and masks.shape[1] == 1 else masks


def _numbers(masks: np.ndarray, column: str) -> set[int]:
    """Return the numbers that masks hold; PreconditionError X646 where they are none."""
    masks = _squeezed(masks)
    if masks.dtype == object:
        advice = "bring images and masks to one size: `transform: [{resize: {height: 224, width: 224}}]`"
        raise _no_masks(column, "masks of several sizes", advice)
    if masks.ndim != 3:
        shown = f"the shape {masks.shape[1:]} in each row"
        raise _no_masks(column, shown, "a mask is (height, width), the number of a class for each pixel")
    if masks.dtype.kind not in "iufb":
        raise _no_masks(column, "text", "a mask is (height, width), the number of a class for each pixel")
    if masks.dtype.kind == "f" and not (np.isfinite(masks).all() and (masks == np.rint(masks)).all()):
        raise _no_masks(column, "fractions, or no numbers", "threshold them in a data factory")
    low, high = int(masks.min(initial=0)), int(masks.max(initial=0))
    if low < 0 or high >= _MOST_CLASSES:
        advice = "number the classes from 0 on; pixels that shall not count need a class of their own"
        raise _no_masks(column, f"the numbers {low} to {high}", advice)
    held = np.bincount(masks.astype(np.int64).ravel(), minlength=1)
    return set(np.flatnonzero(held).tolist())


def _box_classes(boxes: np.ndarray, column: str) -> set[int]:
    """Return the numbers of the classes that boxes have; PreconditionError X647 where they are none."""
    if boxes.dtype == object or boxes.ndim != 3 or boxes.shape[2] != BOX_NUMBERS or boxes.dtype.kind not in "iuf":
        shown = "several shapes" if boxes.dtype == object else f"the shape {boxes.shape[1:]}"
        raise _no_boxes(column, f"arrays of {shown}")
    given = boxes.astype(np.float64)
    filling = np.isnan(given).all(axis=2)
    if not np.isfinite(given[~filling]).all():
        raise _no_boxes(column, "boxes with no finite number in some: what fills a row up is NaN in all five")
    numbers = np.unique(given[~filling][:, 4])
    if ((numbers != np.rint(numbers)) | (numbers < 0) | (numbers >= _MOST_CLASSES)).any():
        spread = f"{numbers.min():g} to {numbers.max():g}"
        raise _no_boxes(column, f"boxes of the classes {spread}, and classes are whole numbers from 0 on")
    return {int(number) for number in numbers}


def _left_out(column: str, numbers: Sequence[str], stated: Sequence[str]) -> RecipeError:
    near = nearest(numbers[0], stated)
    message = f"data.classes lists {len(stated)} classes, and none for the number {numbers[0]} that {column} holds"
    advice = f"is it {near}?" if near else "list every class, in the order of the model's outputs"
    return RecipeError(Diagnostic("X128", message, help=advice, key="data.classes"))


def _no_masks(column: str, what: str, advice: str) -> PreconditionError:
    message = f"the label {column} holds {what}, and the task asks for masks"
    return PreconditionError(Diagnostic("X646", message, help=advice))


def _no_boxes(column: str, what: str) -> PreconditionError:
    advice = "give an array (rows, most boxes of a row, 5) of left, top, right, bottom, class; fill rows up with NaN"
    return PreconditionError(Diagnostic("X647", f"the label {column} holds {what}", help=advice))
