"""Time the nodes that onnxruntime runs by its own profiler, and add them up by layers of the original."""

import json
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
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
    without_profiler,
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
    taken = _taken(runs)
    whole = undisturbed(turns.cpu if threads == 1 and device == "cpu" else turns.plain)
    alone, notes = without_profiler(taken, whole, "onnxruntime's profiler")
    # While it is profiled, most of what lies between nodes is the profiler's writing: the rest is told by difference.
    between = whole - sum(alone.values())
    profile = turns.profile(tuple(_added_up(names, runs[-1], alone)), between, tuple(_spans(names, runs[-1])))
    return replace(profile, notes=notes)


def _taken(runs: Sequence[ProfiledBatch]) -> dict[str, tuple[float, int]]:
    """Return the seconds of each node in a batch, and how often it runs in one."""
    seconds: dict[str, list[float]] = {}
    for place, batch in enumerate(runs):
        for node in batch.nodes:
            seconds.setdefault(node.name, [0.0] * len(runs))[place] += node.own
    calls = Counter(node.name for node in runs[-1].nodes)
    return {name: (undisturbed(values), calls[name]) for name, values in seconds.items()}


def _added_up(names: ComputedNodes, batch: ProfiledBatch, seconds: Mapping[str, float]) -> Iterator[TimedLayer]:
    """Yield a layer for each that nodes compute, then what is none, in the order in which they run first."""
    nodes: dict[str, list[ProfiledNode]] = {}
    for node in batch.nodes:
        nodes.setdefault(names.layers.get(node.name, ""), []).append(node)
    for layer in (*(name for name in nodes if name), *(name for name in nodes if not name)):
        own = list(dict.fromkeys(node.name for node in nodes[layer]))
        products = [names.precisions[name] for name in own if names.precisions.get(name)]
        answer = nodes[layer][-1].answer if layer else ""
        yield TimedLayer(
            name=layer,
            kind=names.kinds.get(layer, ""),
            engine_op=", ".join(dict.fromkeys(node.operator for node in nodes[layer])),
            precision=products[0] if products else answer,
            seconds=sum(seconds[name] for name in own),
            calls=len(nodes[layer]),
            read_bytes=sum(node.read_bytes for node in nodes[layer]),
            answer_bytes=sum(node.answer_bytes for node in nodes[layer]),
            parts=tuple(part for name in own for part in names.parts.get(name, ())),
            joined=tuple(dict.fromkeys(other for name in own for other in names.joined.get(name, ()))),
        )


def _spans(names: ComputedNodes, batch: ProfiledBatch) -> Iterator[LayerSpan]:
    yield LayerSpan("", RUN, 0.0, batch.seconds)
    for node in batch.nodes:
        layer = names.layers.get(node.name, "")
        yield LayerSpan(layer or node.name, node.operator, node.begin - batch.begin, node.seconds)
