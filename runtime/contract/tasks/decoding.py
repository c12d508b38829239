"""Turn a detector's raw outputs into boxes with the user's own function, and refuse what is none."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from titrant.runtime.contract.tasks.boxes import BOX_NUMBERS, FILLING
from titrant.runtime.user_code import call, resolve
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

# So many cases are decoded twice: what is random is refused.
TWICE = 8
# The surest boxes of a case that are kept; COCO looks at 100 of each class.
MOST_BOXES = 300
# What rounding may add to a score.
_ROUNDING = 1e-3
# From this share of inverted boxes on, they are taken for corners and sizes.
_INVERTED = 0.5
# A case that takes longer is said to.
SLOW_SECONDS = 0.02

Boxes = np.ndarray


def decode_rows(
    reference: str,
    arrays: Mapping[str, np.ndarray],
    size: tuple[int, int] | None,
    progress: Callable[[float, float], None] | None = None,
    *,
    twice: int = TWICE,
) -> tuple[np.ndarray, float]:
    """Return the boxes of all rows, (rows, most of a row, 6) float32, and the seconds that a row took.

    `arrays` are raw outputs (rows, …), `size` the (height, width) of the images, at whose edges boxes are cut. The
    function gets one case, output name → (…), and answers boxes (N, 4), scores (N), labels (N): left, top, right,
    bottom in pixels, scores in 0..1, and class numbers; the 300 surest are kept. The first cases are decoded `twice`.
    Raises StepError X108 where the user's code raises, X648 for an answer that is no boxes, X649 for one that changes
    from call to call.
    """
    function = resolve(reference)
    rows = len(next(iter(arrays.values())))
    decoded: list[Boxes] = []
    start = time.perf_counter()
    for row in range(rows):
        boxes = _decoded(reference, function, arrays, row)
        if row < twice and not np.array_equal(boxes, _decoded(reference, function, arrays, row)):
            message = f"{reference} gave other boxes when it was called again with the same outputs"
            raise StepError(Diagnostic("X649", message, help="let it draw nothing at random, and keep nothing"))
        decoded.append(boxes)
        if progress is not None:
            progress(row + 1, rows)
    seconds = (time.perf_counter() - start) / max(rows + min(rows, twice), 1)
    return _padded(decoded, size), seconds


def _decoded(reference: str, function: Callable[..., Any], arrays: Mapping[str, np.ndarray], row: int) -> Boxes:
    # What the function writes into its arguments stays its own.
    case = {name: values[row].copy() for name, values in arrays.items()}
    answer = call(f"{reference}(outputs)", function, case)
    try:
        boxes, scores, labels = (np.asarray(part, dtype=np.float64) for part in answer)
    except (TypeError, ValueError):
        raise _no_boxes(reference, f"a {type(answer).__name__}") from None
    count = len(scores) if scores.ndim else -1
    if boxes.size == 0 and count == 0:
        boxes = boxes.reshape(0, 4)
    if boxes.shape != (count, 4) or scores.shape != (count,) or labels.shape != (count,):
        raise _no_boxes(reference, f"the shapes {boxes.shape}, {scores.shape} and {labels.shape}")
    if not all(np.isfinite(part).all() for part in (boxes, scores, labels)):
        raise _no_boxes(reference, "numbers that are not finite")
    if count and (scores.min() < -_ROUNDING or scores.max() > 1 + _ROUNDING):
        raise _no_boxes(reference, f"scores from {scores.min():.3g} to {scores.max():.3g}, and they are from 0 to 1")
    if (labels != np.rint(labels)).any() or (labels < 0).any():
        raise _no_boxes(reference, "labels that are no class numbers, 0 and up")
    inverted = (boxes[:, 2] < boxes[:, 0]) | (boxes[:, 3] < boxes[:, 1])
    if inverted.mean() > _INVERTED if count else False:
        what = f"{int(inverted.sum())} of {count} boxes that end before they begin: left, top, right, bottom is asked"
        raise _no_boxes(reference, what)
    sure = np.argsort(-scores, kind="stable")[:MOST_BOXES]
    return np.concatenate([boxes, np.clip(scores, 0, 1)[:, None], labels[:, None]], axis=1)[sure]


def _padded(decoded: list[Boxes], size: tuple[int, int] | None) -> np.ndarray:
    most = max((len(boxes) for boxes in decoded), default=0)
    padded = np.full((len(decoded), max(most, 1), BOX_NUMBERS), FILLING, np.float32)
    ends = None if size is None else np.array([size[1], size[0], size[1], size[0]])
    for row, boxes in enumerate(decoded):
        if ends is not None:
            boxes[:, :4] = np.clip(boxes[:, :4], 0, ends)
        # A box that ends before it begins has no area: it matches nothing, and is a false alarm.
        begin: np.ndarray = boxes[:, :2]
        end: np.ndarray = boxes[:, 2:4]
        boxes[:, 2:4] = np.maximum(end, begin)
        padded[row, : len(boxes)] = boxes
    return padded


def _no_boxes(reference: str, what: str) -> StepError:
    advice = (
        "return boxes (N, 4) as left, top, right, bottom in pixels, scores (N) in 0..1, and labels (N), of one case"
    )
    return StepError(Diagnostic("X648", f"{reference} gives {what}", help=advice))
