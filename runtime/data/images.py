"""Read a folder of images: a subfolder is a class, a flat folder has no labels."""

from pathlib import Path

import numpy as np

from titrant.schema.diagnostics import Diagnostic, StepError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")


def read_images(path: str, *, label: str | None, resize: bool) -> dict[str, np.ndarray]:
    """Read images as `image` (rows, 3, height, width) float32 in 0..1 and, from class folders, their names as text.

    `label` is the column to give the class names; None leaves them out. Files are taken in the order of their names.
    With a resize transform to follow, images may differ in size: then `image` is an object array of (3, height,
    width). Raises StepError X107.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise StepError(Diagnostic("X107", f"there is no folder {path}", help="check `image_folder`"))
    flat = _images_in(folder)
    classes = [child for child in sorted(folder.iterdir()) if child.is_dir() and not child.name.startswith(".")]
    by_class = [(child.name, file) for child in classes for file in sorted(child.rglob("*")) if _is_image(file)]
    if flat and by_class:
        raise StepError(
            Diagnostic(
                "X107",
                f"{folder.name} has {len(flat)} images beside its class folders",
                help="move them into a class folder, or out of the folder",
            )
        )
    files = flat or [file for _, file in by_class]
    if not files:
        raise StepError(Diagnostic("X107", f"{folder.name} has no images", help=f"titrant reads {', '.join(SUFFIXES)}"))
    columns = {"image": _stacked([_decode(file) for file in files], files, resize)}
    if by_class and label is not None:
        columns[label] = np.array([name for name, _ in by_class], dtype=str)
    return columns


def _images_in(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.iterdir()) if _is_image(file)]


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def _decode(file: Path) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB"), dtype=np.uint8)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise StepError(
            Diagnostic("X107", f"{file.parent.name}/{file.name} cannot be decoded: {error}", help="take the file out")
        ) from None
    return pixels.transpose(2, 0, 1)


def _stacked(images: list[np.ndarray], files: list[Path], resize: bool) -> np.ndarray:
    if all(image.shape == images[0].shape for image in images):
        stacked = np.empty((len(images), *images[0].shape), dtype=np.float32)
        for place, image in enumerate(images):
            np.divide(image, np.float32(255), out=stacked[place])
        return stacked
    if not resize:
        other = next(place for place, image in enumerate(images) if image.shape != images[0].shape)
        raise StepError(
            Diagnostic(
                "X107",
                f"images differ in size: {files[0].name} is {_size(images[0])} and "
                f"{files[other].name} {_size(images[other])}",
                help="add a transform such as `- resize: {height: 224, width: 224}`",
            )
        )
    ragged = np.empty(len(images), dtype=object)
    for place, image in enumerate(images):
        ragged[place] = image.astype(np.float32) / np.float32(255)
    return ragged


def _size(image: np.ndarray) -> str:
    return f"{image.shape[2]} x {image.shape[1]}"
