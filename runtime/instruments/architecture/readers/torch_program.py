"""Read the architecture of a torch.export file: its graph, with the operations of a layer of torch's own as one."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends.torch.program.original import program_module, rows_of
from titrant.runtime.instruments.architecture.architecture import Architecture, Operation, is_low_bit, renamed
from titrant.runtime.instruments.architecture.names import weight_detail
from titrant.schema.facts import Layer, ModelFacts

if TYPE_CHECKING:
    import torch

# Modules of torch's that hold others: their parts are drawn.
_HOLDERS = ("Sequential", "ModuleList", "ModuleDict", "Transformer")
# What only hands a tensor on, and what speaks of sizes.
_PASSES = ("alias", "detach", "contiguous", "clone", "lift_fresh_copy", "dropout", "_assert_tensor_metadata", "to")
_SIZES = ("sym_size", "sym_constrain", "_assert_scalar", "ge", "le", "gt", "lt", "eq", "sym_numel")


def program_architecture(path: Path, facts: ModelFacts) -> Architecture:
    """Return the architecture of a program, whose layers with weights `facts` lists."""
    program, _ = program_module(path)
    drawn = _Reading(program, facts).architecture(path.name)
    if len(drawn.outputs) != len(facts.outputs):
        return drawn
    return renamed(drawn, dict(zip(drawn.outputs, (spec.name for spec in facts.outputs), strict=True)))


@dataclass(frozen=True)
class _Run:
    """Nodes that run one after the other: the call of a layer of torch's own, or one operation outside such."""

    nodes: tuple[Any, ...]
    path: tuple[tuple[str, str], ...]  # the modules that it stands in, each with its class; of a layer itself the last
    layer: bool


class _Reading:
    """A program as it is read: its weights by name, and what each tensor is once it was only handed on."""

    def __init__(self, program: "torch.export.ExportedProgram", facts: ModelFacts) -> None:
        from titrant.runtime.inspect.torch_forward import counter

        self.program = program
        self.rows = rows_of(program)
        self.registry: Mapping[Any, Any] = counter().flop_registry
        signature = program.graph_signature
        held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        held |= signature.inputs_to_lifted_tensor_constants
        self.held: dict[str, str] = {str(name): str(target) for name, target in held.items()}
        self.layers: dict[str, Layer] = {layer.name: layer for layer in facts.layers}
        self.counted: dict[str, str] = {}  # layer → the operation that counts its weights
        self.kinds: dict[str, str] = {}
        self.past: dict[str, str] = {}

    def architecture(self, name: str) -> Architecture:
        """Return the architecture."""
        signature = self.program.graph_signature
        taken = tuple(str(each) for each in signature.user_inputs if str(each) not in self.held)
        given = [str(each) for each in signature.user_outputs]
        runs = list(_runs(self.program.graph.nodes))
        readers: dict[str, set[int]] = defaultdict(set)
        for place, run in enumerate(runs):
            for node in run.nodes:
                for source in node.all_input_nodes:
                    readers[source.name].add(place)
        operations: list[Operation] = []
        for place, run in enumerate(runs):
            left = [node for node in run.nodes if readers[node.name] - {place} or node.name in given]
            operations += self._operation(run, [name for node in left for name in _tensors(node, run)])
        outputs = tuple(dict.fromkeys(self.past.get(each, each) for each in given))
        values = {node.name: node.meta.get("val") for node in self.program.graph.nodes if node.name not in self.held}
        values = {each: value for each, value in values.items() if hasattr(value, "shape")}
        dtypes = {each: str(values[each].dtype).removeprefix("torch.") for each in (*taken, *outputs) if each in values}
        shapes = {each: self._shape(value) for each, value in values.items()}
        return Architecture(name, tuple(operations), shapes, taken, outputs, self.kinds, dtypes)

    def _operation(self, run: _Run, made: list[str]) -> Iterator[Operation]:
        inside = {node.name for node in run.nodes}
        sources = [source for node in run.nodes for source in node.all_input_nodes if source.name not in inside]
        read = dict.fromkeys(self.past.get(each.name, each.name) for each in sources if self._flows(each))
        owners = dict.fromkeys(self.held[each.name].rpartition(".")[0] for each in sources if each.name in self.held)
        label = run.path[-1][1] if run.layer else _label(run.nodes[-1])
        if not read or not made or label in ("getitem", *_SIZES):
            return
        if label in _PASSES and not owners:
            self.past |= dict.fromkeys(made, next(iter(read)))
            return
        name = ".".join(_blocks(run.path)) if run.layer else run.nodes[-1].name
        fresh = [owner for owner in owners if owner in self.layers and owner not in self.counted]
        shared = next((self.counted[owner] for owner in owners if owner in self.counted), "")
        self.counted |= dict.fromkeys(fresh, name)
        around = run.path[:-1] if run.layer else run.path
        for depth in range(len(around)):
            self.kinds[".".join(_blocks(around[: depth + 1]))] = around[depth][1]
        layers = [self.layers[owner] for owner in owners if owner in self.layers]
        precision = next((layer.dtype for layer in layers if layer.dtype), "")
        details = (weight_detail(layer.type or label, layer.weight_shape, layer.groups) for layer in layers)
        flops = sum(map(self._flops, run.nodes)) // self.rows
        yield Operation(
            name, label, _blocks(around), tuple(read), tuple(made), sum(self.layers[each].parameters for each in fresh),
            flops or None, precision, is_low_bit(precision), next(filter(None, details), ""), "" if fresh else shared,
        )  # fmt: skip

    def _flows(self, node: Any) -> bool:
        value = node.meta.get("val")
        return node.name not in self.held and hasattr(value, "shape")

    def _flops(self, node: Any) -> int:
        from torch.utils._pytree import tree_map

        packet = getattr(node.target, "_overloadpacket", None)
        count = self.registry.get(packet)
        if count is None and _label(node) in (
            "linear",
            "conv1d",
            "conv2d",
            "conv3d",
            "matmul",
            "scaled_dot_product_attention",
        ):
            return _composite_flops(
                _label(node), [getattr(each, "meta", {}).get("val") for each in node.args], node.meta.get("val")
            )
        if count is None:
            return 0
        value = tree_map(lambda each: each.meta["val"] if hasattr(each, "meta") else each, (node.args, node.kwargs))
        try:
            return int(count(*value[0], **value[1], out_val=node.meta["val"]))
        except (TypeError, AttributeError, KeyError, AssertionError):
            return 0

    def _shape(self, value: Any) -> tuple[int | str, ...]:
        sizes = [int(size) if isinstance(size, int) else "batch" for size in value.shape]
        if sizes and (sizes[0] == self.rows or isinstance(sizes[0], str)):
            sizes[0] = "batch"
        return tuple(sizes)


def _runs(nodes: Any) -> Iterator[_Run]:
    placed = []
    for index, node in enumerate(each for each in nodes if each.op == "call_function"):
        stack = [(str(key), str(path), str(kind)) for key, (path, kind) in _stack(node).items()]
        path = tuple((_numbered(key, path), kind.rpartition(".")[2]) for key, path, kind in stack if path)
        kind = stack[-1][2] if path else ""
        layer = kind.startswith(("torch.nn.", "torch.ao.")) and not kind.rpartition(".")[2].startswith(_HOLDERS)
        placed.append((stack[-1][0] if layer else index, path, layer, node))
    for _, group in groupby(placed, key=lambda each: each[0]):
        members = list(group)
        yield _Run(tuple(each[3] for each in members), members[0][1], members[0][2])


def _stack(node: Any) -> Mapping[Any, Any]:
    return node.meta.get("nn_module_stack") or {}


def _tensors(node: Any, run: _Run) -> list[str]:
    """Return the tensors that a node makes: its own, or those that are taken out of its tuple."""
    value = node.meta.get("val")
    if hasattr(value, "shape"):
        return [node.name]
    if isinstance(value, list | tuple):
        return [user.name for user in node.users if _label(user) == "getitem" and user not in run.nodes]
    return []


def _composite_flops(label: str, values: list[Any], out: Any) -> int:
    """Count the products of an operation that torch has not taken apart, two FLOPs per multiply-add."""
    import math

    if label == "scaled_dot_product_attention":
        query, key, value = (each.shape for each in values[:3])
        return 2 * math.prod(map(int, query[:-1])) * int(key[-2]) * (int(query[-1]) + int(value[-1]))
    if values[1] is None or not hasattr(out, "shape"):
        return 0
    shape = [int(size) for size in values[1].shape]
    each = (
        shape[-1] if label == "linear" else shape[-2] if label == "matmul" and len(shape) > 1 else math.prod(shape[1:])
    )
    return 2 * math.prod(map(int, out.shape)) * each


def _blocks(path: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Return nested paths as the names of blocks, each without what stands above it."""
    names: list[str] = []
    above = ""
    for full, _ in path:
        inner = full[len(above) + 1 :] if above and full.startswith(f"{above}.") else full
        names += inner.split(".") if inner else []
        above = full
    return tuple(names)


def _numbered(key: str, path: str) -> str:
    """Return a module's path, with " (2)" at the second call of it, as torch numbers calls."""
    number = key.rpartition("@")[2] if "@" in key else ""
    return f"{path} ({int(number) + 1})" if number.isdigit() else path


def _label(node: Any) -> str:
    packet = getattr(node.target, "_overloadpacket", None)
    name = str(getattr(packet, "__name__", None) or getattr(node.target, "__name__", node.target))
    return name.strip("_")
