"""The tensors that an ONNX graph holds."""

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_BYTE = 8


@dataclass(frozen=True)
class Constant:
    """A tensor that a graph holds: as an initializer, or as the output of a `Constant` node."""

    tensor: "onnx.TensorProto"
    initializer: bool

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
        """The bytes of its numbers, those narrower than a byte packed."""
        return -(-self.size * _bits(self.type) // _BYTE)

    @property
    def type(self) -> str:
        """Its data type as ONNX names it: FLOAT, BFLOAT16, INT8, UINT4 …"""
        import onnx

        return onnx.TensorProto.DataType.Name(self.tensor.data_type)

    @property
    def dtype(self) -> str:
        """Its data type as NumPy names it: float32, bfloat16, int8 …"""
        import onnx

        return str(onnx.helper.tensor_dtype_to_np_dtype(self.tensor.data_type))

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
        """Whether all its numbers are equal, as those of a normalization without learned scale and bias."""
        from onnx import numpy_helper

        numbers = numpy_helper.to_array(self.tensor)
        return numbers.size == 0 or bool((numbers == numbers.flat[0]).all())

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

    found = {tensor.name: Constant(tensor, initializer=True) for tensor in graph.initializer}
    for sparse in graph.sparse_initializer:
        whole = onnx.TensorProto(name=sparse.values.name, data_type=sparse.values.data_type, dims=sparse.dims)
        found[whole.name] = Constant(whole, initializer=True)
    for node in graph.node:
        for item in node.attribute if node.op_type == "Constant" else ():
            if item.name == "value":
                found[node.output[0]] = Constant(item.t, initializer=False)
    return found


def _bits(name: str) -> int:
    """Return the bits of one number of a type, from its name: FLOAT 32, DOUBLE 64, BOOL and STRING 8."""
    widths = {"FLOAT": 32, "DOUBLE": 64, "COMPLEX64": 64, "COMPLEX128": 128}
    written = re.search(r"(?:INT|FLOAT)(\d+)", name)
    return widths[name] if name in widths else int(written[1]) if written else _BYTE
