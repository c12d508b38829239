"""Make every candidate of a network that `auto` may consider, and time them in turns."""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from networks import NETWORKS, Network

from titrant.compiler.predict.price import arithmetic_with
from titrant.runtime import catalog
from titrant.runtime.api import apply
from titrant.runtime.backends import backend
from titrant.runtime.backends.session import open_session
from titrant.runtime.values import Rows, TorchModel
from titrant.schema.cost import FP32, Arithmetic
from titrant.schema.diagnostics.diagnostics import TitrantError
from titrant.schema.values.frozen import dataclass

BATCHES = (1, 8, 32)
ROWS = 64
# A turn of one candidate, and how many turns each has, in CPU seconds.
TURN_SECONDS, TURNS = 3e-3, 7


@dataclass(frozen=True)
class Made:
    """A candidate: its engine, the kind of its artifact, and the artifact."""

    name: str
    engine: str
    value: Any


def methods() -> Iterator[tuple[str, str, dict[str, Any], Arithmetic]]:
    """Yield what is tried: a name, its operator, its parameters, and what it does to the cost of a forward pass."""
    for name in catalog.quantization_methods():
        operator = catalog.method_operator(name)
        method = catalog.get(operator).method
        assert method is not None
        if method.by_name or not method.runs_on("cpu") or method.arithmetic is None:
            continue
        kind = backend.kind_of_format(method.format)
        if kind.weights_for or kind.unasked:
            continue
        for bits in method.bits or (8,):
            params: dict[str, Any] = {"bits": bits} if len(method.bits) > 1 else {}
            label = f"{name} {bits}" if params else name
            yield label, operator, params, arithmetic_with(method, params) or FP32
            for variant in method.variants:
                given = {**params, **variant.options}
                yield f"{label}.{variant.suffix}", operator, given, arithmetic_with(method, given) or FP32


def make(network: Network, scratch: Path) -> Iterator[Made]:
    """Yield the candidates; a method that refuses the network is told and left out."""
    module, drawn = network.build(), network.rows(ROWS)
    specs = tuple((spec.name, spec.shape, spec.dtype) for spec in network.specs())
    count = len(_outputs(module, drawn))
    names = tuple(f"output_{place}" for place in range(count)) if count > 1 else ("output",)
    rows = Rows("calibration", drawn, None, np.arange(ROWS), np.arange(ROWS, dtype=np.uint64))
    torch_model = TorchModel(module, "networks:none", {}, "0" * 64, specs, names)
    place = iter(range(1000))

    def run(operator: str, inputs: Mapping[str, Any], params: Mapping[str, Any]) -> Any:
        folder = scratch / str(next(place))
        folder.mkdir(parents=True)
        ports = catalog.get(operator).inputs
        given = {name: value for name, value in inputs.items() if name in ports}
        return apply(operator, given, params, seed=0, scratch=folder).outputs["model"]

    shared: dict[str, Any] = {"example": rows, "calibration": rows}
    yield Made("torch", "torch", torch_model)
    fused = _or_none("model.fuse", lambda: run("model.fuse", {"model": torch_model}, {})) or torch_model
    script = _or_none("torchscript", lambda: run("export.torchscript", {**shared, "model": fused}, {}))
    if script is not None:
        yield Made("torchscript", "torch", script)
    exported = run("export.onnx", {**shared, "model": torch_model}, {"tolerance": 1e-2})
    yield Made("onnx", "onnxruntime", exported)
    yield Made("ir", "openvino", run("export.openvino", {**shared, "model": exported}, {"tolerance": 1e-2}))
    for label, operator, params, _ in methods():
        method = catalog.get(operator).method
        assert method is not None
        given = {"onnx": exported, "torch": torch_model}.get(method.takes)
        reduced = _or_none(label, lambda: run(operator, {**shared, "model": given}, params))  # noqa: B023
        kind = backend.kind_of_format(method.format)
        if reduced is not None and reduced.kind != kind.name:
            step = kind.converts[reduced.kind]
            reduced = _or_none(label, lambda: run(step, {**shared, "model": reduced}, {}))  # noqa: B023
        if reduced is not None:
            yield Made(label, method.engine, reduced)


def _outputs(module: Any, rows: Mapping[str, np.ndarray]) -> list[Any]:
    import torch

    with torch.no_grad():
        answer = module(*(torch.from_numpy(array[:1]) for array in rows.values()))
    return list(answer) if isinstance(answer, tuple) else [answer]


def _or_none(name: str, function: Callable[[], Any]) -> Any:
    try:
        return function()
    except TitrantError as error:
        print(f"  {name}: {str(error).splitlines()[0][:160]}", file=sys.stderr)
        return None


def measure(name: str, scratch: Path) -> list[dict[str, Any]]:
    """Return {"model", "candidate", "engine", "kind", "bytes", "batch", "seconds"} of every candidate and batch."""
    network = NETWORKS[name]
    made = list(make(network, scratch))
    found = []
    drawn = network.rows(max(BATCHES))
    sessions = {item.name: open_session(item.engine, item.value, threads=1) for item in made}
    for batch in BATCHES:
        inputs = {key: np.ascontiguousarray(array[:batch]) for key, array in drawn.items()}
        times = _in_turns({name: partial(session.run, inputs) for name, session in sessions.items()})
        found += [
            {
                "model": name, "candidate": item.name, "engine": item.engine, "kind": item.value.kind, "batch": batch,
                "seconds": times[item.name],
            }
            for item in made
        ]  # fmt: skip
    return found


def _in_turns(calls: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    """Return the median CPU seconds of a call, over turns whose order is drawn."""
    repeats, times = {}, dict[str, list[float]]()
    for name, call in calls.items():
        for _ in range(3):
            call()
        begun = time.process_time()
        call()
        repeats[name] = max(1, min(200, round(TURN_SECONDS / max(time.process_time() - begun, 1e-6))))
    generator = np.random.default_rng(0)
    for _ in range(TURNS):
        for place in generator.permutation(len(calls)):
            name = list(calls)[place]
            calls[name]()
            begun = time.process_time()
            for _ in range(repeats[name]):
                calls[name]()
            times.setdefault(name, []).append((time.process_time() - begun) / repeats[name])
    return {name: statistics.median(each) for name, each in times.items()}


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        Path(sys.argv[2]).write_text(json.dumps(measure(sys.argv[1], Path(folder))), "utf-8")
