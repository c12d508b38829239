"""Compute what int8 changes in the tensors of a graph in float, each by what is rounded right before it.

Between tensors that are taken as they are in float, all that the engine rounds is rounded: weights, biases and other
constants, and the answers of the nodes in between. At such a tensor itself, its own rounding is told apart.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx  # noqa: TID253 - its very subject
from onnx import helper, numpy_helper  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.graph import subgraphs
from titrant.runtime.backends.onnxruntime.session import load
from titrant.schema.values.frozen import dataclass

# What the tool appends to the name of an answer of the graph where it rounds it.
_ANSWER = "_QuantizeLinear_Input"
_ROUNDED, _UNPACKED, _SHADOW = "_rounded_to_int8", "_rounded", "_with_rounded_constants"


@dataclass(frozen=True)
class Points:
    """What is rounded where a graph is quantized: tensors, by scale and zero point, and constants, as they come out.

    `constants` are those that nodes then read in the place of the graph's own.
    """

    tensors: Mapping[str, tuple[np.ndarray, np.ndarray]]
    constants: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, graph: onnx.ModelProto, quantized: onnx.ModelProto) -> "Points":
        """Read them out of the quantized graph."""
        held = {tensor.name: tensor for tensor in quantized.graph.initializer}
        given = {tensor.name: tensor for tensor in graph.graph.initializer}
        makers = {node.output[0]: node for node in quantized.graph.node}
        nodes = {node.name: node for node in graph.graph.node}
        tensors, constants = {}, {}
        for node in quantized.graph.node:
            if node.op_type == "QuantizeLinear":
                scale, zero = (numpy_helper.to_array(held[name]) for name in node.input[1:])
                tensors[node.input[0].removesuffix(_ANSWER)] = (scale, zero)
            original = nodes.get(node.name)
            for name, own in zip(node.input, original.input, strict=False) if original is not None else ():
                unpacking = makers.get(name)
                if own in given and unpacking is not None and unpacking.input[0] in held:
                    constants[own] = _unpacked(unpacking, held).astype(np.float32)
        return cls(tensors, constants)


def _unpacked(node: onnx.NodeProto, held: Mapping[str, onnx.TensorProto]) -> np.ndarray:
    values, scale, *zero = (numpy_helper.to_array(held[name]) for name in node.input)
    axis = next((item.i for item in node.attribute if item.name == "axis"), 1)
    shape = [1] * values.ndim
    if scale.size > 1:
        shape[axis] = -1
    shift = zero[0].astype(np.int64).reshape(shape) if zero else 0
    unpacked: np.ndarray = (values.astype(np.int64) - shift) * scale.reshape(shape)
    return unpacked


class Roundings:
    """Computes the changes at some tensors of a graph, batch by batch.

    `before` are the tensors whose change by constants and by tensors that are not `kept` is known, `own` those that are
    rounded themselves.
    """

    def __init__(self, graph: onnx.ModelProto, points: Points, kept: Collection[str], scratch: Path) -> None:
        model = onnx.ModelProto()
        model.CopyFrom(graph)
        self._points, self._kept = points, set(kept) | {value.name for value in graph.graph.input}
        self._seen = {value.name for value in model.graph.output}
        constants = {tensor.name for tensor in model.graph.initializer}
        model.graph.initializer.extend(
            numpy_helper.from_array(values, f"{name}{_UNPACKED}") for name, values in points.constants.items()
        )
        self._shadows: dict[str, str] = {}
        nodes: list[onnx.NodeProto] = []
        for name in (value.name for value in graph.graph.input):
            nodes += self._rounded(model, name) if name in points.tensors else []
        for node in graph.graph.node:
            nodes.append(node)
            nodes += self._shadow(node, constants)
            for name in node.output:
                nodes += self._answers(model, name)
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        self.before = tuple(name for name in self._kept if f"{name}{_SHADOW}_change" in self._seen)
        self.own = tuple(name for name in self._kept if f"{name}{_UNPACKED}_change" in self._seen)
        file = scratch / "roundings.onnx"
        onnx.save(model, str(file))
        self._session = load(file, threads=1, optimized="basic")
        file.unlink()

    def changes(self, feed: Mapping[str, np.ndarray]) -> Iterator[tuple[str, bool, np.ndarray]]:
        """Yield tensor, whether it is its own rounding, and how much each number of it changes."""
        asked = [(name, own) for own, names in ((False, self.before), (True, self.own)) for name in sorted(names)]
        outputs = [f"{name}{_UNPACKED if own else _SHADOW}_change" for name, own in asked]
        for (name, own), values in zip(asked, self._session.run(outputs, dict(feed)), strict=True):
            yield name, own, values

    def _shadow(self, node: onnx.NodeProto, constants: Collection[str]) -> list[onnx.NodeProto]:
        """Repeat a node that reads what is rounded."""
        read = [self._read(name, constants) for name in node.input]
        if read == list(node.input) or subgraphs(node):
            return []
        again = onnx.NodeProto()
        again.CopyFrom(node)
        again.name = f"{node.name}{_SHADOW}"
        del again.input[:], again.output[:]
        again.input.extend(read)
        again.output.extend(f"{name}{_SHADOW}" if name else "" for name in node.output)
        self._shadows |= {name: f"{name}{_SHADOW}" for name in node.output if name}
        return [again]

    def _read(self, name: str, constants: Collection[str]) -> str:
        if name in constants:
            return f"{name}{_UNPACKED}" if name in self._points.constants else name
        return name if name in self._kept else self._shadows.get(name, name)

    def _answers(self, model: onnx.ModelProto, name: str) -> list[onnx.NodeProto]:
        """Round a tensor that is not kept where it is read again; compare one that is."""
        shadow = self._shadows.get(name, name)
        if name not in self._kept:
            if name not in self._points.tensors:
                return []
            self._shadows[name] = f"{name}{_UNPACKED}"
            return self._packed(model, name, shadow)
        compared = []
        if shadow != name:
            compared.append(self._change(model, shadow, name))
        return compared + (self._rounded(model, name) if name in self._points.tensors else [])

    def _rounded(self, model: onnx.ModelProto, name: str) -> list[onnx.NodeProto]:
        return [*self._packed(model, name, name), self._change(model, f"{name}{_UNPACKED}", name)]

    def _packed(self, model: onnx.ModelProto, name: str, source: str) -> list[onnx.NodeProto]:
        names = [f"{name}_scale_of_int8", f"{name}_zero_of_int8"]
        for values, constant in zip(self._points.tensors[name], names, strict=True):
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), constant))
        return [
            helper.make_node("QuantizeLinear", [source, *names], [f"{name}{_ROUNDED}"], f"{name}{_ROUNDED}"),
            helper.make_node(
                "DequantizeLinear", [f"{name}{_ROUNDED}", *names], [f"{name}{_UNPACKED}"], f"{name}{_UNPACKED}"
            ),
        ]

    def _change(self, model: onnx.ModelProto, after: str, before: str) -> onnx.NodeProto:
        answer = f"{after}_change"
        self._seen.add(answer)
        model.graph.output.append(helper.make_tensor_value_info(answer, onnx.TensorProto.FLOAT, None))
        return helper.make_node("Sub", [after, before], [answer], answer)


def values_of(
    graph: onnx.ModelProto, points: Points, feed: Mapping[str, np.ndarray], scratch: Path
) -> dict[str, np.ndarray]:
    """Return what the graph computes of a batch where int8 is rounded, and its answers, by tensor; rows come first."""
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    made = {name for node in graph.graph.node for name in node.output}
    answers = [value.name for value in graph.graph.output]
    names = [*answers, *sorted(made.intersection(points.tensors).difference(answers))]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names[len(answers) :])
    file = scratch / "tensors.onnx"
    onnx.save(model, str(file))
    session = load(file, threads=1, optimized="off")
    file.unlink()
    rows = len(next(iter(feed.values())))
    values = dict(zip(names, session.run(names, dict(feed)), strict=True))
    return {name: array for name, array in values.items() if array.ndim and len(array) and len(array) % rows == 0}
