"""Call a model once and keep what each layer with weights answers, and what is made of that up to the next one."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from titrant.runtime.instruments.comparison.match import WeightedLayers
from titrant.runtime.instruments.subject.inputs import named_inputs
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import onnx
    import torch

    from titrant.runtime.backends.onnxruntime.layer_names import GraphNames
    from titrant.runtime.instruments.calls.overhear import Inputs

# So many answers behind a layer are kept: a normalization, an activation, a sum.
_MOST_BEHIND = 6
# What is made of a layer's answer number by number, in torch.
_BEHIND = (
    "add", "add_", "gelu", "hardswish", "hardswish_", "hardtanh", "hardtanh_", "leaky_relu", "leaky_relu_", "mul",
    "mul_", "native_batch_norm", "native_layer_norm", "relu", "relu_", "sigmoid", "silu", "silu_", "tanh",
    "_native_batch_norm_legit_no_training", "_fused_rms_norm",
)  # fmt: skip
# Quantized nodes → the places of the scale and zero point of their answer.
_SCALES = {"QLinearConv": (6, 7), "QLinearMatMul": (6, 7), "QGemm": (7, 8)}


@dataclass(frozen=True)
class KeptAnswers:
    """`layers`: name → [(operation, answer)], the layer's own first, then what is made of it; `outputs` by name."""

    layers: "Mapping[str, list[tuple[str, np.ndarray]]]"
    outputs: "Mapping[str, np.ndarray]"


def kept_answers(model: WeightedLayers, inputs: "Inputs") -> KeptAnswers:
    """Answer the inputs once, in float32; raises what `overhear` and `graph_tensors_at` do."""
    subject = model.subject
    if subject.module is not None:
        return _of_module(subject.module, model, inputs)
    assert subject.graph is not None
    return _of_graph(subject.graph, model, named_inputs(subject, inputs))


def _of_module(module: "torch.nn.Module", model: WeightedLayers, inputs: "Inputs") -> KeptAnswers:
    from titrant.runtime.instruments.calls.overhear import overhear, tensors_of

    layers: dict[str, list[tuple[str, np.ndarray]]] = {}
    latest: list[str] = []

    def answered(layer: str, part: "torch.nn.Module", answer: Any) -> None:
        tensors = tensors_of(answer)
        if layer in model.tensors and tensors and tensors[0].is_floating_point() and layer not in layers:
            layers[layer] = [("", _array(tensors[0]))]
            latest[:] = [layer]

    def operated(layer: str, operation: str, operands: Mapping[str, Any], answer: Any) -> None:
        name = operation.removeprefix("aten::")
        behind = layers.get(latest[0], []) if latest else []
        if name in _BEHIND and 0 < len(behind) <= _MOST_BEHIND:
            tensors = tensors_of(answer)
            if tensors and tensors[0].is_floating_point() and layer not in model.tensors:
                behind.append((name.strip("_"), _array(tensors[0])))

    answer = overhear(module, inputs, answered=answered, operated=operated)
    named = answer.items() if isinstance(answer, Mapping) else enumerate(tensors_of(answer))
    outputs = {str(name): _array(value) for name, value in named if hasattr(value, "detach")}
    return KeptAnswers(layers, outputs)


def _of_graph(graph: "onnx.ModelProto", model: WeightedLayers, inputs: Mapping[str, np.ndarray]) -> KeptAnswers:
    from titrant.runtime.backends.onnxruntime.layer_names import GraphNames
    from titrant.runtime.instruments.calls.graph_call import graph_tensors_at
    from titrant.runtime.operators.model.load_onnx import numeric

    names = GraphNames.of(graph.graph)
    own = {tensor for node in graph.graph.node for tensor in node.output}
    behind = {
        node: [tensor for tensor in names.ahead(node) if tensor in own][: _MOST_BEHIND + 1]
        for node in model.tensors
        if node in names.nodes
    }
    outputs = [value.name for value in numeric(graph.graph.output)]
    asked = [*outputs, *(tensor for tensors in behind.values() for tensor in tensors)]
    held = dict(graph_tensors_at(graph, inputs, asked))
    layers = {
        node: [
            (_operation(names, node, tensor), values) for tensor in tensors for values in _floats(names, tensor, held)
        ]
        for node, tensors in behind.items()
    }
    return KeptAnswers(layers, {name: held[name] for name in outputs})


def _operation(names: "GraphNames", node: str, tensor: str) -> str:
    maker = names.makers.get(tensor, node)
    return "" if maker == node else names.nodes[maker].op_type.lower()


def _floats(names: "GraphNames", tensor: str, held: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Return an answer in float32, one of whole numbers as what it stands for; [] where its scale is not beside it."""
    values = held[tensor]
    if values.dtype.kind == "f":
        return [values.astype(np.float32, copy=False)]
    node = names.nodes[names.makers[tensor]]
    if node.op_type not in _SCALES or values.dtype.kind not in "iu":
        return []
    from onnx import numpy_helper

    constants = [names.constants.get(node.input[place]) for place in _SCALES[node.op_type] if place < len(node.input)]
    if len(constants) < 2 or constants[0] is None or constants[1] is None:
        return []
    scale, zero = (numpy_helper.to_array(constant) for constant in constants if constant is not None)
    return [(values.astype(np.float32) - zero.astype(np.float32)) * scale]


def _array(tensor: "torch.Tensor") -> np.ndarray:
    # In-place activations change what a layer answered: it is copied.
    array: np.ndarray = tensor.detach().float().cpu().numpy().copy()
    return array
