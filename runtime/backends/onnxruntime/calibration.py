"""Find the range of every activation of a graph on calibration rows, by onnxruntime's calibrators."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnx  # noqa: TID253 - its very subject
from onnxruntime.quantization.calibrate import HistogramCollector  # noqa: TID253 - its very subject

from titrant.runtime.catalog import Context
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import onnxruntime

    from titrant.runtime.backends.onnxruntime.normalize import Renamed
    from titrant.runtime.values import OnnxModel, Rows

# Cases of several steps that are calibrated on at least.
_LEAST_CASES = 16
# Ranges that are tried for the smallest error, from the whole down to a twentieth, and the steps of 8 bits.
_RANGES, _STEPS = 20, 255
# Values that stand for those of one part of a histogram.
_POINTS = 8


@dataclass(frozen=True)
class RangeRule:
    """How ranges are found: `method` is minmax, entropy, percentile or mse; how many rows, and how many at once."""

    method: str
    percentile: float
    rows: int
    batch_size: int


def ranges(
    graph: Path,
    rows: "Rows",
    names: "Renamed",
    rule: RangeRule,
    context: Context,
    *,
    answering: "OnnxModel | None" = None,
) -> Any:
    """Return onnxruntime's TensorsData: activation → range; `names` are those of the graph's inputs in the rows.

    `answering` is the file itself where it has recurrent state: its answers are fed to the steps that follow.

    The calibrator's own session takes every core; it is replaced by one with the step's threads. Batches are handed
    over one at a time, since the calibrator keeps all that it has been handed.
    """
    from onnxruntime.quantization import CalibrationMethod, create_calibrator

    from titrant.runtime.backends.onnxruntime import session as onnxruntime_session
    from titrant.runtime.backends.onnxruntime.tools import quiet

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
        # Of the same histograms as percentiles.
        "mse": CalibrationMethod.Percentile,
    }
    # By default percentiles are those of absolute values, which wastes half of the numbers behind a Relu.
    options = {"percentile": rule.percentile, "symmetric": False} if rule.method in ("percentile", "mse") else {}
    augmented = context.scratch / "augmented.onnx"
    with quiet(context.scratch):
        calibrator = create_calibrator(
            graph,
            augmented_model_path=str(augmented),
            calibrate_method=methods[rule.method],
            extra_options=options,
        )
    calibrator.infer_session = session = onnxruntime_session.load(augmented, threads=context.threads, optimized="off")
    if rule.method != "minmax":
        calibrator.collector = Histograms(calibrator, smallest_error=rule.method == "mse")
    total = min(len(rows), rule.rows)
    done = 0
    specs = onnxruntime_session.specs(session)
    named = [(names.of(name), shape, dtype) for name, shape, dtype in specs]
    for batch in batches(rows, named, rule) if answering is None else stepwise(answering, rows, named, rule):
        feed = dict(zip((name for name, _, _ in specs), batch.values(), strict=True))
        with quiet(context.scratch):
            calibrator.collect_data(BatchReader([feed]))
        done += len(next(iter(batch.values())))
        context.progress(min(done, total), total, "calibrating")
    with quiet(context.scratch):
        ranges_by_tensor = calibrator.compute_data()
    augmented.unlink()
    return ranges_by_tensor


def batches(rows: "Rows", specs: Any, rule: RangeRule) -> "Iterator[dict[str, np.ndarray]]":
    """Yield up to `rule.rows` rows; a file with a fixed batch size gets whole batches of that size only.

    Raises PreconditionError X217 when there are no rows, or fewer than one such batch.
    """
    from titrant.runtime.backends.session import checked, insisted_batch

    size = insisted_batch(specs) or rule.batch_size
    total = min(len(rows), rule.rows)
    if total == 0 or (insisted_batch(specs) and total < size):
        raise PreconditionError(
            Diagnostic(
                "X217",
                f"{total} calibration rows do not fill a batch of {size if insisted_batch(specs) else 1}",
                help="give the role calibration more rows in data.split",
            )
        )
    end = total - total % size if insisted_batch(specs) else total
    for start in range(0, end, size):
        part = slice(start, min(start + size, end))
        yield checked(specs, {name: array[part] for name, array in rows.inputs.items()})


def stepwise(model: "OnnxModel", rows: "Rows", specs: Any, rule: RangeRule) -> "Iterator[dict[str, np.ndarray]]":
    """Yield what each step of the first cases is given, state included: as many cases as `rows` has steps, 16 at least.

    Raises PreconditionError X217 when there are no rows.
    """
    from titrant.runtime.backends.onnxruntime.session import open_session
    from titrant.runtime.backends.recurrent import StatefulSession
    from titrant.runtime.backends.session import checked

    raw = open_session(model, threads=1)
    assert raw.recurrence is not None
    with StatefulSession(raw, raw.recurrence) as session:
        size = session.fixed_batch or rule.batch_size
        arrays = {name: array for name, array in rows.inputs.items() if name in session.input_names}
        steps = session.count({name: array[:1] for name, array in arrays.items()}) if len(rows) else 1
        total = min(len(rows), max(rule.rows // steps, _LEAST_CASES))
        total -= total % size if session.fixed_batch else 0
        if not total:
            message = f"{len(rows)} calibration rows do not fill a batch of {size if session.fixed_batch else 1}"
            raise PreconditionError(Diagnostic("X217", message, help="give the role calibration more rows"))
        for start in range(0, total, size):
            part = {name: array[start : min(start + size, total)] for name, array in arrays.items()}
            for given, _ in session.steps(part):
                yield checked(specs, given)


Feeds = Callable[[], "Iterator[Mapping[str, np.ndarray]]"]


def feeds_of(graph: onnx.ModelProto, names: "Renamed", model: "OnnxModel", rows: "Rows", rule: RangeRule) -> Feeds:
    """Return what gives a prepared graph's batches by the names of its inputs, as often as it is called.

    `model` is the file that the graph was made of. Raises PreconditionError X217 where there are no rows.
    """
    from titrant.runtime.backends.onnxruntime.graph import is_recurrent
    from titrant.runtime.backends.onnxruntime.session import load, specs

    taken = specs(load(model.path, threads=1))
    own = {names.of(value.name): value.name for value in graph.graph.input}

    def feeds() -> "Iterator[Mapping[str, np.ndarray]]":
        each = stepwise(model, rows, taken, rule) if is_recurrent(graph) else batches(rows, taken, rule)
        for feed in each:
            yield {own[name]: array for name, array in feed.items()}

    return feeds


class BatchReader:
    """Hand batches to a calibrator, which takes whatever has `get_next`."""

    def __init__(self, batches: "list[dict[str, np.ndarray]]") -> None:
        self._batches = iter(batches)

    def get_next(self) -> "dict[str, np.ndarray] | None":
        """Return the next batch, or None after the last."""
        return next(self._batches, None)


class Histograms(HistogramCollector):  # type: ignore[misc]
    """Count the finite values of every tensor in as many bins as at first, however far later batches reach.

    onnxruntime's own adds bins of the first batch's width, so that a batch of large values after one of small ones
    takes memory without bound.
    """

    def __init__(self, calibrator: Any, *, smallest_error: bool) -> None:
        super().__init__(
            method=calibrator.method,
            symmetric=calibrator.symmetric,
            num_bins=calibrator.num_bins,
            num_quantized_bins=calibrator.num_quantized_bins,
            percentile=calibrator.percentile,
            scenario=calibrator.scenario,
        )
        self._smallest_error = smallest_error
        self._infinite: set[str] = set()

    def collect(self, name_to_arr: dict[str, Any]) -> None:
        """Count the values of one batch."""
        finite = {}
        for name, arrays in name_to_arr.items():
            # Images hold millions of them: they are copied only where some are left out.
            values = np.ravel(arrays[0]) if len(arrays) == 1 else np.concatenate([np.ravel(array) for array in arrays])
            bounded = np.isfinite(values)
            if bounded.all():
                finite[name] = values
            else:
                finite[name] = values[bounded]
                self._infinite.add(name)
        super().collect(finite)

    def merge_histogram(self, old_histogram: Any, data_arr: Any, new_min: Any, new_max: Any, new_threshold: Any) -> Any:
        """Add values to a histogram; two bins become one until they fit."""
        counts, _, low, high, threshold = old_histogram
        if threshold == 0:  # all were zero, and lie in the bin that begins there
            threshold = new_threshold
        while new_threshold > threshold:
            halved = counts.reshape(-1, 2).sum(1)
            counts = np.pad(halved, len(halved) // 2)
            threshold = threshold * 2
        added, edges = np.histogram(data_arr, len(counts), range=(-threshold, threshold))
        return counts + added, edges, min(low, new_min), max(high, new_max), threshold

    def compute_collection_result(self) -> Any:
        """Return {tensor: (low, high, counts, edges)}; infinite where a tensor held infinite values."""
        ranges_by_tensor = self._least_errors() if self._smallest_error else super().compute_collection_result()
        endless = (np.float32(-np.inf), np.float32(np.inf))
        return {
            name: (*endless, *parts[2:]) if name in self._infinite else parts
            for name, parts in ranges_by_tensor.items()
        }

    def _least_errors(self) -> dict[str, Any]:
        return {
            name: (*least_error(counts, edges, low, high), counts, edges)
            for name, (counts, edges, low, high, _) in self.histogram_dict.items()
        }


def least_error(counts: np.ndarray, edges: np.ndarray, low: float, high: float) -> tuple[np.float32, np.float32]:
    """Return the range whose rounding to 8 bits has the least mean squared error: 20 parts of each side are tried.

    The longer side first, then the other. Values are taken to be spread evenly over their part of the histogram, and
    are rounded to steps that hit zero: the ends fall between two of them, where half of the values may stand, as behind
    a shifted ReLU. Zero is always written as it is.
    """
    ends = [min(float(low), 0.0), max(float(high), 0.0)]
    filled = np.flatnonzero(counts)
    filled = filled[filled != len(counts) // 2]
    weights = counts[filled].astype(np.float64) / _POINTS
    places = (np.arange(_POINTS) + 0.5) / _POINTS
    values = edges[filled, None] + (edges[filled + 1] - edges[filled])[:, None] * places
    for end in (low, high):  # which many values may be: where it stands is known
        values[(edges[filled] <= end) & (end <= edges[filled + 1])] = end

    def lost(below: float, above: float) -> float:
        step = (above - below) / _STEPS
        if not step:
            return 0.0
        rounded = np.clip(np.round(values / step), np.round(below / step), np.round(above / step)) * step
        return float(weights @ ((rounded - values) ** 2).sum(axis=1))

    for side in sorted((0, 1), key=lambda place: -abs(ends[place])):
        tried = [[*ends[:side], ends[side] * part / _RANGES, *ends[side + 1 :]] for part in range(_RANGES, 0, -1)]
        ends = min(tried, key=lambda each: lost(*each))
    return np.float32(ends[0]), np.float32(ends[1])


def unbounded(model: onnx.ModelProto, ranges_by_tensor: Any) -> Iterable[str]:
    """Name the nodes that read or write what had infinite values, such as a mask: no scale fits those."""
    endless = {name for name, held in ranges_by_tensor.items() if not np.isfinite(held.range_value).all()}
    floats = [tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    endless |= {tensor.name for tensor in floats if not np.isfinite(onnx.numpy_helper.to_array(tensor)).all()}
    return [node.name for node in model.graph.node if endless.intersection((*node.input, *node.output))]


def session_giving(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    context: Context,
    *,
    optimized: Literal["all", "off"] = "all",
) -> "onnxruntime.InferenceSession":
    """Return a session of a graph that gives some of its tensors, in this order, in place of its outputs."""
    from titrant.runtime.backends.onnxruntime.session import load

    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    del asked.graph.output[:]
    asked.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in tensors)
    file = context.scratch / "giving.onnx"
    onnx.save(asked, str(file))
    session = load(file, threads=context.threads, optimized=optimized)
    file.unlink()
    return session
