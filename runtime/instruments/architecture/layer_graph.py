"""A model as a graph of layers: operations in the order in which they run, tensors between them, and their blocks."""

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from functools import cache

from titrant.runtime.instruments.architecture.names import name_path, weight_detail
from titrant.schema.facts import Layer
from titrant.schema.values.frozen import dataclass

# How an architecture was read: from a file's graph, by following tensors through a call, or from the modules alone,
# whose order is that of their registration and which show no data flow.
GRAPH, TRACED, MODULES = "graph", "traced", "modules"

# Why an operation is not drawn: it computes with shapes alone, or only changes the precision of a layer's operand.
SHAPES, PRECISION = "shapes", "precision"


@dataclass(frozen=True)
class Operation:
    """One call of a layer, or one operation between layers; FLOPs are those of one case, None where unknown.

    `block` is the path of the blocks that it stands in, the outermost first. `inputs` and `outputs` name tensors;
    constants and weights are none. `precision` is what it multiplies in, or what its weights are stored in, where that
    is known. `shared_with` names an earlier operation with the same weights, which counts them. `hidden` says why it is
    not drawn, "" where it is.
    """

    name: str
    kind: str
    block: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    parameters: int = 0
    flops: int | None = None
    precision: str = ""
    quantized: bool = False
    detail: str = ""
    shared_with: str = ""
    hidden: str = ""


@dataclass(frozen=True)
class LayerGraph:
    """A model's operations, each after those that it reads from; `shapes` are those of tensors, where known.

    `inputs` and `outputs` are the model's own tensors. `kinds` names the class of a block, by its path joined with
    dots. `basis` says how it was read: graph, traced or modules, of which the last shows no data flow.
    """

    name: str
    operations: tuple[Operation, ...]
    shapes: Mapping[str, tuple[int | str, ...]] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)
    basis: str = GRAPH
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """All parameters, shared ones once."""
        return sum(operation.parameters for operation in self.operations)

    @property
    def flops(self) -> int | None:
        """The FLOPs of one case, two per multiply-add; None where those of no operation are known."""
        counts = [operation.flops for operation in self.operations if operation.flops is not None]
        return sum(counts) if counts else None


def of_layers(
    name: str, layers: Sequence[Layer], notes: tuple[str, ...] = (), kinds: Mapping[str, str] | None = None
) -> LayerGraph:
    """Return the architecture of layers whose order of execution is not known: no data flows, blocks are by name.

    `kinds` are the classes of blocks by their path, where they are known.
    """
    return LayerGraph(name, tuple(map(_operation, layers)), basis=MODULES, notes=notes, kinds=dict(kinds or {}))


def renamed(architecture: LayerGraph, names: Mapping[str, str]) -> LayerGraph:
    """Return an architecture in which tensors have other names."""

    def new(tensors: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(names.get(name, name) for name in tensors)

    return replace(
        architecture,
        operations=tuple(
            replace(operation, inputs=new(operation.inputs), outputs=new(operation.outputs))
            for operation in architecture.operations
        ),
        shapes={names.get(name, name): shape for name, shape in architecture.shapes.items()},
        dtypes={names.get(name, name): dtype for name, dtype in architecture.dtypes.items()},
        inputs=new(architecture.inputs),
        outputs=new(architecture.outputs),
    )


def _operation(layer: Layer) -> Operation:
    return Operation(
        name=layer.name, kind=layer.type or "weights", block=name_path(layer.name) or (), parameters=layer.parameters,
        flops=layer.flops, precision=layer.dtype, quantized=is_low_bit(layer.dtype),
        detail=weight_detail(layer.type, layer.weight_shape, layer.groups),
    )  # fmt: skip


@cache
def is_low_bit(dtype: str) -> bool:
    """Tell whether weights of a dtype are quantized: integers of at most 8 bits, or floats of 8 and fewer."""
    name = dtype.removeprefix("torch.").removeprefix("q")
    return name.startswith(("int4", "uint4", "int8", "uint8", "int2", "uint2", "float8", "float4"))
