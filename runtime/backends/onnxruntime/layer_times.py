"""Time the nodes that onnxruntime runs by its own profiler, and tell which layers of the original they compute."""

import json
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.executed import precision_of
from titrant.runtime.backends.onnxruntime.layer_names import (
    GraphNames,
    called_layer,
    layers_by_node,
    module_called,
    same_nodes,
    spellings,
)
from titrant.runtime.backends.onnxruntime.session import OnnxSession, load
from titrant.runtime.backends.profile import (
    WARM,
    EngineProfile,
    LayerSpan,
    TimedLayer,
    in_turns,
    uncollected,
    undisturbed,
)
from titrant.runtime.backends.session import adapted

if TYPE_CHECKING:
    import numpy as np

    from titrant.runtime.values import OnnxModel

_KERNEL, _RUN = "_kernel_time", "model_run"
_MICROSECOND = 1e-6
# What onnxruntime itself puts between nodes, to bring numbers into another order or format.
_BETWEEN = (
    "ReorderInput", "ReorderOutput", "Cast", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MemcpyToHost",
    "MemcpyFromHost",
)  # fmt: skip
# What multiplies computed arrays or constants: a layer, whoever calls it.
_MULTIPLY = (
    "Attention", "Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul", "MultiHeadAttention", "QLinearConv", "QLinearMatMul",
    "MatMulInteger", "ConvInteger",
)  # fmt: skip
_FORMATS = {"float": "fp32", "float16": "fp16", "bfloat16": "bf16", "double": "fp64", "uint8": "int8", "int8": "int8"}


def profile_nodes(
    model: "OnnxModel",
    inputs: "Mapping[str, np.ndarray]",
    *,
    threads: int = 1,
    device: str = "cpu",
    layers: Collection[str] = (),
    seconds: float = 1.0,
) -> EngineProfile:
    """Run a batch with and without onnxruntime's profiler, and add its nodes up by the layers that they compute.

    What is fused counts for the first layer with weights in it; what onnxruntime adds itself is no layer. Raises
    StepError X212 for a file that it cannot load, X220 for a device that it was not built for.
    """
    written = onnx.load(model.path, load_external_data=False).graph
    with tempfile.TemporaryDirectory(prefix="titrant-") as folder:
        optimized = Path(folder) / "optimized.onnx"
        prefix = Path(folder) / "profile"
        plain = adapted(OnnxSession(load(model.path, threads=threads, device=device)))
        loaded = load(model.path, threads=threads, device=device, written_to=optimized, profiled_to=prefix)
        watched = adapted(OnnxSession(loaded))
        turns = in_turns(partial(plain.run, inputs), partial(watched.run, inputs), seconds)
        text = Path(loaded.end_profiling()).read_text("utf-8")
        with uncollected():  # tens of thousands of small dictionaries, none of them in a circle
            runs = list(_batches(json.loads(text), WARM + turns.runs))[WARM:]
        ran = onnx.load(optimized, load_external_data=False).graph
    names = Computed.of(ran, written, layers)
    inside = [sum(node.own for node in batch.nodes) for batch in runs]
    return turns.profile(tuple(_added_up(names, runs)), inside, tuple(_spans(names, runs[-1])))


@dataclass
class _Node:
    """What the profiler says of one run of a node: when it began and how long it took, in seconds; `own` is without
    the nodes inside it."""

    name: str
    operator: str
    begin: float
    seconds: float
    own: float
    read_bytes: int
    answer_bytes: int
    answer: str


@dataclass
class _Batch:
    """The nodes of a batch, and the seconds from its beginning to its end."""

    begin: float
    seconds: float = 0.0
    nodes: list[_Node] = field(default_factory=list)


def _batches(events: "Sequence[Mapping[str, Any]]", count: int) -> Iterator[_Batch]:
    """Yield the batches of a profile: each is one run of the session or, of a file of a fixed size, several."""
    runs = [event for event in events if event["name"] == _RUN]
    pieces = max(len(runs) // count, 1)
    nodes = [event for event in events if event["cat"] == "Node" and str(event["name"]).endswith(_KERNEL)]
    place = 0
    for first in range(0, len(runs) - pieces + 1, pieces):
        last = runs[first + pieces - 1]
        begin, end = int(runs[first]["ts"]), int(last["ts"]) + int(last["dur"])
        batch = _Batch(begin * _MICROSECOND, (end - begin) * _MICROSECOND)
        while place < len(nodes) and int(nodes[place]["ts"]) < end:
            batch.nodes.append(_node(nodes[place]))
            place += 1
        batch.nodes.sort(key=lambda node: (node.begin, -node.seconds))
        _without_inner(batch.nodes)
        yield batch


def _node(event: Mapping[str, Any]) -> _Node:
    said, seconds = event["args"], int(event["dur"]) * _MICROSECOND
    formats = [kind for answer in said.get("output_type_shape") or () for kind in answer]
    return _Node(
        str(event["name"]).removesuffix(_KERNEL),
        str(said.get("op_name", "")),
        int(event["ts"]) * _MICROSECOND,
        seconds,
        seconds,
        int(said.get("activation_size") or 0),
        int(said.get("output_size") or 0),
        _FORMATS.get(formats[0], "") if formats else "",
    )


def _without_inner(nodes: Sequence[_Node]) -> None:
    """Take from a branch or loop what the nodes inside it took."""
    around: list[_Node] = []
    for node in nodes:
        while around and node.begin >= around[-1].begin + around[-1].seconds:
            around.pop()
        if around and node.begin + node.seconds <= around[-1].begin + around[-1].seconds:
            around[-1].own -= node.seconds
        around.append(node)


@dataclass(frozen=True)
class Computed:
    """What each node of the optimized graph computes: a layer of the original, nodes of the file, in which precision.

    `layers` has the first layer of each, "" for what is none, `joined` the others, `parts` the file's nodes.
    """

    layers: Mapping[str, str]
    joined: Mapping[str, tuple[str, ...]]
    parts: Mapping[str, tuple[str, ...]]
    kinds: Mapping[str, str]  # layer → the operator of the file's node that multiplies, else the first one's
    precisions: Mapping[str, str]  # of nodes with weights

    @classmethod
    def of(cls, ran: onnx.GraphProto, written: onnx.GraphProto, layers: Collection[str]) -> "Computed":
        """Follow the nodes of a file into what the engine made of them.

        A node that is not there any more lies in the one whose answer is the next that both graphs have.
        """
        engine, file = GraphNames.of(ran), GraphNames.of(written)
        same = same_nodes(ran, written)
        owners = _makers(engine, file, same)
        of_node = _layers_of_nodes(file, layers_by_node(written, layers, inside=True), layers)
        parts: dict[str, list[str]] = {}
        for node in file.nodes:
            if not _is_constant(file, node) and (owner := _owner(node, file, owners)):
                parts.setdefault(owner, []).append(node)
        named: dict[str, list[str]] = {}
        for owner, nodes in parts.items():
            for node in sorted(nodes, key=lambda node: (node not in file.weights, not _multiplies(file, node))):
                layer = of_node.get(node, "")
                if layer and layer not in named.setdefault(owner, []):
                    named[owner].append(layer)
        telling = sorted(of_node, key=lambda node: (node in file.weights, _multiplies(file, node)))
        kinds = {of_node[node]: file.nodes[node].op_type for node in telling}
        return cls(
            {owner: layer[0] for owner, layer in named.items() if layer},
            {owner: tuple(layer[1:]) for owner, layer in named.items()},
            {owner: tuple(nodes) for owner, nodes in parts.items()},
            kinds,
            {name: precision_of(engine, name, file, same) for name in engine.weights},
        )


def _layers_of_nodes(file: GraphNames, heavy: Mapping[str, str], layers: Collection[str]) -> dict[str, str]:
    """Return {node of the file: layer}; a module whose own code multiplies is a layer, with all that it calls itself."""
    named = {node: heavy.get(node) or called_layer(node, layers) for node in file.nodes}
    unnamed = [node for node, layer in named.items() if not layer]
    own = {module_called(node) or node for node in unnamed if _multiplies(file, node)}
    return {node: layer for node, layer in named.items() if layer} | {
        node: name for node in unnamed for name in (module_called(node) or node,) if name in own
    }


def _multiplies(file: GraphNames, node: str) -> bool:
    return file.nodes[node].op_type in _MULTIPLY


def _is_constant(file: GraphNames, node: str) -> bool:
    """Whether a node is made of constants alone, and so computed once."""
    return all(not name or name in file.constants for name in file.nodes[node].input)


def _makers(engine: GraphNames, file: GraphNames, same: Mapping[str, str]) -> dict[str, str]:
    """Return {node of the file: node of the optimized graph} of those whose own answer, or product, is still there."""
    owners = {node: name for name, node in same.items()}
    for between in (False, True):  # what only moves an answer on has its name, too
        for tensor, maker in engine.makers.items():
            if (engine.nodes[maker].op_type in _BETWEEN) is between:
                node = next((file.makers[name] for name in spellings(tensor) if name in file.makers), "")
                if node:
                    owners.setdefault(node, maker)
    return owners


def _owner(node: str, file: GraphNames, owners: Mapping[str, str]) -> str:
    """Return the engine's node that a node of the file is, or lies in; "" for one that was folded away."""
    waiting, seen = [node], {node}
    while waiting:
        at = waiting.pop(0)
        if at in owners:
            return owners[at]
        for tensor in file.nodes[at].output:
            for reader in file.readers.get(tensor, ()):
                if reader not in seen:
                    seen.add(reader)
                    waiting.append(reader)
    return ""


def _added_up(names: Computed, runs: Sequence[_Batch]) -> Iterator[TimedLayer]:
    """Yield a layer for each that nodes compute, then what is none, in the order in which they run first."""
    taken: dict[str, list[float]] = {}
    nodes: dict[str, dict[str, _Node]] = {}
    calls: dict[str, int] = {}
    for place, batch in enumerate(runs):
        for node in batch.nodes:
            taken.setdefault(node.name, [0.0] * len(runs))[place] += node.own
    for node in runs[-1].nodes:
        layer = names.layers.get(node.name, "")
        nodes.setdefault(layer, {})[node.name] = node
        calls[layer] = calls.get(layer, 0) + 1
    for layer in (*(name for name in nodes if name), *(name for name in nodes if not name)):
        own = nodes[layer]
        products = [names.precisions[name] for name in own if names.precisions.get(name)]
        answer = list(own.values())[-1].answer if layer else ""
        yield TimedLayer(
            name=layer,
            kind=names.kinds.get(layer, ""),
            engine_op=", ".join(dict.fromkeys(node.operator for node in own.values())),
            precision=products[0] if products else answer,
            seconds=sum(undisturbed(taken[name]) for name in own),
            calls=calls[layer],
            read_bytes=sum(node.read_bytes for node in own.values()),
            answer_bytes=sum(node.answer_bytes for node in own.values()),
            parts=tuple(part for name in own for part in names.parts.get(name, ())),
            joined=tuple(dict.fromkeys(other for name in own for other in names.joined.get(name, ()))),
        )


def _spans(names: Computed, batch: _Batch) -> Iterator[LayerSpan]:
    yield LayerSpan("", _RUN, 0.0, batch.seconds)
    for node in batch.nodes:
        layer = names.layers.get(node.name, "")
        yield LayerSpan(layer or node.name, node.operator, node.begin - batch.begin, node.seconds)
