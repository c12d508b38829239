"""List the constants that an ONNX graph holds, and what becomes of those that nodes only move."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from titrant.runtime.backends.onnxruntime.graph import STANDARD, dense

if TYPE_CHECKING:
    import onnx

_BYTE = 8


@dataclass(frozen=True)
class Constant:
    """A tensor that a graph holds: as an initializer, or as the output of a `Constant` node."""

    tensor: "onnx.TensorProto"
    initializer: bool
    source: str = ""  # where it is a constant that was moved, the name of the one that the graph holds
    held_bytes: int = 0  # and the bytes of that one, with its scales where it was unpacked

    @property
    def shape(self) -> tuple[int, ...]:
        """Its dimensions."""
        return tuple(self.tensor.dims)

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.tensor.dims)

    @property
    def bytes(self) -> int:
        """The bytes of its numbers in the file, those narrower than a byte packed."""
        return self.held_bytes or -(-self.size * _bits(self.type) // _BYTE)

    @property
    def type(self) -> str:
        """Its data type as ONNX names it: FLOAT, BFLOAT16, INT8, UINT4 …"""
        return _type_name(self.tensor.data_type)

    @property
    def dtype(self) -> str:
        """Its data type as NumPy names it: float32, bfloat16, int8 …"""
        return _numpy_name(self.tensor.data_type)

    @property
    def floating(self) -> bool:
        """Whether it has floating-point numbers of any width."""
        return "FLOAT" in self.type or self.type == "DOUBLE"

    @property
    def integer_bits(self) -> int:
        """The bits of its integers; 0 for any other type."""
        return _bits(self.type) if "INT" in self.type else 0

    @property
    def low_bit(self) -> bool:
        """Whether it has integers of at most a byte."""
        return 0 < self.integer_bits <= _BYTE

    def uniform(self) -> bool:
        """Whether all its numbers are equal, as those of a plain normalization; False where they stand outside."""
        import onnx
        from onnx import numpy_helper

        if self.tensor.data_location == onnx.TensorProto.EXTERNAL:
            return False
        numbers = numpy_helper.to_array(self.tensor)
        return numbers.size == 0 or bool((numbers == numbers.flat[0]).all())

    def has_nan(self) -> bool:
        """Whether one of its numbers is NaN; False where they stand outside."""
        import numpy as np
        import onnx
        from onnx import numpy_helper

        outside = self.tensor.data_location == onnx.TensorProto.EXTERNAL
        return self.floating and not outside and bool(np.isnan(numpy_helper.to_array(self.tensor)).any())

    def is_transposed(self, other: "Constant") -> bool:
        """Whether it holds another's numbers, transposed; False for numbers that are kept outside the file."""
        import onnx
        from onnx import numpy_helper

        if self.tensor.data_type != other.tensor.data_type:
            return False
        if onnx.TensorProto.EXTERNAL in (self.tensor.data_location, other.tensor.data_location):
            return False
        mine, its = numpy_helper.to_array(self.tensor), numpy_helper.to_array(other.tensor)
        return bool((mine[:1] == its.T[:1]).all() and (mine == its.T).all())


def constants(graph: "onnx.GraphProto") -> dict[str, Constant]:
    """List the tensors that a graph holds by name: initializers, dense and sparse, and `Constant` nodes."""
    import onnx

    by_name = {tensor.name: Constant(tensor, initializer=True) for tensor in graph.initializer}
    for sparse in graph.sparse_initializer:
        outside = onnx.TensorProto.EXTERNAL in (sparse.values.data_location, sparse.indices.data_location)
        whole = onnx.TensorProto(
            name=sparse.values.name, data_type=sparse.values.data_type, dims=sparse.dims,
            data_location=onnx.TensorProto.EXTERNAL,
        )  # fmt: skip
        by_name[whole.name] = Constant(whole if outside else dense(sparse), initializer=True)
    for node in graph.node:
        for item in node.attribute if node.op_type == "Constant" else ():
            if item.name == "value":
                by_name[node.output[0]] = Constant(item.t, initializer=False)
    return by_name


# Operators that give the numbers of their first operand, in another order, shape or format.
_MOVERS = ("Transpose", "Cast", "Reshape", "Identity", "Squeeze", "Unsqueeze", "Flatten")
_UNPACKS = "DequantizeLinear"


def moved_constants(
    graph: "onnx.GraphProto", held: Mapping[str, Constant], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Constant]:
    """List what becomes of constants that nodes only move, by the name of the tensor, in its own shape and format.

    What is unpacked keeps the format that it is held in, as engines multiply by it where they can.
    """
    import onnx

    outputs = {value.name for value in graph.output}
    moved: dict[str, Constant] = {}
    for node in graph.node:
        unpacks = node.op_type == _UNPACKS
        moves = unpacks or (node.op_type in _MOVERS and node.domain in STANDARD)
        first = node.input[0] if node.input and moves else ""
        constant = moved.get(first) or held.get(first)
        if constant is None or node.output[0] in outputs:
            continue
        element = next((item.i for item in node.attribute if item.name == "to"), constant.tensor.data_type)
        tensor = onnx.TensorProto(data_type=element, dims=shapes.get(node.output[0], constant.shape))
        source = constant.source or first
        scales = sum(held[name].bytes for name in node.input[1:] if name in held) if unpacks else 0
        moved[node.output[0]] = Constant(tensor, constant.initializer, source, constant.bytes + scales)
    return moved


@cache
def _type_name(data_type: int) -> str:
    import onnx

    return str(onnx.TensorProto.DataType.Name(data_type))


@cache
def _numpy_name(data_type: int) -> str:
    import onnx

    return str(onnx.helper.tensor_dtype_to_np_dtype(data_type))


@cache
def _bits(name: str) -> int:
    """Return the bits of one number of a type, from its name: FLOAT 32, DOUBLE 64, BOOL and STRING 8."""
    widths = {"FLOAT": 32, "DOUBLE": 64, "COMPLEX64": 64, "COMPLEX128": 128}
    written = re.search(r"(?:INT|FLOAT)(\d+)", name)
    return widths[name] if name in widths else int(written[1]) if written else _BYTE
