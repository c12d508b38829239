"""Quantize OpenVINO graphs with NNCF: quietly, with a set number of threads, and layers left alone by name."""

import contextlib
import io
import logging
import traceback
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nncf

from titrant.runtime.backends.openvino import group_size, library
from titrant.runtime.backends.openvino.lstm import lstm_ranges, lstms, quantize_lstms
from titrant.runtime.backends.openvino.names import free, layers_of, telling_weights
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError, StepError
from titrant.schema.values.text import first_line

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import openvino

# Operations whose constant operand is weights, and the place of that operand.
WEIGHTED: Mapping[str, int] = {
    "Convolution": 1, "GroupConvolution": 1, "ConvolutionBackpropData": 1, "GroupConvolutionBackpropData": 1,
    "MatMul": 1, "Gather": 0, "LSTMSequence": 4, "GRUSequence": 3, "RNNSequence": 3,
}  # fmt: skip
_LEAST_DIMENSIONS, _FOUR = 2, 4
# The largest of symmetric whole numbers.
_SEVEN_BITS, _EIGHT_BITS = 63, 127
# What NNCF gives 4 bits; of the rest it keeps 8.
_IN_FOUR_BITS = ("MatMul", "Gather")
_FEW_BITS = ("i8", "u8", "i4", "u4")


@contextlib.contextmanager
def quiet(threads: int) -> Iterator[None]:
    """Silence prints, bars, warnings and log lines, and let NNCF's own sessions use so many threads.

    None of that can be configured: it prints its progress, and compiles with every core.
    """
    core, level = library.openvino.Core, logging.root.manager.disable

    def limited() -> Any:
        made = core()
        made.set_property(library.DEVICE, {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1})
        return made

    logging.disable(max(level, logging.ERROR))
    library.openvino.Core = limited
    try:
        nowhere = io.StringIO()
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        library.openvino.Core = core
        logging.disable(level)


def weighted(graph: "openvino.Model") -> dict[str, tuple[int, ...]]:
    """Return the shape of the constant fp32 weights of each operation that has some, by its name."""
    shapes = {}
    for operation in graph.get_ordered_ops():
        place = WEIGHTED.get(operation.get_type_name())
        if place is None or operation.get_input_size() <= place:
            continue
        source = operation.input_value(place)
        is_constant = source.get_node().get_type_name() == "Constant"
        if is_constant and source.get_element_type().get_type_name() == "f32":
            shape = tuple(source.get_shape())
            if len(shape) >= _LEAST_DIMENSIONS:
                shapes[operation.get_friendly_name()] = shape
    return shapes


def packed(graph: "openvino.Model") -> dict[str, int]:
    """Count the constants of weights in few bits, by their type: i8, u8, i4, u4."""
    counts: Counter[str] = Counter()
    for operation in graph.get_ordered_ops():
        source = operation.input_value(0).get_node() if operation.get_type_name() == "Convert" else None
        if source is None or source.get_type_name() != "Constant":
            continue
        kind = source.get_element_type().get_type_name()
        # A zero point is what is subtracted; weights are what it is subtracted from, or what is scaled.
        read_first = any(port.get_index() == 0 for port in operation.output(0).get_target_inputs())
        if kind in _FEW_BITS and read_first and len(source.get_output_shape(0)) >= _LEAST_DIMENSIONS:
            counts[kind] += 1
    return dict(counts)


def left_alone(graph: "openvino.Model", source: "onnx.ModelProto", leave: Collection[str]) -> tuple[str, ...]:
    """Return the operations that compute the layers to leave; `source` is the file that a graph is made of.

    Raises StepError X251 for a layer that none computes.
    """
    computed = layers_of(weighted(graph), leave, telling_weights(source))
    missing = [layer for layer in leave if layer not in computed.values()]
    if missing:
        message = f"the graph has no operation with weights that computes {', '.join(missing)}"
        raise StepError(Diagnostic("X251", message, help="leave it out of quantization.skip: it stays in fp32 anyway"))
    return tuple(computed)


def quantized(
    graph: "openvino.Model",
    batches: "Sequence[Mapping[str, np.ndarray]]",
    options: Mapping[str, Any],
    *,
    left: Collection[str],
    threads: int,
) -> "openvino.Model":
    """Return the graph with weights and activations in int8, ranges from the batches; `options` are OpenvinoPtqParams'.

    The operations `left` stay as they are. NNCF takes all others but LSTMs, quantized as their kernel reads them.
    Raises PreconditionError X210 where there is nothing to quantize, StepError X252 where NNCF fails.
    """
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    estimators = {
        "minmax": RangeEstimatorParametersSet.MINMAX,
        "mean_minmax": RangeEstimatorParametersSet.MEAN_MINMAX,
        "mean_no_outliers": RangeEstimatorParametersSet.MEAN_NO_OUTLIERS_MINMAX,
        "median": RangeEstimatorParametersSet.MEDIAN_MINMAX,
    }
    presets = {"performance": nncf.QuantizationPreset.PERFORMANCE, "mixed": nncf.QuantizationPreset.MIXED}
    _keep_ranks(graph)
    own = [name for name in lstms(graph) if name not in left]
    estimator = options["range_estimator"]
    ranges = lstm_ranges(graph, batches, own, estimator=estimator, threads=threads) if own else {}
    made = _applied(
        lambda: nncf.quantize(
            graph,
            nncf.Dataset(list(batches)),
            subset_size=len(batches),
            preset=presets[options["preset"]],
            target_device=nncf.TargetDevice.CPU,
            fast_bias_correction=options["fast_bias_correction"],
            model_type=nncf.ModelType.TRANSFORMER if options["transformer"] else None,
            ignored_scope=_scope({*left, *own}, graph),
            advanced_parameters=AdvancedQuantizationParameters(
                overflow_fix=OverflowFix(options["overflow_fix"]),
                activations_range_estimator_params=estimators[estimator],
            ),
        ),
        graph,
        threads,
        sees_rows=True,
    )
    quantize_lstms(made, ranges, largest_weight=_SEVEN_BITS if options["overflow_fix"] == "enable" else _EIGHT_BITS)
    return made


def _keep_ranks(graph: "openvino.Model") -> None:
    """Take one place of an answer, as x[:, -1] does, in two steps: a slice of one, which then loses its dimension.

    As OpenVINO 2026.4 compiles int8 it moves the scales of x behind the one step, with the dimension that is gone
    there: the answer gets a dimension more, and the batch stands in another.
    """
    import openvino.opset8

    there = {operation.get_friendly_name() for operation in graph.get_ordered_ops()}
    for taking in graph.get_ordered_ops():
        if taking.get_type_name() != "Gather":
            continue
        data, places, axis = taking.input_values()
        constants = [value.get_node() for value in (places, axis)]
        if any(node.get_type_name() != "Constant" for node in constants) or places.get_partial_shape().rank != 0:
            continue
        name, names = taking.get_friendly_name(), taking.output(0).get_names()
        single = openvino.opset8.constant(constants[0].get_data().reshape(1))
        row = openvino.opset8.gather(data, single, axis)
        squeezed = openvino.opset8.squeeze(row, axis)
        taking.output(0).replace(squeezed.output(0))
        row.set_friendly_name(free(f"{name}/row", there))
        squeezed.set_friendly_name(name)
        squeezed.output(0).get_tensor().set_names(names)
    graph.validate_nodes_and_infer_types()


def _part(graph: "openvino.Model", left: Collection[str]) -> None:
    """Give the operations to leave copies of weights that they share with others: NNCF rounds a constant for all."""
    import openvino.opset8

    names = set(left)
    copies: dict[str, openvino.Node] = {}
    there = {operation.get_friendly_name() for operation in graph.get_ordered_ops()}
    for operation in graph.get_ordered_ops():
        for port in operation.inputs() if operation.get_friendly_name() in names else ():
            weights = port.get_source_output()
            constant, of = weights.get_node(), weights.get_node().get_friendly_name()
            readers = {reader.get_node().get_friendly_name() for reader in weights.get_target_inputs()}
            if of in copies or (
                constant.get_type_name() == "Constant" and len(weights.get_shape()) and readers - names
            ):
                if of not in copies:
                    copies[of] = openvino.opset8.constant(constant.get_data())
                    copies[of].set_friendly_name(free(f"{of}/own", there))
                port.replace_source_output(copies[of].output(0))
    graph.validate_nodes_and_infer_types()


def compressed(
    graph: "openvino.Model", options: Mapping[str, Any], *, left: Collection[str], threads: int
) -> "openvino.Model":
    """Return the graph with weights alone in 8 or 4 bits; `options` are OpenvinoWeightsParams'.

    The operations `left` stay as they are.
    Raises PreconditionError X210 where there is nothing to compress, StepError X252 where NNCF fails.
    """
    _part(graph, left)
    symmetric = options["symmetric"]
    eight = nncf.CompressWeightsMode.INT8_SYM if symmetric else nncf.CompressWeightsMode.INT8_ASYM
    four = nncf.CompressWeightsMode.INT4_SYM if symmetric else nncf.CompressWeightsMode.INT4_ASYM
    names = set(left)
    lengths = sum_lengths(graph) if options["bits"] == _FOUR else {}
    groups = {name: group_size(length, options["group_size"]) for name, length in lengths.items() if name not in names}

    def make() -> "openvino.Model":
        made = graph
        # A call takes one size for all; what another call is for is left to it.
        for size in sorted(set(groups.values())):
            others = {name for name, other in groups.items() if other != size}
            made = nncf.compress_weights(
                made, mode=four, group_size=size, all_layers=True, ignored_scope=_scope(names | others, made),
                backup_mode=nncf.BackupMode.INT8_SYM if symmetric else nncf.BackupMode.INT8_ASYM,
            )  # fmt: skip
        return made if groups else nncf.compress_weights(made, mode=eight, ignored_scope=_scope(names, made))

    return _applied(make, graph, threads)


def sum_lengths(graph: "openvino.Model") -> dict[str, int]:
    """Return how many weights are summed up, or looked up as a row, by each matrix product and table."""
    shapes = weighted(graph)
    lengths = {}
    for operation in graph.get_ordered_ops():
        name, kind = operation.get_friendly_name(), operation.get_type_name()
        if name in shapes and kind in _IN_FOUR_BITS:
            by_rows = kind == "Gather" or operation.get_attributes()["transpose_b"]
            lengths[name] = shapes[name][-1 if by_rows else -2]
    return lengths


def _scope(names: Collection[str], graph: "openvino.Model") -> Any:
    """Let NNCF ignore operations of a graph: it refuses a name of none."""
    there = {operation.get_friendly_name() for operation in graph.get_ordered_ops()}
    kept = sorted(there.intersection(names))
    return nncf.IgnoredScope(names=kept) if kept else None


# Operations that hold graphs of their own.
_WITH_GRAPHS_INSIDE = {"If", "Loop", "TensorIterator"}


def _applied(make: Any, graph: "openvino.Model", threads: int, *, sees_rows: bool = False) -> Any:
    if not weighted(graph):
        message = "the graph has no convolution and no matrix product with constant fp32 weights"
        raise PreconditionError(Diagnostic("X210", message, help="use quantization.method none"))
    try:
        with quiet(threads):
            return make()
    except _failures() as error:
        # What NNCF itself says names no values of rows; what it calls may.
        is_own = not sees_rows or type(error).__module__.partition(".")[0] == nncf.__name__
        why = first_line(error) if is_own else f"{type(error).__name__} in {_raising_file(error)}"
        inner = sorted({operation.get_type_name() for operation in graph.get_ordered_ops()} & _WITH_GRAPHS_INSIDE)
        advice = "leave the layer out by quantization.skip, or use another method"
        if inner:
            advice = f"the graph holds {' and '.join(inner)}, which NNCF may not follow: use a method of onnxruntime"
        said = "" if is_own else first_line(error)
        raise StepError(
            Diagnostic("X252", f"NNCF cannot quantize this graph: {why}", help=advice, said=said)
        ) from error


def _raising_file(error: BaseException) -> str:
    """Return the innermost file of NNCF's that an error came through, and its line."""
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if "nncf" in Path(frame.filename).parts]
    if not places:
        return nncf.__name__
    path = Path(places[-1].filename)
    return f"{Path(*path.parts[path.parts.index('nncf') :]).as_posix()}:{places[-1].lineno}"


def _failures() -> tuple[type[Exception], ...]:
    own = [value for value in vars(nncf.errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    return (*own, RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError)
