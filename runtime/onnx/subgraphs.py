"""The graphs inside a node of an ONNX graph: the bodies of loops and the branches of conditions."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def subgraphs(node: "onnx.NodeProto") -> "Mapping[str, onnx.GraphProto]":
    """Return a node's graphs by the attribute that holds each: `body`, `then_branch`, `else_branch`."""
    return {item.name: item.g for item in node.attribute if item.HasField("g")}
