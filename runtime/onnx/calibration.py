"""Measure the range of every activation on calibration rows."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from titrant.runtime.catalog import Context
from titrant.runtime.engines import onnxruntime_engine
from titrant.runtime.engines.inputs import checked, fixed_batch
from titrant.runtime.onnx.quiet import quiet
from titrant.runtime.values import Rows
from titrant.schema.diagnostics import Diagnostic, PreconditionError

if TYPE_CHECKING:
    from titrant.runtime.operators.quantize_ort_static import OrtStaticParams


def ranges(graph: Path, rows: Rows, params: "OrtStaticParams", context: Context) -> Any:
    """Return onnxruntime's TensorsData: activation → range.

    The calibrator's own session takes every core; it is replaced by one with the step's threads. Batches are handed
    over one at a time, since the calibrator keeps all that it has been handed.
    """
    from onnxruntime.quantization import CalibrationMethod, create_calibrator

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    options = {"percentile": params.percentile} if params.calibration == "percentile" else {}
    augmented = context.scratch / "augmented.onnx"
    with quiet(context.scratch):
        calibrator = create_calibrator(
            graph,
            augmented_model_path=str(augmented),
            calibrate_method=methods[params.calibration],
            extra_options=options,
        )
    calibrator.infer_session = session = onnxruntime_engine.load(augmented, threads=context.threads, optimized="off")
    total = min(len(rows), params.rows)
    done = 0
    for batch in batches(rows, onnxruntime_engine.specs(session), params):
        with quiet(context.scratch):
            calibrator.collect_data(Reader([batch]))
        done += len(next(iter(batch.values())))
        context.progress(min(done, total), total, "calibrating")
    with quiet(context.scratch):
        found = calibrator.compute_data()
    augmented.unlink()
    return found


def batches(rows: Rows, specs: Any, params: "OrtStaticParams") -> Iterator[dict[str, np.ndarray]]:
    """Yield up to `params.rows` rows; a file with a fixed batch size gets whole batches of that size only.

    Raises PreconditionError X217 when there are no rows, or fewer than one such batch.
    """
    size = fixed_batch(specs) or params.batch_size
    total = min(len(rows), params.rows)
    if total == 0 or (fixed_batch(specs) and total < size):
        raise PreconditionError(
            Diagnostic(
                "X217",
                f"{total} calibration rows do not fill a batch of {size if fixed_batch(specs) else 1}",
                help="give the role calibration more rows in data.split",
            )
        )
    end = total - total % size if fixed_batch(specs) else total
    for start in range(0, end, size):
        part = slice(start, min(start + size, end))
        yield checked(specs, {name: array[part] for name, array in rows.inputs.items()})


class Reader:
    """Hand batches to a calibrator, which takes whatever has `get_next`."""

    def __init__(self, batches: list[dict[str, np.ndarray]]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next batch, or None after the last."""
        return next(self._batches, None)
