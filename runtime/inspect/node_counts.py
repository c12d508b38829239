"""Count the parameters and FLOPs of an ONNX file by its nodes, for batches of a known shape."""

from pathlib import Path

from titrant.runtime.inspect.graph.flops import node_flops
from titrant.runtime.inspect.graph.shapes import infer_shapes
from titrant.runtime.inspect.onnx import count_parameters, drop_values, inlined, node_layers
from titrant.schema.facts import Layer, TensorSpec


def count_nodes(path: Path, specs: tuple[TensorSpec, ...]) -> tuple[Layer, ...]:
    """Return the nodes of a file with their parameters and the FLOPs of a whole batch, 0 where they multiply nothing.

    `specs` are the inputs with the sizes of the batch. FLOPs are None for a node whose count is not known. Raises
    StepError X160 where the shapes of the graph contradict each other.
    """
    import onnx

    whole = inlined(onnx.load(path))
    counts = count_parameters(whole.graph)
    drop_values(whole)
    shapes = infer_shapes(whole, specs)
    counted = [(node, node_flops(node, shapes)) for node in whole.graph.node]
    layers = node_layers(whole.graph, counted, counts, shapes, 1)
    return tuple(
        Layer(layer.name, layer.type, layer.parameters, layer.weight_bytes, flops=flops)
        for layer, (_, flops) in zip(layers, counted, strict=True)
    )
