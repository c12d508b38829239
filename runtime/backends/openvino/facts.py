"""Say what an OpenVINO IR from elsewhere is: what it takes and gives, its layers, and what they hold."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from titrant.runtime.backends.openvino.counts import CountedOperation, count_graph, reshaped
from titrant.runtime.backends.openvino.ir import about, read_file
from titrant.runtime.backends.openvino.session import shape_of, specs, type_of
from titrant.runtime.backends.session import Spec
from titrant.schema.facts import Layer, ModelFacts, TensorSpec

if TYPE_CHECKING:
    import openvino


def ir_facts(params: Mapping[str, Any]) -> ModelFacts:
    """Describe a file by the parameters of `model.load_openvino`, in plain values.

    FLOPs are those of one case, None where a size beside the batch is free. Raises StepError X212 for what OpenVINO
    cannot read.
    """
    path = Path(params["graph"]["path"])
    graph = read_file(path, Path(params["weights"]["path"]))
    taken, given = specs(graph), tuple(_outputs(graph))
    shown = _one_case(taken)
    counted = count_graph(reshaped(graph, shown))
    kinds = {operation.get_friendly_name(): operation.get_type_name() for operation in graph.get_ordered_ops()}
    layers = tuple(_layer(name, kinds[name], each, of_a_case=bool(shown)) for name, each in counted.items())
    flops = [layer.flops for layer in layers]
    whole = sum(each for each in flops if each is not None) if None not in flops else None
    return ModelFacts(
        source="ir",
        digest=f"{params['graph']['digest']}+{params['weights']['digest']}",
        parameters=sum(layer.parameters for layer in layers),
        trainable=0,
        weight_bytes=sum(layer.weight_bytes for layer in layers),
        layers=layers,
        inputs=tuple(TensorSpec(name, shape, dtype) for name, shape, dtype in taken),
        outputs=given,
        flops=whole,
    )


def _outputs(graph: "openvino.Model") -> list[TensorSpec]:
    named = zip(about(graph).outputs, graph.outputs, strict=True)
    return [TensorSpec(name, shape_of(item.partial_shape), type_of(item.element_type)) for name, item in named]


def _one_case(taken: tuple[Spec, ...]) -> dict[str, np.ndarray]:
    """Return a case of zeros by input; {} where a size beside the batch is free, so that none is known."""
    sizes = {name: tuple(1 if size == "batch" else size for size in shape) for name, shape, _ in taken}
    if any(isinstance(size, str) for shape in sizes.values() for size in shape):
        return {}
    return {name: np.zeros(tuple(map(int, shape)), np.int8) for name, shape in sizes.items()}


def _layer(name: str, kind: str, counted: CountedOperation, *, of_a_case: bool) -> Layer:
    flops = counted.flops if of_a_case else None
    return Layer(name, kind, counted.parameters, counted.parameter_bytes, flops=flops)
