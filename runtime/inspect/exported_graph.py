"""Estimate what an exported graph consists of, from the operations that torch runs in a forward pass."""

from collections.abc import Mapping, Sequence
from typing import Any

from titrant.schema.values.frozen import dataclass

# What an exported file has no node for: it is folded into a weight or into a neighbor.
FOLDED = ("detach", "empty", "lift_fresh", "native_batch_norm", "alias", "device")
# Nodes of an operation once a graph is simplified, with the constants that they read (weights, axes, shapes), where it
# is not one. Those of attention that torch runs as one operation are what it is made of. Measured on what OpenVINO
# makes of encoders, decoders and a Llama, whose sizes are constants that nodes share.
NODES = {
    "_scaled_dot_product_flash_attention_for_cpu": 10.0,
    "addmm": 4.0, "mm": 2.0,
    "add": 1.2, "div": 1.4, "mul": 1.25, "pow": 2.0, "rsqrt": 3.0, "mean": 2.0,
    "convolution": 4.0, "embedding": 4.0, "native_layer_norm": 6.0,
    "cat": 2.0, "clone": 0.0, "expand": 2.0, "permute": 2.0, "roll": 7.0, "select": 3.0, "slice": 2.5, "split": 3.0,
    "stack": 4.0, "squeeze": 2.0, "unbind": 6.0, "unsqueeze": 1.5, "transpose": 2.0, "view": 1.4, "_unsafe_view": 1.4,
}  # fmt: skip
# The same of an ONNX file whose sizes are constants, which nodes share. Measured on five transformers, and on networks
# of convolutions and gates.
FILE_NODES = {
    "_scaled_dot_product_flash_attention_for_cpu": 16.0,
    "add": 1.15, "mul": 1.15, "div": 1.4, "sub": 1.1, "rsub": 2.0, "pow": 2.0, "rsqrt": 3.0,
    "gelu": 8.0, "silu": 2.0, "hardtanh": 3.0, "glu": 3.0, "masked_fill": 2.0, "linalg_vector_norm": 3.0,
    "convolution": 1.6, "max_pool2d_with_indices": 1.6, "native_group_norm": 7.0, "constant_pad_nd": 6.0,
    "clone": 0.0, "expand": 3.0, "repeat": 3.0, "slice": 2.0, "stack": 3.0, "unbind": 4.0, "roll": 6.0, "index": 3.0,
    "split": 2.0, "split_with_sizes": 2.0,
}  # fmt: skip
# Of each layer of a recurrent module after its first: the layer, what it begins with, and the shapes around it.
FURTHER_LAYER_NODES = 16
# A product with a bias is one node of a file where its input is a matrix, which torch brings it to by a view, and two
# where it was not.
_FLAT_PRODUCT = "addmm"
_ATTENTION, _QUERY_KEY_VALUE = "_scaled_dot_product", 3
_PRODUCTS, _VIEWS = ("mm", "addmm", "bmm"), ("view", "_unsafe_view")
# So many operations before a product of batches, torch brings its operands into the shape that it takes.
_AHEAD = 5


@dataclass(frozen=True)
class ExportedGraph:
    """What is known beforehand of the graph that modules are exported to, once it is simplified."""

    nodes: int = 0  # constants included, estimated
    file_nodes: int = 0  # of its ONNX file, estimated
    selections: int = 0  # of one place of a dimension
    ranges: int = 0  # of activations, where it is quantized with them by NNCF
    mask_bytes: int = 0  # of masks and other arrays that are made of neither inputs nor weights


def exported_graph(operations: Sequence[str], mask_bytes: int, ranges: int, further_layers: int) -> ExportedGraph:
    """Estimate the graph of operations, given by their names in the order in which they ran.

    `ranges` are those of activations, and `further_layers` those of recurrent modules beyond the first of each.
    """
    kept = [name for name in operations if name not in FOLDED]
    places = [place for place in range(len(kept)) if not _vanishes(kept, place)]
    nodes = sum(NODES.get(kept[place], 1.0) for place in places)
    file_nodes = sum(FILE_NODES.get(kept[place], 1.0) + _adds_apart(kept, place) for place in places)
    nodes += FURTHER_LAYER_NODES * further_layers
    return ExportedGraph(round(nodes), round(file_nodes), kept.count("select"), ranges, mask_bytes)


def _adds_apart(operations: Sequence[str], place: int) -> bool:
    """Whether a product's bias is a node of its own."""
    before = [name for name in operations[max(0, place - 2) : place] if name != "t"]
    return operations[place] == _FLAT_PRODUCT and before[-1:] in ([view] for view in _VIEWS)


def causal_mask_bytes(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """Return the bytes of the mask in fp32 that an exported file holds for causal attention; 0 for anything else."""
    if not name.startswith(_ATTENTION) or not (True in args[_QUERY_KEY_VALUE:] or kwargs.get("is_causal")):
        return 0
    query, key = args[:2]
    return 4 * int(query.shape[-2]) * int(key.shape[-2])


def _vanishes(operations: Sequence[str], place: int) -> bool:
    """Whether an operation only brings the operand of a product, or its answer, into the shape that torch takes."""
    name, before, after = operations[place], operations[place - 1] if place else "", operations[place + 1 : place + 2]
    if name == "t":
        return True
    if name in _VIEWS and (before in (*_PRODUCTS, "t") or [*after] == ["t"]):
        return True
    if name == "_unsafe_view" and before in ("clone", "expand"):
        return True
    return name in (*_VIEWS, "expand", "clone") and "bmm" in operations[place : place + _AHEAD + 1]
