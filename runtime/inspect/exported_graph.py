"""Estimate what an exported graph consists of, from the operations that torch runs in a forward pass."""

from collections.abc import Mapping, Sequence
from typing import Any

from titrant.schema.values.frozen import dataclass

# What an exported file has no node for: it is folded into a weight or into a neighbor.
FOLDED = ("detach", "empty", "lift_fresh", "native_batch_norm", "alias", "device")
# Nodes of an operation once a graph is simplified, with the constants that they read (weights, axes, shapes), where it
# is not one. Those of attention that torch runs as one operation are what it is made of. Measured on what OpenVINO
# makes of encoders, decoders and a Llama, whose shapes are free.
NODES = {
    "_scaled_dot_product_flash_attention_for_cpu": 10.0,
    "addmm": 4.0, "mm": 2.0,
    "add": 1.2, "div": 1.4, "mul": 1.4, "pow": 2.0, "rsqrt": 3.0, "mean": 2.0,
    "convolution": 4.0, "embedding": 4.0, "native_layer_norm": 6.0,
    "cat": 2.0, "clone": 0.0, "expand": 3.0, "permute": 2.0, "select": 3.0, "slice": 5.0, "stack": 5.0,
    "squeeze": 2.0, "unsqueeze": 2.0, "transpose": 2.0, "view": 2.0, "_unsafe_view": 2.0,
}  # fmt: skip
_ATTENTION, _QUERY_KEY_VALUE = "_scaled_dot_product", 3
_PRODUCTS, _VIEWS = ("mm", "addmm", "bmm"), ("view", "_unsafe_view")
# So many operations before a product of batches, torch brings its operands into the shape that it takes.
_AHEAD = 5


@dataclass(frozen=True)
class ExportedGraph:
    """What is known beforehand of the graph that modules are exported to, once it is simplified."""

    nodes: int = 0  # constants included, estimated
    multiplications: int = 0  # of activations with one another or with a constant, one by one
    mask_bytes: int = 0  # of causal attention over a fixed number of places


def exported_graph(operations: Sequence[str], mask_bytes: int) -> ExportedGraph:
    """Estimate the graph of operations, given by their names in the order in which they ran."""
    kept = [name for name in operations if name not in FOLDED]
    nodes = sum(NODES.get(name, 1.0) for place, name in enumerate(kept) if not _vanishes(kept, place))
    return ExportedGraph(round(nodes), kept.count("mul"), mask_bytes)


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
