"""Time the nodes that onnxruntime runs by its own profiler, and add them up by layers of the original."""

import json
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import onnx  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.profile.computed import ComputedNodes
from titrant.runtime.backends.onnxruntime.profile.events import RUN, ProfiledBatch, ProfiledNode, batches
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
            runs = list(batches(json.loads(text), WARM + turns.runs))[WARM:]
        ran = onnx.load(optimized, load_external_data=False).graph
    names = ComputedNodes.of(ran, written, layers)
    inside = [sum(node.own for node in batch.nodes) for batch in runs]
    return turns.profile(tuple(_added_up(names, runs)), inside, tuple(_spans(names, runs[-1])))


def _added_up(names: ComputedNodes, runs: Sequence[ProfiledBatch]) -> Iterator[TimedLayer]:
    """Yield a layer for each that nodes compute, then what is none, in the order in which they run first."""
    taken: dict[str, list[float]] = {}
    nodes: dict[str, dict[str, ProfiledNode]] = {}
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


def _spans(names: ComputedNodes, batch: ProfiledBatch) -> Iterator[LayerSpan]:
    yield LayerSpan("", RUN, 0.0, batch.seconds)
    for node in batch.nodes:
        layer = names.layers.get(node.name, "")
        yield LayerSpan(layer or node.name, node.operator, node.begin - batch.begin, node.seconds)
