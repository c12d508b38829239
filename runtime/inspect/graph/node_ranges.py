"""Count the activations that NNCF gives a range of int8 in an ONNX graph of convolutions."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from titrant.runtime.inspect.graph.range_graph import RangeGraph, RangeOperation

if TYPE_CHECKING:
    import onnx

# Node → what torch calls the same. Others, which OpenVINO may fuse by patterns of its own, are not counted.
_NAMES = {
    "Conv": "convolution", "ConvTranspose": "convolution", "Gemm": "addmm", "Add": "add", "Sub": "sub", "Mul": "mul",
    "Div": "div", "Relu": "relu", "LeakyRelu": "leaky_relu", "PRelu": "_prelu_kernel", "Sigmoid": "sigmoid",
    "Clip": "clamp", "Exp": "exp", "Softmax": "_softmax", "HardSigmoid": "hard_sigmoid", "HardSwish": "hard_swish",
    "Concat": "cat", "Reshape": "view", "Flatten": "view", "Squeeze": "squeeze", "Unsqueeze": "unsqueeze",
    "Transpose": "permute", "Slice": "select", "Split": "split", "Identity": "alias", "Dropout": "alias",
    "Pad": "constant_pad_nd", "MaxPool": "max_pool2d_with_indices", "AveragePool": "avg_pool2d",
    "GlobalAveragePool": "mean", "ReduceMean": "mean", "Cast": "alias", "Resize": "resize", "Upsample": "resize",
    # It becomes a part of the convolution before it.
    "BatchNormalization": "alias",
}  # fmt: skip
# They read shapes, from which no number of an activation comes.
_OF_SHAPES = ("Shape", "Constant", "ConstantOfShape", "Size", "Range")


def node_ranges(graph: "onnx.GraphProto", constants: Collection[str]) -> int:
    """Return how many ranges there are; 0 without a convolution, and where a node is not one of those that are known.

    `constants` are the names of what the graph holds.
    """
    if not any(node.op_type == "Conv" for node in graph.node):
        return 0
    held = {*constants}
    numbers = {value.name: place for place, value in enumerate(graph.input, 1) if value.name not in held}
    sources, count = [*numbers.values()], len(graph.input)
    operations: list[RangeOperation] = []
    for node in graph.node:
        computed = [name for name in node.input if name and name in numbers]
        if node.op_type in _OF_SHAPES or not computed:
            held.update(node.output)  # made of constants and shapes alone
            continue
        if node.op_type not in _NAMES:
            return 0
        made = tuple(range(count + 1, count + 1 + len(node.output)))
        count += len(node.output)
        numbers.update(zip(node.output, made, strict=True))
        weights = tuple(place for place, name in enumerate(node.input) if name and name not in numbers)
        given = tuple(numbers[name] for name in computed)
        operations.append(RangeOperation(_NAMES[node.op_type], given, made, weights))
    return RangeGraph(operations).ranges(sources, count)
