"""Decode an image file with Pillow, at the bit depth that it has: its numbers, upright, with their alpha."""

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from titrant.runtime.data.images.stored import ImageRefusedError, PixelForm, StoredImage
from titrant.runtime.user_code import said_by
from titrant.schema.values.text import os_reason

# What is opened, whatever a file is called: Pillow knows formats that start other programs.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

_ORIENTATION = 0x0112  # of EXIF
# TIFF tags.
_SUBFILE, _BITS, _PHOTOMETRIC, _SAMPLES, _PLANES, _SAMPLE_FORMAT = 254, 258, 262, 277, 284, 339
_WHITE_IS_ZERO, _REDUCED, _MASK, _SEPARATE = 0, 1, 4, 2
# Modes of one channel whose numbers are whole.
_NUMBERS = ("1", "L", "P", "I", "I;16", "I;16B")
# Formats whose further pictures no viewer shows beside the first: a phone's preview or depth map.
_WITH_PREVIEWS = ("MPO",)

# Pillow decodes color of 16 bits to 8: the upper byte. Under the name of the other byte order it gives the lower one.
_DEEP = ("RGB;16", "RGBA;16", "RGBX;16", "RGBa;16", "CMYK;16")
_ORDERS: Mapping[str, str] = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
_GRAY_ALPHA = "LA;16B"


def decode(file: Path) -> StoredImage:
    """Read an image file; ImageRefusedError X107 where it cannot be decoded, X114 where it holds several pictures."""
    with _reasons(), _opened(file) as image:
        previews = _previews(image)
        deep = _deep_order(image)
        unread = _first(_tags(image), _SAMPLES, 0) - len(image.getbands())
        turned = image.getexif().get(_ORIENTATION, 1) in range(2, 9)
        if deep is not None:
            stored = _deep(file, image, deep)
        elif image.format == "PPM" and (white := _large_maxval(image)):
            stored = _netpbm(file, image, white)
        else:
            tags = _tags(image)
            image.load()
            upright = ImageOps.exif_transpose(image)
            assert upright is not None
            stored = _shallow(upright, tags)
        return replace(stored, turned=turned, previews=previews, unread=max(0, unread))


def decode_numbers(file: Path) -> np.ndarray:
    """Read the numbers of an image of one channel as they are stored, (height, width): a palette's by their places.

    One that lies on its side is turned upright, as images are. Raises ImageRefusedError X107 where it cannot be
    decoded, X607 where it holds colors, or was compressed with loss.
    """
    with _reasons(), _opened(file) as image:
        _previews(image)
        mode, lossy = image.mode, image.format == "JPEG"
        upright = ImageOps.exif_transpose(image) if mode in _NUMBERS else None
        numbers = None if upright is None else np.asarray(upright)
    if lossy:
        raise ImageRefusedError("X607", "is a JPEG, which changes the numbers of pixels", "save masks as PNG or TIFF")
    if numbers is None:
        advice = "save masks as gray or palette images whose numbers are the classes"
        raise ImageRefusedError("X607", f"holds colors ({mode}), and a class is a number", advice)
    return numbers.astype(np.uint8) if numbers.dtype == bool else numbers


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    """Open an image by its content; through a stream, since Pillow maps a named TIFF that lies on its side wrongly."""
    with file.open("rb") as stream, Image.open(stream, formats=FORMATS) as image:
        yield image


@contextmanager
def _reasons() -> Iterator[None]:
    """Turn what Pillow raises into a reason that tells nothing of the file's content."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote what a file holds, and go to whoever reads the screen
            yield
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        why = "it is damaged or cut short"
        if isinstance(error, UnidentifiedImageError):
            why = "it is no image that Pillow knows"
        elif isinstance(error, Image.DecompressionBombError):
            why = "it has more pixels than Pillow decodes"
        elif isinstance(error, OSError) and error.errno is not None:
            why = os_reason(error)
        raise ImageRefusedError("X107", f"cannot be decoded: {why}", "take the file out", said_by(error)) from None


def _previews(image: Image.Image) -> int:
    """Count the pictures beside the one that viewers show; ImageRefusedError X114 where there are several to show."""
    frames = int(getattr(image, "n_frames", 1))
    if frames == 1 or image.format in _WITH_PREVIEWS:
        return frames - 1
    whole = frames
    if image.format == "TIFF":
        kinds = []
        for frame in range(frames):
            image.seek(frame)
            kinds.append(int(getattr(image, "tag_v2", {}).get(_SUBFILE, 0)))
        image.seek(0)
        whole = sum(not kind & (_REDUCED | _MASK) for kind in kinds)
        if whole == 1 and not kinds[0] & (_REDUCED | _MASK):
            return frames - 1
    what = "pages" if image.format == "TIFF" else "frames"
    raise ImageRefusedError(
        "X114",
        f"holds {whole} {what}, and a row is one image",
        f"save each of the {what} that are cases as a file of its own, or stack them in a data factory",
    )


def _tags(image: Image.Image) -> Mapping[int, Any]:
    return dict(getattr(image, "tag_v2", {})) if image.format == "TIFF" else {}


def _upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Turn and mirror (height, width, …) as EXIF's orientation 1 to 8 says; others are none."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return values


def _shallow(image: Image.Image, tags: Mapping[int, Any]) -> StoredImage:
    """Read what Pillow holds without loss: up to 8 bits a channel, or one channel of any depth."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _gray(image, tags)
    if _first(tags, _SAMPLE_FORMAT, 1) == 2:
        return StoredImage(np.asarray(image).view(np.int8)[..., None], None, PixelForm(8, "signed", "gray"))
    transparent = image.has_transparency_data
    palette = image.mode in ("P", "PA")
    gray = image.mode in ("1", "L", "LA", "La")
    color = "palette" if palette else "gray" if gray else image.mode if image.mode == "CMYK" else "RGB"
    form = PixelForm(1 if image.mode == "1" else 8, "whole", color, transparent)
    mode = ("LA" if transparent else "L") if gray else ("RGBA" if transparent else "RGB")
    try:
        # "La" has its gray multiplied by alpha, and Pillow takes that apart on the way to "LA".
        planes = np.asarray(image if image.mode == mode else image.convert(mode))
    except ValueError:
        raise ImageRefusedError(
            "X107", f"cannot be decoded: its color is {image.mode}", "save it as RGB, in PNG or TIFF"
        ) from None
    planes = planes[..., None] if planes.ndim == 2 else planes
    if not transparent:
        return StoredImage(planes, 255, form)
    return StoredImage(planes[..., :-1], 255, form, planes[..., -1].astype(np.float32) / np.float32(255))


def _first(tags: Mapping[int, Any], tag: int, default: int) -> int:
    value = tags.get(tag, default)
    return int(value[0] if isinstance(value, tuple) else value)


def _gray(image: Image.Image, tags: Mapping[int, Any]) -> StoredImage:
    """Read one channel of more than 8 bits; only unsigned numbers of up to 16 bits have a range of their own."""
    values = np.asarray(image)[..., None]
    bits = _first(tags, _BITS, 16 if image.mode.startswith("I;16") else 32)
    inverted = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    if image.mode == "F":
        return StoredImage(values, None, PixelForm(bits, "float", "gray"), inverted=inverted)
    if image.mode == "I":
        signed = _first(tags, _SAMPLE_FORMAT, 1) == 2
        values = values if signed or bits < 32 else values.view(np.uint32)
        form = PixelForm(bits, "signed" if signed else "whole", "gray")
        return StoredImage(values, None, form, inverted=inverted)
    white = 2**bits - 1
    values = values.astype(np.uint16)
    clear = image.info.get("transparency")
    alpha = (values[..., 0] != clear).astype(np.float32) if isinstance(clear, int) else None
    return StoredImage(values, white, PixelForm(bits, "whole", "gray", alpha is not None), alpha, inverted=inverted)


def _deep_order(image: Image.Image) -> str | None:
    """Return the raw mode of a color image of 16 bits a channel, None for others."""
    tiles = getattr(image, "tile", ())
    names = {_raw_mode(tile) for tile in tiles}
    if image.format == "TIFF" and len(image.getbands()) > 1 and _first(_tags(image), _BITS, 8) > 8:
        deep = len(names) == 1 and next(iter(names))[:-1] in _DEEP and _tags(image).get(_PLANES) != _SEPARATE
        if not deep:
            raise ImageRefusedError(
                "X107",
                f"cannot be decoded: Pillow would read its {_first(_tags(image), _BITS, 8)} bits a channel as 8",
                "save it as PNG of 16 bits, or as TIFF with interleaved channels",
            )
    name = next(iter(names), "")
    return name if name == _GRAY_ALPHA or name[:-1] in _DEEP else None


def _raw_mode(tile: Any) -> str:
    args = tile.args[0] if isinstance(tile.args, tuple) and tile.args else tile.args
    return args if isinstance(args, str) else ""


def _deep(file: Path, image: Image.Image, raw: str) -> StoredImage:
    """Read color of 16 bits a channel: the upper bytes, then the lower ones."""
    clear = image.info.get("transparency")
    if raw == _GRAY_ALPHA:
        bytes_, orientation = _planes(file, "RGBA")
        upper, lower = bytes_[..., ::2], bytes_[..., 1::2]
    else:
        plain = raw.replace("RGBa", "RGBA")  # as it is stored: Pillow would divide by alpha, byte by byte
        upper, orientation = _planes(file, plain)
        lower, _ = _planes(file, plain[:-1] + _ORDERS[plain[-1]])
    values = _upright(upper.astype(np.uint16) << np.uint16(8) | lower, orientation)
    if raw.startswith("CMYK"):
        ink = values.astype(np.float32) / np.float32(65535)
        paper = (1 - ink[..., :3]) * (1 - ink[..., 3:])
        return StoredImage(paper, 1, PixelForm(16, "whole", "CMYK"))
    colors = 1 if raw == _GRAY_ALPHA else 3
    alpha = values[..., colors].astype(np.float32) / np.float32(65535) if values.shape[2] > colors else None
    if isinstance(clear, tuple):
        alpha = (values[..., :3] != np.array(clear)).any(axis=2).astype(np.float32)
    form = PixelForm(16, "whole", "gray" if colors == 1 else "RGB", alpha is not None)
    return StoredImage(values[..., :colors], 65535, form, alpha, raw.startswith("RGBa"))


def _planes(file: Path, raw: str) -> tuple[np.ndarray, int]:
    """Decode the bytes that a raw mode names, and the orientation that is still to apply."""
    with _opened(file) as image:
        tiles: Any = image
        tiles.tile = [
            tile._replace(args=raw if isinstance(tile.args, str) else (raw, *tile.args[1:])) for tile in tiles.tile
        ]
        image.load()
        return np.asarray(image).copy(), int(image.getexif().get(_ORIENTATION, 1))


def _large_maxval(image: Image.Image) -> int:
    """Return the largest number that a PPM or PGM says it may hold, where that is above 255; else 0."""
    tile = next(iter(getattr(image, "tile", ())))
    args = tile.args if isinstance(tile.args, tuple) else (tile.args,)
    if args[0] == "I;16B":
        return 65535
    return int(args[1]) if tile.codec_name in ("ppm", "ppm_plain") and args[1] > 255 else 0


def _netpbm(file: Path, image: Image.Image, white: int) -> StoredImage:
    """Read a PPM or PGM of more than 8 bits, which are two bytes a number, the upper one first."""
    tile = next(iter(getattr(image, "tile", ())))
    if tile.codec_name == "ppm_plain":
        raise ImageRefusedError("X107", "is a PPM in plain text of more than 8 bits", "save it as PNG of 16 bits")
    channels = 3 if image.mode == "RGB" else 1
    count = image.width * image.height * channels
    if file.stat().st_size < tile.offset + 2 * count:
        raise ImageRefusedError("X107", "cannot be decoded: it is damaged or cut short", "take the file out")
    values = np.fromfile(file, dtype=">u2", count=count, offset=tile.offset).astype(np.uint16)
    form = PixelForm(white.bit_length(), "whole", "RGB" if channels == 3 else "gray")
    return StoredImage(values.reshape(image.height, image.width, channels).clip(0, white), white, form)
