"""List the parameters and weights of an ONNX file by name, and read the numbers of one at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends.onnxruntime.graph import subgraphs
from titrant.runtime.inspect.graph.shapes import Constant, constants

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class GraphTensor:
    """A tensor that a file holds; `parameters` counts those of its numbers that are parameters.

    `tied` names the tensor before it whose numbers, outside of the file, are its own too.
    """

    name: str
    constant: Constant
    parameters: int
    tied: str = ""


def inlined(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Inline the model's own functions, so that their nodes are seen."""
    import onnx.inliner

    return onnx.inliner.inline_local_functions(model) if model.functions else model


def graph_tensors(graph: "onnx.GraphProto", counts: Mapping[str, int]) -> Iterator[GraphTensor]:
    """Yield the tensors that are parameters by `counts`, and the other fractions of one dimension or more.

    Those in the body of a loop or a branch have the place of its node before their names, as `counts` has.
    """
    first: dict[tuple[tuple[str, str], ...], str] = {}
    for name, constant in _named(graph, ""):
        weighs = constant.floating and len(constant.shape) > 0 and constant.initializer
        if name in counts or weighs:
            outside = tuple((item.key, item.value) for item in constant.tensor.external_data if item.key != "checksum")
            before = first.setdefault(outside, name) if outside else name
            yield GraphTensor(name, constant, counts.get(name, 0), "" if before == name else before)


def _named(graph: "onnx.GraphProto", path: str) -> Iterator[tuple[str, Constant]]:
    for name, constant in constants(graph).items():
        yield path + name, constant
    for place, node in enumerate(graph.node):
        for name, body in subgraphs(node).items():
            yield from _named(body, f"{path}{place}/{name}/")


def numbers_of(constant: Constant, folder: Path) -> Any:
    """Return a tensor's numbers as an array, from its file in `folder` where they stand outside; None of sparse ones.

    Raises OSError and ValueError for a file that is missing or too short.
    """
    from onnx import numpy_helper

    tensor = constant.tensor
    lists = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data)
    held = tensor.HasField("raw_data") or len(tensor.external_data) > 0 or any(map(len, lists))
    return numpy_helper.to_array(tensor, str(folder)) if held or not constant.size else None
