"""A plot or probe of the user's own: what its function is given, and what of its answer a report can show."""

import base64
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from titrant.runtime.instruments.plots.clean_svg import clean_svg, svg_size
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

if TYPE_CHECKING:
    import numpy as np

# What a picture may have: every report that shows it holds it.
MOST_BYTES = 1 << 20
MOST_NUMBERS = 200
_PNG = b"\x89PNG\r\n\x1a\n"
_TAKEN = (
    "return a titrant picture, a matplotlib figure, the text of an SVG, the bytes of a PNG, or a mapping of numbers"
)


@dataclass(frozen=True)
class PlotCases:
    """What one model answers, which a plot or probe of the user's own is called with; arrays are read-only.

    `subject` is "original" or the id of a candidate. `inputs` are what it was given, name → (cases, …), `outputs` what
    it answered, name → (cases, …) float32. `labels` are (cases,) int64 indices into `classes`, or None; `targets` are
    labels that are no classes (numbers, masks, boxes), or None. `module` is the torch module where the model is one.
    """

    subject: str
    inputs: "Mapping[str, np.ndarray]"
    outputs: "Mapping[str, np.ndarray]"
    labels: "np.ndarray | None" = None
    targets: "np.ndarray | None" = None
    classes: tuple[str, ...] = ()
    module: Any = None

    def __len__(self) -> int:
        return min(map(len, self.outputs.values()), default=0)


@dataclass(frozen=True)
class OwnPlot:
    """What a function of the user's gave: a picture as text (`svg`) or in base64 (`png`), or numbers by name.

    `width` and `height` are pixels of the picture. `failed` says why there is neither.
    """

    function: str
    title: str
    svg: str = ""
    png: str = ""
    numbers: Mapping[str, float | None] = field(default_factory=dict)
    width: float = 0
    height: float = 0
    failed: str = ""


def drawn(function: str, title: str, answer: Any) -> OwnPlot:
    """Take what a function returned; StepError X693 for what a report cannot show, or that is too large."""
    if isinstance(answer, Mapping):
        return OwnPlot(function, title, numbers=_numbers(answer))
    picture = _picture(answer)
    if isinstance(picture, str):
        if len(picture.encode()) > MOST_BYTES:
            raise _refused(f"it draws an SVG of {len(picture.encode()):,} bytes, and {MOST_BYTES:,} can be shown")
        try:
            svg = clean_svg(picture)
        except ValueError as error:
            raise _refused(f"it draws an SVG that cannot be shown: {error}") from None
        width, height = svg_size(svg)
        return OwnPlot(function, title, svg=svg, width=width, height=height)
    if isinstance(picture, (bytes, bytearray)) and bytes(picture[:8]) == _PNG and len(picture) >= 24:
        if len(picture) > MOST_BYTES:
            raise _refused(f"it draws a PNG of {len(picture):,} bytes, and {MOST_BYTES:,} can be shown")
        width, height = (int.from_bytes(picture[at : at + 4], "big") for at in (16, 20))
        return OwnPlot(function, title, png=base64.b64encode(picture).decode(), width=width or 1, height=height or 1)
    raise _refused(f"it returns a {type(answer).__name__}, which a report cannot show")


def _picture(answer: Any) -> Any:
    """Return what an answer draws itself as: figures of matplotlib and whatever a notebook shows as SVG or PNG."""
    figure = getattr(answer, "figure", None)
    figure = answer if hasattr(answer, "savefig") else figure if hasattr(figure, "savefig") else None
    if figure is not None:
        written = io.BytesIO()
        figure.savefig(written, format="svg", metadata={"Date": None})
        return written.getvalue().decode()
    for name in ("_repr_svg_", "_repr_png_"):
        if hasattr(answer, name):
            return getattr(answer, name)()
    return answer


def _numbers(answer: Mapping[Any, Any]) -> dict[str, float | None]:
    """Return a probe's numbers; those that are not finite are None, as JSON has them."""
    if len(answer) > MOST_NUMBERS:
        raise _refused(f"it returns {len(answer):,} numbers, and {MOST_NUMBERS} can be shown")
    numbers = {}
    for name, value in answer.items():
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise _refused(f"it returns a {type(value).__name__} under {str(name)!r}, and no number") from None
        numbers[str(name)] = number if math.isfinite(number) else None
    return numbers


def _refused(why: str) -> StepError:
    return StepError(Diagnostic("X693", why, help=_TAKEN))
