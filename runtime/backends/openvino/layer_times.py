"""Time the operations that OpenVINO runs by its own counters, and tell which layers of the original they compute."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends.openvino.counts import static_graph
from titrant.runtime.backends.openvino.executed import (
    layers_in,
    originals_of,
    precisions_of,
    products_of,
    said,
)
from titrant.runtime.backends.openvino.ir import IrModel, about, precision_of, read
from titrant.runtime.backends.openvino.library import compiled
from titrant.runtime.backends.openvino.names import MULTIPLY, NO_NODES, layers_of, node_of
from titrant.runtime.backends.openvino.session import IrSession
from titrant.runtime.backends.profile import (
    WARM,
    EngineProfile,
    LayerSpan,
    TimedLayer,
    in_turns,
    undisturbed,
    without_profiler,
)
from titrant.runtime.backends.session import adapted

if TYPE_CHECKING:
    import numpy as np
    import openvino

_FORMATS = {
    "f64": "fp64", "f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8", "u8": "int8", "i4": "int4", "u4": "int4",
}  # fmt: skip
# What multiplies: a layer, whoever calls it.
_MULTIPLY = (*MULTIPLY, "ScaledDotProductAttention", "Einsum")
_CONSTANT = "Constant"
_RUN = "infer"


def profile_operations(
    model: IrModel,
    inputs: "Mapping[str, np.ndarray]",
    *,
    threads: int = 1,
    device: str = "cpu",
    layers: Collection[str] = (),
    seconds: float = 1.0,
) -> EngineProfile:
    """Run a batch with and without OpenVINO's counters, and add its operations up by the layers that they compute.

    What brings numbers into another order or format between them is no layer. Raises StepError X212 for a file that
    OpenVINO cannot load, X220 for a device other than the processor.
    """
    from titrant.runtime.backends.openvino.session import open_session

    graph = read(model)
    plain = adapted(open_session(model, threads=threads, device=device))
    counting = compiled(graph, model.path.name, precision=precision_of(graph), threads=threads, counting=True)
    watched = IrSession(graph, counting)
    session = adapted(watched)
    said_after: dict[int, MeanSeconds] = {}
    count = 0

    def profiled() -> None:
        nonlocal count
        session.run(inputs)
        count += 1
        if count == WARM:
            said_after[count] = _counted(watched.request)

    turns = in_turns(partial(plain.run, inputs), profiled, seconds)
    said_after[count] = _counted(watched.request)
    wholes = turns.profiled_cpu if threads == 1 else turns.profiled
    kept = min(undisturbed(wholes) * turns.runs / sum(turns.profiled), 1.0)
    names = ComputedOperations.of(counting.get_runtime_model(), graph, layers, about(graph).weights)
    every = _since_warm(said_after[WARM], said_after[count], count, kept)
    # Nothing is told of what takes less than a microsecond by the mean, nor of what does not run; layers do.
    operations = tuple(each for each in every if said_after[count][each.key] or each.name in names.products)
    by_cpu = threads == 1 and device == "cpu"
    whole = undisturbed(turns.cpu if by_cpu else turns.plain)
    taken = {str(place): (each.seconds, 1) for place, each in enumerate(operations)}
    alone, notes = without_profiler(taken, whole, "OpenVINO")
    operations = tuple(replace(each, seconds=alone[str(place)]) for place, each in enumerate(operations))
    inside = sum(operation.seconds for operation in operations)
    rows = _added_up(names, operations, _bytes(model, inputs))
    profile = turns.profile(tuple(rows), turns.gaps([inside] * turns.runs, wholes), tuple(_spans(names, operations)))
    return replace(profile, told_when=False, notes=notes)


@dataclass(frozen=True)
class _Operation:
    """What one operation of a batch takes."""

    name: str
    kind: str
    seconds: float

    @property
    def key(self) -> tuple[str, str]:
        """What OpenVINO tells it by."""
        return self.name, self.kind


# (name, kind) → mean seconds of all batches so far, in the order in which they run.
MeanSeconds = Mapping[tuple[str, str], float]


def _counted(request: "openvino.InferRequest") -> MeanSeconds:
    return {(info.node_name, info.node_type): info.real_time.total_seconds() for info in request.profiling_info}


def _since_warm(warm: MeanSeconds, all_runs: MeanSeconds, count: int, kept: float) -> tuple[_Operation, ...]:
    """Return the operations with the share of their mean seconds since the clock counts that they had the processor.

    OpenVINO tells the mean of all batches, in whole microseconds. Whoever else takes the processor takes it from all
    operations in proportion, so that one share holds for all.
    """
    counting = count - WARM
    return tuple(
        _Operation(*key, max((mean * count - (warm.get(key) or mean) * WARM) / counting, 0.0) * kept)
        for key, mean in all_runs.items()
    )


@dataclass(frozen=True)
class ComputedOperations:
    """What each operation of the compiled graph computes: layers of the original, operations of the file.

    `layers` has the first layer of each, "" for what is none, `joined` the others, `parts` the file's operations.
    """

    layers: Mapping[str, str]
    joined: Mapping[str, tuple[str, ...]]
    parts: Mapping[str, tuple[str, ...]]
    kinds: Mapping[str, str]  # layer → the file's operation that multiplies, else the first one's
    precisions: Mapping[str, str]
    products: frozenset[str]  # operations of the compiled graph with weights
    order: Mapping[str, int]  # of the file's operations

    @classmethod
    def of(
        cls, runs: "openvino.Model", graph: "openvino.Model", layers: Collection[str], weights: Mapping[str, str]
    ) -> "ComputedOperations":
        """Follow the operations of a file into what OpenVINO compiled them to, by the names that it notes."""
        heavy = dict(precisions_of(runs))
        originals = originals_of(heavy, graph)
        named_ops = {operation.get_friendly_name(): operation.get_type_name() for operation in graph.get_ordered_ops()}
        file = {name: kind for name, kind in named_ops.items() if kind not in NO_NODES}
        every: dict[str, list[str]] = {}
        for operation in runs.get_ordered_ops():
            noted = originals.get(operation) or said(operation, "originalLayersNames").split(",")
            every[operation.get_friendly_name()] = [name for name in dict.fromkeys(noted) if name in file]
        _add_hidden(every, graph)
        named = {name for names in every.values() for name in names}
        of_layer, products = layers_of(named, layers, weights), products_of(graph)
        of_layer |= _called(named, file, of_layer, layers)
        for names in every.values():
            names.sort(key=lambda name: file[name] not in _MULTIPLY)
        computed = {
            name: [layer for layer in layers_in(names, of_layer, products) if layer] for name, names in every.items()
        }
        others = {
            name: tuple(
                dict.fromkeys(
                    of_layer[part] for part in names if part in of_layer and of_layer[part] not in computed[name]
                )
            )
            for name, names in every.items()
        }
        telling = sorted(
            of_layer, key=lambda name: (name in products, file[name] in _MULTIPLY and file[name] != "Gather")
        )
        precisions = {
            operation.get_friendly_name(): heavy.get(operation) or _FORMATS.get(said(operation, "runtimePrecision"), "")
            for operation in runs.get_ordered_ops()
        }
        return cls(
            {name: first[0] for name, first in computed.items() if first},
            {name: (*first[1:], *others[name]) for name, first in computed.items()},
            {name: tuple(names) for name, names in every.items()},
            {of_layer[name]: file[name] for name in telling},
            precisions,
            frozenset(operation.get_friendly_name() for operation in heavy),
            {name: place for place, name in enumerate(file)},
        )


def _add_hidden(every: Mapping[str, list[str]], graph: "openvino.Model") -> None:
    """Add to what each compiled operation computes those of the file that OpenVINO does not name: they lie before it.

    Such a one is computed by whatever computes the next of those that read its answer.
    """
    owner = {part: name for name, parts in every.items() for part in parts}
    for operation in reversed(graph.get_ordered_ops()):
        name = operation.get_friendly_name()
        if name in owner or operation.get_type_name() in NO_NODES:
            continue
        readers = (target.get_node() for port in operation.outputs() for target in port.get_target_inputs())
        computing = next((owner[at] for reader in readers if (at := reader.get_friendly_name()) in owner), "")
        if computing:
            owner[name] = computing
            every[computing].insert(0, name)


def _called(
    named: Collection[str], file: Mapping[str, str], of_layer: Mapping[str, str], layers: Collection[str]
) -> dict[str, str]:
    """Return {operation: layer} of those without weights; a module whose own code multiplies is a layer as well."""
    from titrant.runtime.backends.onnxruntime.layer_names import called_layer, module_called

    nodes = {name: node_of(name) for name in named if name not in of_layer}
    own_names = {name: layer for name, node in nodes.items() if (layer := called_layer(node, layers))}
    own = {
        module_called(node) or node for name, node in nodes.items() if name not in own_names and file[name] in _MULTIPLY
    }
    return own_names | {
        name: module
        for name, node in nodes.items()
        if name not in own_names and (module := module_called(node) or node) in own
    }


def _bytes(model: IrModel, inputs: "Mapping[str, np.ndarray]") -> dict[str, tuple[int, int]]:
    """Return the bytes that each operation of the file is given, without constants, and gives, in a batch."""
    graph = static_graph(model, inputs)
    sizes: dict[str, tuple[int, int]] = {}
    for operation in graph.get_ordered_ops():
        computed = [value for value in operation.input_values() if value.get_node().get_type_name() != _CONSTANT]
        sizes[operation.get_friendly_name()] = sum(map(_port, computed)), sum(map(_port, operation.outputs()))
    return sizes


def _port(port: Any) -> int:
    shape = port.get_partial_shape()
    return math.prod(shape.to_shape()) * port.get_element_type().size if shape.is_static else 0


def _added_up(
    names: ComputedOperations, operations: Sequence[_Operation], sizes: Mapping[str, tuple[int, int]]
) -> Iterator[TimedLayer]:
    """Yield a layer for each that operations compute, then what is none, in the order in which they run first."""
    by_layer: dict[str, list[_Operation]] = {}
    for operation in operations:
        by_layer.setdefault(names.layers.get(operation.name, ""), []).append(operation)
    for layer in (*(name for name in by_layer if name), *(name for name in by_layer if not name)):
        own = [operation.name for operation in by_layer[layer]]
        telling = [name for name in own if name in names.products] or own
        yield TimedLayer(
            name=layer,
            kind=names.kinds.get(layer, ""),
            engine_op=", ".join(dict.fromkeys(operation.kind for operation in by_layer[layer])),
            precision=names.precisions.get(telling[0], "") if layer else "",
            seconds=sum(operation.seconds for operation in by_layer[layer]),
            calls=len(own),
            read_bytes=sum(sizes[name][0] for name in _ends(names, own, 0) if name in sizes),
            answer_bytes=sum(sizes[name][1] for name in _ends(names, own, -1) if name in sizes),
            parts=tuple(part for name in own for part in names.parts.get(name, ())),
            joined=tuple(dict.fromkeys(other for name in own for other in names.joined.get(name, ()))),
        )


def _ends(names: ComputedOperations, own: Sequence[str], place: int) -> Iterator[str]:
    """Yield the first (0), or the last (-1), of the file's operations that each of some compiled ones computes."""
    for name in own:
        parts = names.parts.get(name, ())
        if parts:
            yield sorted(parts, key=names.order.__getitem__)[place]


def _spans(names: ComputedOperations, operations: Sequence[_Operation]) -> Iterator[LayerSpan]:
    yield LayerSpan("", _RUN, 0.0, sum(operation.seconds for operation in operations))
    begin = 0.0
    for operation in operations:
        yield LayerSpan(names.layers.get(operation.name, operation.name), operation.kind, begin, operation.seconds)
        begin += operation.seconds
