"""Count the parameters and FLOPs of a model by its parts: modules, nodes or operations, for one batch."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from titrant.runtime.values import OnnxModel, TorchModel
from titrant.schema.facts import TensorSpec
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import numpy as np
    import torch


@dataclass(frozen=True)
class PartCount:
    """What a part itself holds and multiplies in a batch; FLOPs are None where an operation has no known count."""

    parameters: int = 0
    parameter_bytes: int = 0
    flops: int | None = 0
    kind: str = ""


def count_parts(model: Any, inputs: "Mapping[str, np.ndarray]") -> dict[str, PartCount]:
    """Return {part: its own count} of a live module, an ONNX file or an OpenVINO IR; {} for a kind that has no parts.

    Parameters that several parts share count for the first. Both products of attention count in full.
    """
    if isinstance(model, TorchModel):
        return dict(_modules(model, inputs))
    if isinstance(model, OnnxModel):
        return dict(_nodes(model, inputs))
    from titrant.runtime.backends.openvino.ir import IrModel

    if isinstance(model, IrModel):
        from titrant.runtime.backends.openvino.counts import count_operations

        return {
            name: PartCount(operation.parameters, operation.parameter_bytes, operation.flops)
            for name, operation in count_operations(model, inputs).items()
        }
    return {}


def named_layers(parts: Mapping[str, PartCount]) -> dict[str, str]:
    """Return {layer: its kind} of the parts that hold weights themselves, or hold no other parts."""
    within = {name.rpartition(".")[0] for name in parts if name}
    return {name: part.kind for name, part in parts.items() if name and (part.parameters or name not in within)}


def _nodes(model: OnnxModel, inputs: "Mapping[str, np.ndarray]") -> Iterator[tuple[str, PartCount]]:
    import onnx

    from titrant.runtime.inspect.graph.constants import constants
    from titrant.runtime.inspect.graph.flops import node_flops
    from titrant.runtime.inspect.graph.parameters import count_parameters, inlined
    from titrant.runtime.inspect.graph.shapes import infer_shapes
    from titrant.runtime.inspect.onnx import drop_values, node_layers

    whole = inlined(onnx.load(model.path))
    held = constants(whole.graph)
    counts = count_parameters(whole.graph, held)
    drop_values(whole)
    shapes = infer_shapes(
        whole, tuple(TensorSpec(name, array.shape, str(array.dtype)) for name, array in inputs.items())
    )
    counted = [(node, node_flops(node, shapes)) for node in whole.graph.node]
    for layer, (_, flops) in zip(
        node_layers(whole.graph, held, counted, counts, shapes, cases=1), counted, strict=True
    ):
        yield layer.name, PartCount(layer.parameters, layer.weight_bytes, flops, layer.type)


def _modules(model: TorchModel, inputs: "Mapping[str, np.ndarray]") -> "Iterator[tuple[str, PartCount]]":
    from titrant.runtime.arrays.torch_arrays import packed, weight_numbers
    from titrant.runtime.instruments.layers.module_flops import module_flops

    flops = module_flops(model, inputs)
    seen: set[int] = set()
    for name, part in model.module.named_modules():
        own = [tensor for tensor in part.parameters(recurse=False) if id(tensor) not in seen]
        kept = [*own, *(tensor for tensor in _saved_buffers(part) if id(tensor) not in seen)]
        seen |= {id(tensor) for tensor in kept}
        weights = [tensor for _, tensor in packed(part)]
        yield (
            name,
            PartCount(
                sum(tensor.numel() for tensor in (*own, *weights)) + weight_numbers(part),
                sum(tensor.numel() * tensor.element_size() for tensor in (*kept, *weights)),
                flops.get(name, 0),
                type(part).__name__,
            ),
        )


def _saved_buffers(part: "torch.nn.Module") -> "Iterator[torch.Tensor]":
    unsaved = part._non_persistent_buffers_set
    return (tensor for name, tensor in part.named_buffers(recurse=False) if name not in unsaved)
