"""Read back from torch in which precision it runs each layer with weights, of a live module or a TorchScript file."""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends.backend import ExecutedLayer

if TYPE_CHECKING:
    import torch

    from titrant.runtime.values import TorchModel, TorchScriptModel

# torch's own kernels for whole numbers.
_INTEGER = "quantized::"
# Calls that multiply by weights, or do so inside.
_MULTIPLY = (
    "aten::_convolution", "aten::addmm", "aten::bmm", "aten::conv1d", "aten::conv2d", "aten::conv3d", "aten::einsum",
    "aten::gru", "aten::linear", "aten::lstm", "aten::matmul", "aten::mm", "aten::rnn_relu", "aten::rnn_tanh",
)  # fmt: skip
_LEAST_DIMENSIONS = 2


def executed(model: "TorchModel | TorchScriptModel", *, layers: Collection[str] = ()) -> tuple[ExecutedLayer, ...]:
    """Return every layer with weights; the nodes of a file are named by their place.

    torch runs what it is given: nothing is fused or quantized on loading. Raises StepError X212 for a file that torch
    cannot load.
    """
    import torch

    from titrant.runtime.values import TorchModel

    if isinstance(model, TorchModel):
        return tuple(_of_module(model.module, layers))
    from titrant.runtime.backends.torch.session import load_script

    script: Any = load_script(model)[0]
    if next(iter(script.parameters()), None) is not None:  # one that others made: its weights become constants
        script = torch.jit.freeze(script)
    return tuple(_of_graph(script.inlined_graph))


def _of_module(module: "torch.nn.Module", layers: Collection[str]) -> Iterator[ExecutedLayer]:
    for name, layer in module.named_modules():
        weights = [value for value in layer.parameters(recurse=False) if value.ndim >= _LEAST_DIMENSIONS]
        if weights:
            kind = type(layer).__name__
            yield ExecutedLayer(name if name in layers else "", name or kind, _format(weights[0].dtype), kind)


def _of_graph(graph: Any) -> Iterator[ExecutedLayer]:
    """Look at every call, also in the branches and loops of a scripted graph."""
    count = 0
    for node in _nodes(graph):
        precision = "int8" if node.kind().startswith(_INTEGER) else _of_constants(node)
        if precision:
            operation = node.kind().rpartition("::")[2].strip("_")
            yield ExecutedLayer("", f"{operation}_{count}", precision, node.kind())
            count += 1


def _nodes(block: Any) -> Iterator[Any]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def _of_constants(node: Any) -> str:
    """Return the number format of the weights that a call multiplies by; "" for one that has none."""
    if node.kind() not in _MULTIPLY:
        return ""
    constants = (constant for value in node.inputs() for constant in _constants(value))
    weights = [value for value in constants if getattr(value, "ndim", 0) >= _LEAST_DIMENSIONS]
    return _format(weights[0].dtype) if weights else ""


def _constants(value: Any) -> Iterator[Any]:
    """Yield the constants that an input holds: recurrent layers are given theirs in a list."""
    node = value.node()
    if node.kind() == "prim::ListConstruct":
        for item in node.inputs():
            yield from _constants(item)
    elif node.kind() == "prim::Constant":
        constant = value.toIValue()
        yield from constant if isinstance(constant, list | tuple) else [constant]


def _format(dtype: "torch.dtype") -> str:
    import torch

    names = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16", torch.float64: "fp64"}
    return names.get(dtype, str(dtype).rpartition(".")[2])
