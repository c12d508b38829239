"""Time files of one network in turns, and read from onnxruntime's profiler what the nodes of each region take."""

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.layer_names import GraphNames, layers_by_node, same_nodes
from titrant.runtime.backends.onnxruntime.left_float import owners
from titrant.runtime.backends.onnxruntime.session import OnnxSession, load
from titrant.runtime.backends.profile import typical, uncollected
from titrant.runtime.backends.session import adapted
from titrant.runtime.mixture.pricing import BorderTensor

if TYPE_CHECKING:
    from titrant.runtime.backends.onnxruntime.titration.regions import Region
    from titrant.runtime.backends.session import Session
    from titrant.runtime.values import OnnxModel

# The clock of a process counts in steps that a run of a small network is not long against.
_BLOCK_SECONDS, _TRIAL_RUNS = 2e-3, 3
_LEAST_ROUNDS, _MOST_ROUNDS = 15, 150
# The profiler counts whole microseconds: the mean of many runs says more than that.
_LEAST_PROFILED, _MOST_PROFILED = 20, 100
_KERNEL = "_kernel_time"


def border_tensors(graph: onnx.ModelProto, regions: "Sequence[Region]") -> tuple[BorderTensor, ...]:
    """Return the tensors that one region makes and others read, in the graph's order.

    Of several that the same region makes and the same ones read, which are converted together, there is one.
    """
    names = GraphNames.of(graph.graph)
    region_of = {node: region.name for region in regions for node in region.nodes}
    borders = []
    for tensor, maker in names.makers.items():
        producer = region_of.get(maker)
        readers = [region_of.get(reader, "") for reader in names.readers.get(tensor, ())]
        consumers = tuple(name for name in dict.fromkeys(readers) if name and name != producer)
        if producer is not None and consumers:
            borders.append(BorderTensor(producer, consumers))
    return tuple(dict.fromkeys(borders))


def seconds_in_turns(
    sessions: "Mapping[str, Session]",
    batch: "Mapping[str, np.ndarray]",
    *,
    threads: int,
    seconds: float,
    generator: np.random.Generator,
) -> dict[str, float]:
    """Return the seconds that one batch takes in each session, run in turns for about `seconds` in all.

    In each round every session runs in a block of its own of at least 2 ms, in an order drawn anew, after one run off
    the clock. Rounds are compared, not sums: the answer is the median over the rounds of the ratio to their geometric
    mean, times the median of that. The clock is process CPU time, or wall time with several threads, which spend more
    of it the better they help each other.
    """
    clock = time.process_time if threads == 1 else time.perf_counter
    counts, first = {}, 0.0
    for name, session in sessions.items():
        session.run(batch)
        begin = clock()
        for _ in range(_TRIAL_RUNS):
            session.run(batch)
        took = max((clock() - begin) / _TRIAL_RUNS, 1e-6)
        counts[name] = max(1, round(_BLOCK_SECONDS / took))
        first += took * (counts[name] + 1)
    rounds = int(np.clip(seconds / first, _LEAST_ROUNDS, _MOST_ROUNDS))
    taken = np.empty((rounds, len(sessions)))
    every = list(sessions.items())
    with uncollected():  # a collection would be charged to whoever runs just then
        for turn in range(rounds):
            for place in generator.permutation(len(every)):
                name, session = every[place]
                session.run(batch)
                begin = clock()
                for _ in range(counts[name]):
                    session.run(batch)
                taken[turn, place] = (clock() - begin) / counts[name]
    logs = np.log(np.maximum(taken, 1e-9))
    together = logs.mean(axis=1)
    middle = np.median(logs - together[:, None], axis=0) + np.median(together)
    return {name: float(np.exp(value)) for (name, _), value in zip(every, middle, strict=True)}


def region_seconds(
    model: "OnnxModel",
    regions: "Sequence[Region]",
    batch: "Mapping[str, np.ndarray]",
    *,
    threads: int,
    once: float,
    seconds: float,
) -> dict[str, float]:
    """Return the seconds that the profiler counts for the nodes of each region, "" for those of none.

    `once` are the seconds of one run. A node of the engine's own graph counts for the layer that it computes, one
    without weights, as what converts numbers, for the last that its numbers are made of.
    """
    runs = int(np.clip(seconds / max(once, 1e-9), _LEAST_PROFILED, _MOST_PROFILED))
    with tempfile.TemporaryDirectory(prefix="titrant-") as folder:
        optimized = Path(folder) / "optimized.onnx"
        loaded = load(model.path, threads=threads, written_to=optimized, profiled_to=Path(folder) / "profile")
        session = adapted(OnnxSession(loaded))
        for _ in range(runs):
            session.run(batch)
        text = Path(loaded.end_profiling()).read_text("utf-8")
        with uncollected():  # tens of thousands of small dictionaries, none of them in a circle
            events = json.loads(text)
        ran = onnx.load(optimized, load_external_data=False).graph
    written = onnx.load(model.path, load_external_data=False).graph
    layer_of = layers_by_node(written, [layer for region in regions for layer in region.layers])
    same, names = same_nodes(ran, written), GraphNames.of(ran)
    region_of = {layer: region.name for region in regions for layer in region.layers}
    owner = owners(names)
    totals = dict.fromkeys([*(region.name for region in regions), ""], 0.0)
    for node, took in _node_seconds(events).items():
        layer = layer_of.get(same.get(owner.get(node, ""), ""), "")
        totals[region_of.get(layer, "")] += took
    return totals


def _node_seconds(events: "Sequence[Mapping[str, object]]") -> dict[str, float]:
    """Return the typical seconds of each node's run."""
    durations: dict[str, list[int]] = {}
    for event in events:
        name = str(event["name"])
        if event["cat"] == "Node" and name.endswith(_KERNEL):
            durations.setdefault(name.removesuffix(_KERNEL), []).append(int(str(event["dur"])))
    return {name: typical(values) * 1e-6 for name, values in durations.items()}
