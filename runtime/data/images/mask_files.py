"""Read the masks that lie in a folder beside images: a file of the same name for each, whose numbers are classes."""

from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

import numpy as np

from titrant.runtime.data.images.decode import decode_numbers
from titrant.runtime.data.images.folder import list_images
from titrant.runtime.data.images.stored import ImageRefusedError
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.units import counted


def read_masks(
    folder: Path, images: Sequence[PurePath], sizes: Sequence[tuple[int, int]], named: Callable[[int], str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the mask of each image, and notes: (rows, height, width) of whole numbers, or an object array of float32.

    `images` are their paths within their folder, of which a mask has the same but for its ending, and `sizes` their
    (height, width); `named` names an image by its place. Of several sizes the masks are arrays of their own. Raises
    StepError X607 where an image has no mask or several, or a mask is not of its image's size or holds colors, and X107
    for one that cannot be decoded.
    """
    files: dict[PurePath, list[Path]] = {}
    for file in list_images(folder).files:
        files.setdefault(file.relative_to(folder).with_suffix(""), []).append(file)
    stems = [image.with_suffix("") for image in images]
    _check_pairs(folder, stems, files, named)
    masks = []
    for place, (stem, size) in enumerate(zip(stems, sizes, strict=True)):
        mask = f"the mask of {named(place)}, in the order of the files' names,"
        try:
            numbers = decode_numbers(files[stem][0])
        except ImageRefusedError as refused:
            raise refused.error(mask) from None
        if numbers.shape != size:
            shown = f"{numbers.shape[1]} x {numbers.shape[0]}, and its image is {size[1]} x {size[0]}"
            raise _unlike(f"{mask} is {shown}", "a mask has a number for each pixel of its image")
        masks.append(numbers)
    more = len(files) - len(stems)
    notes = (f"{counted(more, 'mask')} of no image passed over",) if more else ()
    if len({mask.shape for mask in masks}) == 1:
        return np.stack(masks), notes
    ragged = np.empty(len(masks), dtype=object)
    ragged[:] = [mask.astype(np.float32) for mask in masks]
    return ragged, notes


def _check_pairs(
    folder: Path, stems: Sequence[PurePath], files: dict[PurePath, list[Path]], named: Callable[[int], str]
) -> None:
    without = [place for place, stem in enumerate(stems) if stem not in files]
    if without:
        which = f"{len(without):,} of {counted(len(stems), 'image')}"
        verb = "has" if len(without) == 1 else "have"
        message = f"{which} {verb} no mask in {folder.name}, {named(without[0])} first"
        raise _unlike(message, "a mask is called as its image, but for the ending: scan_7.png for scan_7.jpg")
    if len(set(stems)) < len(stems):
        twice = next(place for place, stem in enumerate(stems) if stem in stems[:place])
        raise _unlike(
            f"{named(twice)} is called as another one, but for the ending, and a mask could be of either",
            "give every image a name of its own",
        )
    several = next((place for place, stem in enumerate(stems) if len(files[stem]) > 1), None)
    if several is not None:
        message = f"{named(several)} has {len(files[stems[several]])} masks in {folder.name}"
        raise _unlike(message, "one mask holds all classes of an image, each by its number")


def _unlike(message: str, advice: str) -> StepError:
    return StepError(Diagnostic("X607", message, help=advice))
