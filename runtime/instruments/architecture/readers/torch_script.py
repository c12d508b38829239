"""Read the architecture of a TorchScript file: its graph with every call written out, branches and loops as one box."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from titrant.runtime.backends.torch.program.original import read_script
from titrant.runtime.instruments.architecture.architecture import (
    Architecture,
    Operation,
    is_low_bit,
    of_layers,
    renamed,
)
from titrant.runtime.instruments.architecture.names import filled, weight_detail
from titrant.schema.facts import Layer, ModelFacts

# What hands a tensor on as it is, and what is no call of an operation.
_PASSES = ("aten::contiguous", "aten::detach", "aten::dropout", "aten::to", "aten::clone", "prim::unchecked_cast")
_CONTROL = {"prim::If": "If", "prim::Loop": "Loop"}


def script_architecture(path: Path, facts: ModelFacts) -> Architecture:
    """Return the architecture of a script, whose layers with weights `facts` lists; shapes are not in the file.

    A script whose graph names none of its layers is drawn by its modules alone.
    """
    script = read_script(path)
    reading = _Reading(script.inlined_graph, facts)
    operations = list(reading.operations())
    if not operations:
        return of_layers(path.name, facts.layers, ("no operation was found in its graph",))
    note = "the file does not say the shapes between its layers"
    inputs = tuple(item.debugName() for item in list(script.inlined_graph.inputs())[1:] if _is_tensor(item))
    outputs = tuple(reading.past.get(name, name) for name in reading.given())
    specs = {spec.name: spec for spec in facts.inputs}
    names = dict(zip(inputs, facts.inputs, strict=False)) if len(inputs) == len(specs) else {}
    drawn = Architecture(
        path.name, tuple(operations), {name: spec.shape for name, spec in names.items()}, inputs,
        tuple(dict.fromkeys(outputs)), reading.kinds(script), {name: spec.dtype for name, spec in names.items()},
        notes=(note,),
    )  # fmt: skip
    ends = dict(zip(drawn.inputs, specs, strict=False)) if names else {}
    if len(facts.outputs) == len(drawn.outputs):
        ends |= dict(zip(drawn.outputs, (spec.name for spec in facts.outputs), strict=True))
        shapes = {name: spec.shape for name, spec in zip(drawn.outputs, facts.outputs, strict=True)}
        drawn = replace(drawn, shapes={**drawn.shapes, **shapes})
    return renamed(drawn, ends)


class _Reading:
    """A graph as it is read: what each value is once it was only handed on, and the layers not yet counted."""

    def __init__(self, graph: Any, facts: ModelFacts) -> None:
        self.graph = graph
        self.past: dict[str, str] = {}
        self.layers: dict[str, Layer] = {layer.name: layer for layer in facts.layers}
        self._counted: dict[str, str] = {}
        self._owners: dict[str, str] = {}
        self._lists: dict[str, tuple[str, ...]] = {}

    def given(self) -> Iterator[str]:
        """Yield the tensors that the graph returns."""
        for item in self.graph.outputs():
            yield from self._lists.get(item.debugName(), (item.debugName(),))

    def operations(self) -> Iterator[Operation]:
        """Yield what the graph does, in order; an operation without weights stands in the block around it."""
        read = [each for node in self.graph.nodes() if (each := self._read(node)) is not None]
        paths = filled([path for _, path in read])
        for (operation, path), block in zip(read, paths, strict=True):
            if path is not None or not block:
                yield operation
            else:
                yield Operation(
                    operation.name, operation.kind, block, operation.inputs, operation.outputs, operation.parameters,
                    operation.flops, operation.precision, operation.quantized, operation.detail, operation.shared_with,
                )  # fmt: skip

    def _read(self, node: Any) -> tuple[Operation, tuple[str, ...] | None] | None:
        kind = node.kind()
        outputs = [item.debugName() for item in node.outputs()]
        if kind == "prim::GetAttr":
            base = self._owners.get(next(iter(node.inputs())).debugName(), "")
            name = node.s("name")
            self._owners[outputs[0]] = f"{base}.{name}" if base else name
            return None
        if kind in ("prim::ListConstruct", "prim::TupleConstruct", "prim::DictConstruct"):
            self._lists[outputs[0]] = tuple(name for item in node.inputs() for name in self._names(item))
            return None
        if kind in ("prim::ListUnpack", "prim::TupleUnpack"):
            self._unpacked(node, outputs)
            return None
        if kind == "prim::Constant" or (kind.startswith("prim::") and kind not in _CONTROL):
            return None
        sources = dict.fromkeys(name for item in _read_by(node) for name in self._names(item))
        held = [self._owners[item.debugName()] for item in _read_by(node) if item.debugName() in self._owners]
        if not any(_is_tensor(item) or "Tensor" in str(item.type()) for item in node.outputs()):
            return None
        if kind in _PASSES and sources:
            self.past |= dict.fromkeys(outputs, next(iter(sources)))
            return None
        return self._made(node, tuple(sources), [each.rpartition(".")[0] for each in held], outputs)

    def _made(
        self, node: Any, sources: tuple[str, ...], owners: list[str], outputs: list[str]
    ) -> tuple[Operation, tuple[str, ...] | None]:
        kind = _CONTROL.get(node.kind(), node.kind().rpartition("::")[2].strip("_"))
        owner = next((each for each in owners if each in self.layers), "")
        fresh = [each for each in dict.fromkeys(owners) if each in self.layers and each not in self._counted]
        name = owner or outputs[0]
        shared = "" if fresh or not owner else self._counted[owner]
        self._counted |= dict.fromkeys(fresh, name)
        layer = self.layers.get(owner)
        path = tuple(owner.split(".")[:-1]) if owner else None
        detail = weight_detail(layer.type, layer.weight_shape, layer.groups) if layer is not None else ""
        if kind in _CONTROL.values():
            count = sum(1 for block in node.blocks() for _ in block.nodes())
            detail = f"{count} nodes"
        operation = Operation(
            name if not shared else f"{name} ({outputs[0]})",
            layer.type if layer is not None and kind not in _CONTROL.values() else kind,
            path or (), sources, tuple(outputs), sum(self.layers[each].parameters for each in fresh), None,
            layer.dtype if layer is not None else "", layer is not None and is_low_bit(layer.dtype), detail, shared,
        )  # fmt: skip
        return operation, path

    def _unpacked(self, node: Any, outputs: list[str]) -> None:
        source = next(iter(node.inputs())).debugName()
        members = self._lists.get(source)
        if members is not None and len(members) == len(outputs):
            self.past |= {name: self.past.get(member, member) for name, member in zip(outputs, members, strict=True)}
        else:
            first = self.past.get(source, source)
            self.past |= dict.fromkeys(outputs, first)

    def _names(self, item: Any) -> tuple[str, ...]:
        name = item.debugName()
        if name in self._owners:
            return ()
        if name in self._lists:
            return tuple(self.past.get(each, each) for each in self._lists[name])
        return (self.past.get(name, name),) if _is_tensor(item) or "Tensor" in str(item.type()) else ()

    def kinds(self, script: Any) -> Mapping[str, str]:
        """Return the classes of the script's modules by their names."""
        return {name: part.original_name for name, part in script.named_modules() if name}


def _read_by(node: Any) -> list[Any]:
    """Return what a node reads, and what its branches and loops read of the graph around them."""
    read = list(node.inputs())
    for block in node.blocks():
        for inner in block.nodes():
            read += _read_by(inner)
    return read


def _is_tensor(item: Any) -> bool:
    return bool(item.type().kind() == "TensorType")
