"""Read the pixels of a DICOM file, with nothing of whom they show: the image's own attributes are all that is read."""

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from titrant.runtime.data.images.stored import ImageRefusedError, PixelForm, StoredImage
from titrant.runtime.user_code import said_by
from titrant.schema.values.text import os_reason

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SUFFIXES = (".dcm", ".dicom", ".ima")

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# Group 0028 describes pixels; no attribute of a patient, study or institution is among these.
_ATTRIBUTES = (
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept",
    "ModalityLUTSequence", "WindowCenter", "WindowWidth", "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor", "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData", "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData", *_PIXELS,
)  # fmt: skip

# What brings a decoder for each way of packing pixels that pydicom and Pillow do not read by themselves.
_DECODERS: Mapping[str, str] = {
    "1.2.840.10008.1.2.4.50": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.51": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.57": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.70": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.91": "pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.201": "pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.202": "pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg pylibjpeg-openjpeg",
}
_NOT_READ = ("HSV", "ARGB", "CMYK", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "XYB")
# What pydicom raises at a file that is not as the standard has it.
_DAMAGE = (
    EOFError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError, struct.error,
    zlib.error,
)  # fmt: skip
_COLOR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


def is_dicom(file: Path) -> bool:
    """Tell a DICOM file by its suffix, or, where it has none that says something, by its first 132 bytes."""
    if file.suffix.lower() in SUFFIXES:
        return True
    try:
        with file.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def decode_dicom(file: Path) -> StoredImage:
    """Read a DICOM image; ImageRefusedError X107 (not readable), X114 (several frames) or X115 (no decoder)."""
    data = _dataset(file)
    frames = int(data.get("NumberOfFrames") or 1)
    if frames > 1:
        raise ImageRefusedError(
            "X114",
            f"holds {frames} frames, and a row is one image",
            "save each frame that is a case as a file of its own, or stack them in a data factory",
        )
    photometric = str(data.get("PhotometricInterpretation", ""))
    with _quiet():
        try:
            pixels = _pixels(data)
            if photometric == "PALETTE COLOR":
                return _palette(data, pixels)
            if photometric in _COLOR:
                bits = int(data.BitsStored)
                return StoredImage(pixels, 2**bits - 1, PixelForm(bits, "whole", "RGB", container="DICOM"))
            if photometric in ("MONOCHROME1", "MONOCHROME2"):
                return _gray(data, pixels, inverted=photometric == "MONOCHROME1")
        except (OSError, *_DAMAGE) as error:
            why = "cannot be decoded: its pixels are damaged, cut short, or not as it describes them"
            raise ImageRefusedError("X107", why, "take the file out", said_by(error)) from None
    color = photometric if photometric in _NOT_READ else "none that is known"
    raise ImageRefusedError(
        "X107", f"cannot be decoded: its photometric interpretation is {color}", "convert it, or take it out"
    )


def _dataset(file: Path) -> "Dataset":
    try:
        import pydicom
        from pydicom.errors import InvalidDicomError
    except ImportError:
        raise ImageRefusedError("X115", "is DICOM, which needs pydicom", "pip install 'titrant[dicom]'") from None
    with _quiet():
        try:
            return pydicom.dcmread(file, specific_tags=list(_ATTRIBUTES))
        except InvalidDicomError as error:
            raise ImageRefusedError(
                "X107", "cannot be decoded: it is no DICOM file", "take the file out", said_by(error)
            ) from None
        except OSError as error:
            why = os_reason(error) if error.errno is not None else "it is damaged or cut short"
            raise ImageRefusedError("X107", f"cannot be decoded: {why}", "take the file out", said_by(error)) from None
        except _DAMAGE as error:
            why = "cannot be decoded: it is damaged or cut short"
            raise ImageRefusedError("X107", why, "take the file out", said_by(error)) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence pydicom's warnings, which it also logs: they quote what stands in the file."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _pixels(data: "Dataset") -> np.ndarray:
    """Return (height, width, 1 or 3) numbers as stored, without bits that belong to something else."""
    from pydicom.pixels import get_decoder

    syntax = data.file_meta.TransferSyntaxUID
    if not syntax.is_transfer_syntax or not any(name in data for name in _PIXELS):
        raise ImageRefusedError("X107", "cannot be decoded: it is cut short, or holds no image", "take the file out")
    try:
        ready = get_decoder(syntax).is_available
    except NotImplementedError:
        ready = False
    if not ready:
        packages = _DECODERS.get(str(syntax))
        advice = f"pip install {packages}" if packages else "convert it to an uncompressed transfer syntax"
        raise ImageRefusedError("X115", f"is packed as {syntax.name}, and no decoder for that is installed", advice)
    stored = int(data.get("BitsStored") or 0)
    if stored and int(data.get("HighBit", stored - 1)) != stored - 1:
        why = f"cannot be decoded: its {stored} bits do not begin at the lowest one"
        raise ImageRefusedError("X107", why, "convert it: the standard retired this")
    # Bits above those stored, where old files keep overlays, are cleared by pydicom.
    pixels: np.ndarray = data.pixel_array
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _palette(data: "Dataset", pixels: np.ndarray) -> StoredImage:
    from pydicom.pixels import apply_color_lut

    colors = apply_color_lut(pixels[..., 0], data)[..., :3]
    bits = colors.dtype.itemsize * 8
    return StoredImage(colors, 2**bits - 1, PixelForm(bits, "whole", "palette", container="DICOM"))


def _gray(data: "Dataset", pixels: np.ndarray, *, inverted: bool) -> StoredImage:
    """Rescale gray; numbers that are neither signed nor rescaled fill the range of their bits."""
    from pydicom.pixels import apply_modality_lut

    numbers = "float" if pixels.dtype.kind == "f" else "signed" if pixels.dtype.kind == "i" else "whole"
    bits = int(data.get("BitsStored", pixels.dtype.itemsize * 8))
    form = PixelForm(bits, numbers, "gray", container="DICOM")
    table = bool(data.get("ModalityLUTSequence"))
    slope, intercept = _first_number(data.get("RescaleSlope")), _first_number(data.get("RescaleIntercept"))
    slope, intercept = 1.0 if slope is None else slope, 0.0 if intercept is None else intercept
    rescaled = table or (slope, intercept) != (1.0, 0.0)
    white = 2**bits - 1 if numbers == "whole" and not rescaled else None
    if table:
        values = apply_modality_lut(pixels, data)
    else:
        values = pixels.astype(np.float64) * slope + intercept if rescaled else pixels
    return StoredImage(np.asarray(values), white, form, inverted=inverted, suggested=_window(data))


def _window(data: "Dataset") -> tuple[float, float] | None:
    """Return the first window that the file names, as its ends."""
    center, width = _first_number(data.get("WindowCenter")), _first_number(data.get("WindowWidth"))
    return None if center is None or not width else (center - width / 2, center + width / 2)


def _first_number(value: Any) -> float | None:
    if value is None or value == "":
        return None
    return float(value[0] if hasattr(value, "__getitem__") and not isinstance(value, str) else value)
