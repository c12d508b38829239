"""Build int8 graphs of one model that leave some of its layers in float, from ranges that are measured once."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import onnx  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.calibration import RangeRule, ranges, unbounded
from titrant.runtime.backends.onnxruntime.compact.compact import compact
from titrant.runtime.backends.onnxruntime.graph import (
    WEIGHTED,
    has_branches,
    is_recurrent,
    mend_order,
    pooled,
    products_first,
    weighted_nodes,
    write,
)
from titrant.runtime.backends.onnxruntime.left_float import guard, left_nodes, part
from titrant.runtime.backends.onnxruntime.normalize import restore_names
from titrant.runtime.backends.onnxruntime.session import load
from titrant.runtime.backends.onnxruntime.titration.int8_limits import quantizable, scaled_as_one, widen_ranges
from titrant.runtime.backends.onnxruntime.tools import apply_tool, prepared, quiet
from titrant.runtime.catalog import Context
from titrant.runtime.values import OnnxModel
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    from titrant.runtime.values import Rows


@dataclass(frozen=True)
class Int8:
    """The number formats of a graph in int8, and how the ranges of its activations are found."""

    per_channel: bool
    reduce_range: bool
    activation_type: Literal["uint8", "int8"]
    weight_type: Literal["int8", "uint8"]
    ranges: RangeRule


class Mixtures:
    """The int8 graphs of one model: `graph` is what they are made of, folded, in the form that the tools take.

    Raises PreconditionError X210 for a graph with nothing to quantize, X217 without rows; StepError X211 where the
    tools fail on it, and as `prepared` does.
    """

    def __init__(self, model: OnnxModel, rows: "Rows", int8: Int8, context: Context) -> None:
        self._int8 = int8
        self._scratch = context.scratch
        self.graph, self._names = prepared(model.path, context.scratch)
        stateful = model if is_recurrent(self.graph) else None
        if not weighted_nodes(self.graph):
            raise PreconditionError(
                Diagnostic(
                    "X210",
                    "the graph has no convolution and no matrix product with constant fp32 weights",
                    help="use quantization.method none",
                )
            )
        file = context.scratch / "prepared.onnx"
        onnx.save(pooled(self.graph), str(file))
        self.ranges = apply_tool(
            "static",
            (),
            lambda _: ranges(file, rows, self._names, int8.ranges, context, answering=stateful),
            sees_rows=True,
        )
        file.unlink()
        widen_ranges(self.graph, self.ranges)
        endless = {*unbounded(self.graph, self.ranges)}
        self.quantizable = tuple(node for node in quantizable(self.graph, _operators()) if node not in endless)

    def file(self, leave: Collection[str], name: str = "model.onnx") -> "tuple[OnnxModel, int]":
        """Write the graph with some of the original's layers in float, and all else in int8; load it once.

        Returns it, and how many nodes have int8 weights.
        """
        written = self.built(self.without(leave), name)
        load(written.path, threads=1)  # proves that it can be loaded
        return written, int8_products(onnx.load(str(written.path), load_external_data=False))

    def without(self, leave: Collection[str]) -> list[str]:
        """Name the nodes that have int8 kernels, but for those of some of the original's layers."""
        left = left_nodes(self.graph, leave)
        return [node for node in self.quantizable if node not in left]

    def built(self, nodes: Collection[str], name: str = "model.onnx") -> OnnxModel:
        """Write the graph with these nodes in int8, and all else in float; it is not loaded."""
        result = self.quantized(nodes)
        guard(result)
        restore_names(result, self._names)
        compact(result)
        return write(result, self._scratch / name)

    def quantized(self, nodes: Collection[str]) -> onnx.ModelProto:
        """Return the tool's graph with these nodes in int8, under this graph's names, without guards."""
        asked = set(nodes)
        chosen = [node for node in self.quantizable if node in asked]
        return apply_tool(
            "static", chosen, lambda some: _with_int8(self.graph, some, self.ranges, self._int8, self._scratch)
        )

    def fed(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Return arrays by the names of the file's inputs under those of `graph`."""
        return {value.name: arrays[self._names.of(value.name)] for value in self.graph.graph.input}


def _operators() -> list[str]:
    """List the operators that stand between quantize and dequantize nodes."""
    from onnxruntime.quantization.registry import QDQRegistry

    return sorted({*QDQRegistry, "GlobalAveragePool"})


def _with_int8(
    graph: onnx.ModelProto, nodes: Sequence[str], ranges_by_tensor: Any, int8: Int8, scratch: Path
) -> onnx.ModelProto:
    from onnxruntime.quantization import QDQQuantizer, QuantType

    types = {"int8": QuantType.QInt8, "uint8": QuantType.QUInt8}
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    part(copy, nodes)
    as_one = {"quant_type": types[int8.weight_type], "reduce_range": int8.reduce_range}
    with quiet(scratch):
        quantizer = QDQQuantizer(
            products_first(copy),
            per_channel=int8.per_channel,
            reduce_range=int8.reduce_range,
            weight_qType=types[int8.weight_type],
            activation_qType=types[int8.activation_type],
            tensors_range=ranges_by_tensor,
            nodes_to_quantize=list(nodes),
            nodes_to_exclude=[],
            op_types_to_quantize=_operators(),
            extra_options={
                "TensorQuantOverrides": {name: [as_one] for name in scaled_as_one(graph)},
                # Else a Relu is left to the quantized value, and a branch that reads it gets what was before it.
                "QDQKeepRemovableActivations": has_branches(graph),
            },
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    result: onnx.ModelProto = mend_order(quantizer.model.model)
    return result


def int8_products(graph: onnx.ModelProto) -> int:
    """Count the convolutions and matrix products whose weights come out of a DequantizeLinear of a constant."""
    constants = {tensor.name for tensor in graph.graph.initializer}
    weights = {
        node.output[0] for node in graph.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in constants
    }
    return sum(
        node.op_type in WEIGHTED and len(node.input) > 1 and node.input[1] in weights for node in graph.graph.node
    )
