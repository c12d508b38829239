"""What an image file holds, and how its numbers become pixels in 0..1: bit depth, window, inversion, alpha, color."""

from collections.abc import Mapping

import numpy as np

from titrant.runtime.values import ImageReading
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.frozen import dataclass

# ITU-R BT.601: how bright each of red, green and blue is to the eye.
LUMA = (0.299, 0.587, 0.114)
NAMED_COLORS: Mapping[str, tuple[int, int, int]] = {"white": (255, 255, 255), "black": (0, 0, 0), "gray": (128,) * 3}
CHANNELS: Mapping[str, int] = {"rgb": 3, "gray": 1}


@dataclass(frozen=True)
class PixelForm:
    """How an image is stored: what the plan counts images by."""

    bits: int  # of a number as it is stored, such as 12 of a 12-bit image in two bytes
    numbers: str  # whole, signed, float
    color: str  # gray, RGB, palette, CMYK
    alpha: bool = False
    container: str = ""  # DICOM, where it is one

    def words(self) -> str:
        """Say it, as `16 bits gray`."""
        numbers = {"whole": "", "signed": " signed", "float": " float"}[self.numbers]
        alpha = " with alpha" if self.alpha else ""
        inside = f" ({self.container})" if self.container else ""
        return f"{self.bits} {'bit' if self.bits == 1 else 'bits'}{numbers} {self.color}{alpha}{inside}"


@dataclass(frozen=True)
class StoredImage:
    """The numbers of one image, upright.

    `values`: (height, width, 1 or 3), as stored, of DICOM after its rescaling. `white` is the number that is shown
    white, None where the file does not say. `alpha`: (height, width) float32 in 0..1, or None. `inverted` shows low
    numbers bright. `suggested` is the window that the file itself names.
    """

    values: np.ndarray
    white: int | None
    form: PixelForm
    alpha: np.ndarray | None = None
    premultiplied: bool = False
    inverted: bool = False
    turned: bool = False
    previews: int = 0  # further pictures that viewers do not show, such as a thumbnail
    unread: int = 0  # channels beside color and alpha, of which the file does not say what they are
    suggested: tuple[float, float] | None = None


@dataclass(frozen=True)
class ShownImage:
    """An image as the model is given it, before it is divided: `pixels / white` is in 0..1.

    `pixels`: (1 or 3, height, width) uint8, uint16 or float32; one channel stands for three equal ones.
    """

    pixels: np.ndarray
    white: int
    form: PixelForm
    brightest: tuple[int, int] | None = None  # of more than 8 bits: the largest stored number, and the one for white
    turned: bool = False
    previews: int = 0
    unread: int = 0


def seen(stored: StoredImage, reading: ImageReading) -> ShownImage:
    """Bring an image to 0..1 in the wanted color; ImageRefusedError X113 (its range), X116 (a window on color)."""
    values, white = _ranged(stored, reading)
    if stored.inverted:
        values = white - values if white == 1 else (white - values).astype(values.dtype)
    if stored.alpha is not None:
        values, white = _composed(values, white, stored, reading.background), 1
    if reading.color == "gray" and values.shape[2] == 3:
        luma = values.astype(np.float32) / np.float32(white) @ np.array(LUMA, dtype=np.float32)
        values, white = luma[..., None].clip(0, 1), 1
    pixels = np.ascontiguousarray(values.transpose(2, 0, 1))
    deep = stored.white is not None and stored.white > 255
    brightest = (int(stored.values.max()), stored.white or 0) if deep else None
    return ShownImage(pixels, white, stored.form, brightest, stored.turned, stored.previews, stored.unread)


def scaled(image: ShownImage, channels: int) -> np.ndarray:
    """Return (channels, height, width) float32 in 0..1."""
    pixels = np.empty((channels, *image.pixels.shape[1:]), dtype=np.float32)
    return np.divide(image.pixels, np.float32(image.white), out=pixels)


class ImageRefusedError(Exception):
    """An image that is not read, with what to say of it: the reason goes after its name, `help` mends it."""

    def __init__(self, code: str, why: str, help: str, said: str = "") -> None:
        super().__init__(why)
        self.code, self.why, self.help, self.said = code, why, help, said

    def error(self, name: str) -> StepError:
        """Make the error that names the image."""
        return StepError(Diagnostic(self.code, f"{name} {self.why}", help=self.help, said=self.said))


def _ranged(stored: StoredImage, reading: ImageReading) -> tuple[np.ndarray, int]:
    """Return numbers and the one that is white: through the recipe's window, or by what the file says."""
    values, window = stored.values, reading.window
    if window is not None:
        if values.shape[2] == 3:
            raise ImageRefusedError(
                "X116",
                f"has color ({stored.form.words()}), and `window` is a range of gray",
                "take `window` out, or these images",
            )
        low, high = window
        through = (values.astype(np.float64) - low) / (high - low)
        _refuse_gaps(through)
        return through.clip(0, 1).astype(np.float32), 1
    if stored.white is not None:
        return values, stored.white
    _refuse_gaps(values)
    low, high = float(values.min()), float(values.max())
    if stored.form.numbers == "float" and not stored.form.container and low >= 0 and high <= 1:
        return values.astype(np.float32), 1
    own = "" if stored.suggested is None else f"; the file itself suggests [{_pair(stored.suggested)}]"
    raise ImageRefusedError(
        "X113",
        f"holds {stored.form.words()} from {low:,.6g} to {high:,.6g}, and nothing says which number is black and "
        "which is white",
        f"write `image_folder: {{path: …, window: [{_pair(stored.suggested or (low, high))}]}}`, with the range that "
        f"the model was trained on{own}",
    )


def _pair(numbers: tuple[float, float]) -> str:
    return ", ".join(f"{number:.6g}" for number in numbers)


def _refuse_gaps(values: np.ndarray) -> None:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ImageRefusedError(
            "X113", "has pixels that are NaN or infinite", "mend these pixels, or take the file out"
        )


def _composed(values: np.ndarray, white: int, stored: StoredImage, background: str) -> np.ndarray:
    """Lay an image over the background, in float32."""
    assert stored.alpha is not None
    alpha = stored.alpha[..., None]
    under = np.array(background_color(background), dtype=np.float32)
    color = values.astype(np.float32) / np.float32(white)
    if color.shape[2] == 1:
        # A gray background leaves a gray image gray; any other makes it three equal channels first.
        under = under[:1] if len(set(under.tolist())) == 1 else under
        color = np.broadcast_to(color, (*color.shape[:2], len(under)))
    ink = color if stored.premultiplied else color * alpha
    over: np.ndarray = (ink + under * (np.float32(1) - alpha)).clip(0, 1)
    return over.astype(np.float32)


def background_color(text: str) -> tuple[float, float, float]:
    """Read `white`, `black`, `gray` or `#rrggbb` as red, green and blue in 0..1."""
    red, green, blue = NAMED_COLORS.get(text) or (int(text[place : place + 2], 16) for place in (1, 3, 5))
    return red / 255, green / 255, blue / 255
