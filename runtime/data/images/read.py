"""Read the images of a folder, or those that a released model is given, as one array of pixels in 0..1."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from titrant.runtime.data.images.decode import decode
from titrant.runtime.data.images.dicom import decode_dicom, is_dicom
from titrant.runtime.data.images.folder import SUFFIXES, list_images, passed_over, refuse_other_levels
from titrant.runtime.data.images.mask_files import read_masks
from titrant.runtime.data.images.stored import (
    CHANNELS,
    ImageRefusedError,
    PixelForm,
    ShownImage,
    StoredImage,
    scaled,
    seen,
)
from titrant.runtime.values import ImageReading, Table
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

IMAGE = "image"  # the column that a folder of images gives
_SHOWN = 6  # forms that a note lists


def read_images(
    path: str, *, label: str | None, resize: bool, reading: ImageReading | None = None, masks: str | None = None
) -> Table:
    """Read images as `image` (rows, 3 or 1, height, width) float32 in 0..1 and, from class folders, their names.

    `label` is the column to give the class names, or the masks that lie in the folder `masks`; None leaves them out.
    Files are taken in the order of their names.
    With a resize transform to follow, images may differ in size: then `image` is an object array of (channels, height,
    width). The notes say what was read and what was passed over. StepError X107, X113 to X116.
    """
    reading = ImageReading() if reading is None else reading
    folder = Path(path)
    listing = list_images(folder)
    by_class = label is not None and masks is None
    if by_class:
        refuse_other_levels(folder, listing)

    def named(place: int) -> str:
        return listing.name(place, by_class=by_class)

    images = []
    for place, file in enumerate(listing.files):
        try:
            images.append(seen(_stored(file), reading))
        except ImageRefusedError as refused:
            refused.said = f"{file.parent.name}/{file.name}: {refused.said}"
            raise refused.error(f"{named(place)}, in the order of the files' names,") from None
    _refuse_mixed_units(images, reading, named)
    columns = {IMAGE: stacked(images, reading, named, resize=resize)}
    if listing.classes and label is not None and by_class:
        columns[label] = np.array(listing.classes, dtype=str)
    unpaired: tuple[str, ...] = ()
    if label is not None and masks is not None:
        sizes = [image.pixels.shape[1:] for image in images]
        within = [file.relative_to(folder) for file in listing.files]
        columns[label], unpaired = read_masks(Path(masks), within, sizes, named)
    whites = {image.brightest[1] for image in images if image.brightest is not None}
    notes = (*_notes(images, reading), *passed_over(listing), *unpaired)
    return Table(columns, notes=notes, deep_whites=tuple(sorted(whites)))


def read_given(files: Sequence[Path], reading: ImageReading, *, resize: bool) -> np.ndarray:
    """Read the files that a released model is to answer, as `read_images` read those that it was judged on."""
    images = []
    for place, file in enumerate(files):
        try:
            images.append(seen(_stored(file), reading))
        except ImageRefusedError as refused:
            raise refused.error(f"image {place + 1:,} of those given") from None
    return stacked(images, reading, lambda place: f"image {place + 1:,} of those given", resize=resize)


def _stored(file: Path) -> StoredImage:
    if file.suffix.lower() not in SUFFIXES and is_dicom(file):
        return decode_dicom(file)
    return decode(file)


def stacked(
    images: Sequence[ShownImage], reading: ImageReading, named: Callable[[int], str], *, resize: bool
) -> np.ndarray:
    """Return (rows, channels, height, width) float32; of several sizes, with `resize`, an object array of images."""
    channels = CHANNELS[reading.color]
    sizes = [image.pixels.shape[1:] for image in images]
    if len(set(sizes)) == 1:
        pixels = np.empty((len(images), channels, *sizes[0]), dtype=np.float32)
        for place, image in enumerate(images):
            np.divide(image.pixels, np.float32(image.white), out=pixels[place])
        return pixels
    if not resize:
        other = next(place for place, size in enumerate(sizes) if size != sizes[0])
        message = f"images differ in size: {named(0)} is {_size(sizes[0])} and {named(other)} {_size(sizes[other])}"
        help = "add a transform such as `- resize: {height: 224, width: 224}`"
        raise StepError(Diagnostic("X107", message, help=help))
    ragged = np.empty(len(images), dtype=object)
    for place, image in enumerate(images):
        ragged[place] = scaled(image, channels)
    return ragged


def _size(size: tuple[int, ...]) -> str:
    return f"{size[1]} x {size[0]}"


def _unit(form: PixelForm) -> tuple[str, int, bool]:
    """Tell what a stored number is counted in: DICOM's own unit, a float's, or a part of the whole range."""
    return (form.container, 0, False) if form.container else ("", form.bits, form.numbers == "float")


def _refuse_mixed_units(images: Sequence[ShownImage], reading: ImageReading, named: Callable[[int], str]) -> None:
    """Refuse a window over images whose numbers are of different units: it would not mean the same in each."""
    if reading.window is None:
        return
    other = next((place for place, image in enumerate(images) if _unit(image.form) != _unit(images[0].form)), None)
    if other is not None:
        message = (
            f"`window` would mean different things: {named(0)} is {images[0].form.words()} and {named(other)} "
            f"{images[other].form.words()}"
        )
        raise StepError(Diagnostic("X116", message, help="store them alike, or read them as two sources"))


def _notes(images: Sequence[ShownImage], reading: ImageReading) -> tuple[str, ...]:
    """Say what was read, at what bit depth and color, and what was done to it."""
    forms = Counter(image.form for image in images)
    through = "" if reading.window is None else " through the window {:g} to {:g}".format(*reading.window)
    under = f" on {reading.background}" if any(form.alpha for form in forms) else ""
    color = "RGB" if reading.color == "rgb" else "gray"
    notes = [f"{_images(len(images))} read as {color} in 0..1{through}{under}: {_forms(forms)}"]
    if reading.window is None and (range_used := _range_used(images)):
        notes.append(range_used)
    if turned := sum(image.turned for image in images):
        notes.append(f"{_images(turned)} turned upright, as EXIF says")
    if previews := sum(image.previews > 0 for image in images):
        notes.append(f"{_images(previews)} with previews beside the picture, which are not read")
    if unread := sum(image.unread > 0 for image in images):
        notes.append(f"{_images(unread)} with channels beside color and alpha, which are not read")
    return tuple(notes)


def _forms(forms: Counter[PixelForm]) -> str:
    if len(forms) == 1:
        return next(iter(forms)).words()
    shown = forms.most_common(_SHOWN)
    listed = [f"{count:,} of {form.words()}" for form, count in shown]
    rest = forms.total() - sum(count for _, count in shown)
    return ", ".join([*listed, f"{rest:,} of other forms"] if rest else listed)


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"


def _range_used(images: Sequence[ShownImage]) -> str:
    """Say it where even the brightest of the deep images uses less than a quarter of its range: 12 bits in 16, say."""
    used = [image.brightest for image in images if image.brightest is not None]
    if not used or max(largest / white for largest, white in used) >= 0.25:
        return ""
    largest, white = max(used)
    return f"no number is above {largest:,} of {white:,}: `window: [0, {largest}]` would use the whole range"
