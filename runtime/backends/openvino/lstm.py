"""Quantize LSTMs as OpenVINO's int8 kernel reads them, which is not as NNCF writes them.

The kernel has one scale and one zero point for inputs and hidden states, and one scale for a row of both matrices; it
takes those of the inputs and of their matrix, and reads the scales of the forget gate for the input gate, and back
(OpenVINO 2026.4, `ConvertFqRnnToQuantizedRnn` and `rnn.cpp`). NNCF 3.4 gives each its own: 0 to 28 dB of signal to
noise, where these give 33 to 55.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from titrant.runtime.backends.openvino import library

if TYPE_CHECKING:
    import openvino

KIND = "LSTMSequence"
# Places of what an LSTMSequence takes: inputs, the state before the first step, both matrices.
_INPUTS, _STATE, _MATRIX, _RECURRENT_MATRIX = 0, 1, 4, 5
_GATES, _LEVELS = 4, 256
# Shares of the batches, from below and above, that `mean_no_outliers` leaves out, as NNCF does.
_OUTLIERS = 0.01


@dataclass(frozen=True)
class LstmRange:
    """The largest magnitudes that an LSTM took, in each column (inputs,), and that its hidden state had."""

    inputs: np.ndarray
    state: float


def lstms(graph: "openvino.Model") -> dict[str, Any]:
    """Return the LSTMs of a graph whose matrices are constants of fp32, by name."""
    return {
        operation.get_friendly_name(): operation
        for operation in graph.get_ordered_ops()
        if operation.get_type_name() == KIND
        and all(_is_constant(operation.input_value(place)) for place in (_MATRIX, _RECURRENT_MATRIX))
    }


def _is_constant(value: Any) -> bool:
    return value.get_node().get_type_name() == "Constant" and value.get_element_type().get_type_name() == "f32"


def lstm_ranges(
    graph: "openvino.Model",
    batches: Iterable[Mapping[str, np.ndarray]],
    names: Collection[str],
    *,
    estimator: str,
    threads: int,
) -> dict[str, LstmRange]:
    """Run a graph over batches, and return what each named LSTM took and answered.

    `estimator` is OpenvinoPtqParams' `range_estimator`, and holds for what it took: hidden states are never clipped.
    """
    import openvino.opset13 as operations

    seen = graph.clone()
    nodes = lstms(seen)
    largest = []
    for name in names:
        node = nodes[name]
        for value, axes in ((node.input_value(_INPUTS), 2), (node.input_value(_STATE), 3), (node.output(0), 4)):
            reduced = operations.reduce_max(operations.absolute(value), np.arange(axes))
            largest.append(operations.result(reduced))
    run = library.compiled(
        library.openvino.Model(largest, seen.get_parameters()), KIND, precision="f32", threads=threads
    )
    answers = [[value.copy() for value in run(dict(feed)).values()] for feed in batches]
    ranges = {}
    for place, name in enumerate(names):
        inputs, *states = (np.stack([answer[3 * place + each] for answer in answers]) for each in range(3))
        ranges[name] = LstmRange(_estimated(inputs, estimator), float(np.max(states)) or 1.0)
    return ranges


def _estimated(largest: np.ndarray, estimator: str) -> np.ndarray:
    """Choose one number a column of what every batch held at most: (batches, columns) → (columns,).

    A column of zeros gets the range of the others: nothing is known of it.
    """
    if estimator == "minmax":
        chosen = largest.max(axis=0)
    elif estimator == "median":
        chosen = np.median(largest, axis=0)
    else:
        within = np.ones_like(largest, bool)
        if estimator == "mean_no_outliers":
            lowest, highest = np.quantile(largest, (_OUTLIERS, 1 - _OUTLIERS), axis=0)
            within = (largest >= lowest) & (largest <= highest)
        chosen = largest.mean(axis=0, where=within)
    return np.where(chosen > 0, chosen, chosen.max() or 1.0).astype(np.float32)


def quantize_lstms(graph: "openvino.Model", ranges: Mapping[str, LstmRange], *, largest_weight: int) -> None:
    """Quantize named LSTMs in place, to weights of -largest_weight..largest_weight.

    Each column of the inputs is scaled to the range of the hidden state, and its column of their matrix back. A row of
    both matrices has one scale, and so have the forget and the input gate.
    """
    import openvino.opset13 as operations

    for name, node in lstms(graph).items():
        if name not in ranges:
            continue
        own = ranges[name]
        matrices = [node.input_value(place).get_node().get_data() for place in (_MATRIX, _RECURRENT_MATRIX)]
        matrices[0] = matrices[0] * (own.inputs / own.state)
        scales = _scales(*matrices) / largest_weight
        for place, matrix in zip((_MATRIX, _RECURRENT_MATRIX), matrices, strict=True):
            whole = operations.constant(np.round(matrix / scales).astype(np.int8))
            scaled = operations.multiply(operations.convert(whole, "f32"), operations.constant(scales))
            scaled.set_friendly_name(f"{name}/fq_weights_{place}")
            node.input(place).replace_source_output(scaled.output(0))
        gains = operations.constant((own.state / own.inputs).astype(np.float32))
        level = operations.multiply(node.input_value(_INPUTS), gains)
        level.set_friendly_name(f"{name}/fq_level")
        for place, value in ((_INPUTS, level.output(0)), (_STATE, node.input_value(_STATE))):
            if value.get_node().get_type_name() != "Constant":  # a state of zeros for a fixed batch the kernel rounds
                limits = [operations.constant(np.float32(limit)) for limit in _limits(own.state) * 2]
                rounded = operations.fake_quantize(value, *limits, _LEVELS)
                rounded.set_friendly_name(f"{name}/fq_input_{place}")
                node.input(place).replace_source_output(rounded.output(0))
    graph.validate_nodes_and_infer_types()


def _limits(largest: float) -> tuple[float, float]:
    """Return the lowest and highest of 256 levels, one of which is 0: the state before the first step."""
    return -largest * (_LEVELS // 2) / (_LEVELS // 2 - 1), largest


def _scales(matrix: np.ndarray, recurrent: np.ndarray) -> np.ndarray:
    """Return the largest magnitude of each row, twice (directions, rows, …) → (directions, rows, 1)."""
    rows = np.maximum(np.abs(matrix).max(axis=-1), np.abs(recurrent).max(axis=-1))
    gates = rows.reshape(rows.shape[0], _GATES, -1)  # forget, input, candidate, output
    gates[:, :2] = gates[:, :2].max(axis=1, keepdims=True)
    scales = gates.reshape(rows.shape)
    return np.where(scales > 0, scales, 1.0).astype(np.float32)[..., None]  # rows of zeros have any
