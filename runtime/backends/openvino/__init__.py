"""OpenVINO: its intermediate representation (IR), and sessions that run it in a precision of its own."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from titrant.runtime.backends.backend import Backend
from titrant.runtime.backends.model_kind import FileLoader, ModelKind, RunCost
from titrant.runtime.backends.profile import EngineProfile
from titrant.runtime.backends.stamp import Piece, Stamp
from titrant.schema.cost import Unmet
from titrant.schema.facts import Hardware, ModelFacts

SNIPPET = """\
import numpy as np
import openvino

core = openvino.Core()
model = core.read_model({file} + "/model.xml")
# In which precision it was judged. Without it OpenVINO rounds to bf16 wherever a processor has it.
said = ["runtime_options", "INFERENCE_PRECISION_HINT"]
precision = model.get_rt_info(said).astype(str) if model.has_rt_info(said) else "f32"
compiled = core.compile_model(model, "CPU", {{"INFERENCE_PRECISION_HINT": precision}})
names = [item.any_name for item in compiled.outputs]
# batch is {batch}.
outputs = compiled(batch)[{output}]
{decide}
"""


def _save(value: Any, folder: Path) -> None:
    from titrant.runtime.backends.openvino.ir import save_ir

    save_ir(value, folder)


def _load(folder: Path) -> Any:
    from titrant.runtime.backends.openvino.ir import IrModel

    return IrModel(folder)


def _tensors(file: Path) -> Iterator[tuple[str, Any]]:
    from titrant.runtime.backends.openvino.ir import tensors

    yield from tensors(file)


def _stamp_pieces(file: Path, text: str) -> Sequence[Piece]:
    from titrant.runtime.backends.openvino.ir import stamp_pieces

    return stamp_pieces(file, text)


def _stamp_text(file: Path) -> str:
    from titrant.runtime.backends.openvino.ir import stamp_text

    return stamp_text(file)


def _given_files(graph: Path) -> Mapping[str, Path]:
    return {"graph": graph, "weights": graph.with_suffix(".bin")}


def _given_facts(params: Mapping[str, Any]) -> ModelFacts:
    from titrant.runtime.backends.openvino.facts import ir_facts

    return ir_facts(params)


def _open(model: Any, *, threads: int, device: str = "cpu") -> Any:
    from titrant.runtime.backends.openvino.session import open_session

    return open_session(model, threads=threads, device=device)


def _runnable(value: Any) -> Any:
    from titrant.runtime.backends.openvino.session import runnable

    return runnable(value)


def _executed(model: Any, *, threads: int = 1, layers: Collection[str] = ()) -> Any:
    from titrant.runtime.backends.openvino.executed import executed

    return executed(model, threads=threads, layers=layers)


def _profiled(
    model: Any,
    inputs: Mapping[str, Any],
    *,
    threads: int = 1,
    device: str = "cpu",
    layers: Collection[str] = (),
    seconds: float = 1.0,
) -> EngineProfile:
    from titrant.runtime.backends.openvino.layer_times import profile_operations

    return profile_operations(model, inputs, threads=threads, device=device, layers=layers, seconds=seconds)


def _device_unmet(device: str, hardware: Hardware) -> Unmet | None:
    if device == "cpu":
        return None
    if device == "mps":
        return Unmet("OpenVINO does not compute on Metal")
    return Unmet("OpenVINO computes on processors and on Intel's GPUs and NPUs, of which titrant drives the processor")


def _details() -> dict[str, str | None]:
    from titrant.runtime.backends.openvino.library import core

    devices = core().available_devices
    named = {device: core().get_property(device, "FULL_DEVICE_NAME") for device in devices}
    return {"devices": ", ".join(f"{device} ({name})" for device, name in named.items())}


_LEAST_GROUP = 32


def group_size(length: int, asked: int) -> int:
    """Return how many weights of a sum share a scale: the largest power of two up to what is asked that divides it.

    -1, all of them, where that is below 32: so small groups cost more than they are worth.
    """
    power = 1 << (asked.bit_length() - 1)
    largest = math.gcd(length, power)
    return largest if largest >= min(_LEAST_GROUP, power) else -1


_LIBRARY = "titrant.runtime.backends.openvino.library"
_COMPRESSION = "titrant.runtime.backends.openvino.compression"

BACKEND = Backend(
    name="openvino",
    packages={"openvino": _LIBRARY},
    kinds={
        "ir": ModelKind(
            name="ir",
            title="an OpenVINO IR",
            label="OpenVINO IR",
            save=_save,
            load=_load,
            tensors=_tensors,
            format="openvino",
            converts={"onnx": "export.openvino"},
            is_graph=True,
            snippet=SNIPPET,
            stamp=Stamp("model.xml", _stamp_pieces, _stamp_text),
            loader=FileLoader("model.load_openvino", ".xml", _given_files, _given_facts),
        )
    },
    # Fitted to those networks that benchmarks/latency calls fitted, with OpenVINO 2026.4, one thread: products as fast
    # as onnxruntime's; a call sets the tensors it reads.
    costs={
        "ir": RunCost(
            reached=2.05,
            call_seconds=30e-6,
            layer_seconds=1.5e-6,
            convolution_seconds=3.7e-6,
            passes=0.32,
            held=1.5,
            launches=1.5,
            gpu_passes=2.0,
            operation_seconds=0.8e-6,
            work_passes={
                "strided": 0.3,
                "copy": 0.9,
                "scattered": 50.0,
                "view": 0.0,
                "elementwise": 0.33,
                "exponential": 0.75,
                "normalization": 5.0,
                "reduction": 9.0,
                "pooling": 1.2,
                "product": 0.1,
            },
            batched=1.05,
            depthwise=0.38,
            open_seconds=0.02,
            open_layer_seconds=0.001,
            open_byte_seconds=6e-9,
            open_copies=2,
        )
    },
    open=_open,
    executed=_executed,
    runnable=_runnable,
    profiled=_profiled,
    device_unmet=_device_unmet,
    details=_details,
    loads={_LIBRARY: 0.05, _COMPRESSION: 1.0},
    tools={"nncf": _COMPRESSION},
)
