"""onnxruntime: ONNX files, their graphs, and sessions that run them."""

from collections.abc import Callable, Collection, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from titrant.runtime.backends.backend import Backend, ExecutedLayer, GpuNote
from titrant.runtime.backends.model_kind import ModelKind, RunCost
from titrant.runtime.backends.onnxruntime import stamp
from titrant.runtime.backends.profile import EngineProfile, Profiled
from titrant.runtime.backends.stamp import Stamp
from titrant.schema.cost import Unmet
from titrant.schema.facts import Gpu, Hardware

_GPU = "onnxruntime-gpu"

SNIPPET = """\
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession({file})
names = [item.name for item in session.get_outputs()]
# batch is {batch}.
arrays = batch if isinstance(batch, dict) else {{session.get_inputs()[0].name: batch}}
outputs = session.run(None, arrays)[{output}]
{decide}
"""

COLUMNS_SNIPPET = """\
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession({file})
kinds = {{"tensor(string)": object, "tensor(double)": np.float64, "tensor(int64)": np.int64}}
# rows maps each raw column to its values, such as a DataFrame does; missing text is "", a missing number NaN.
# batch is {batch}.
batch = {{item.name: np.asarray(rows[item.name], kinds.get(item.type)) for item in session.get_inputs()}}
names = [item.name for item in session.get_outputs()]
outputs = session.run(None, batch)[{output}]
{decide}
"""


def _save(value: Any, folder: Path) -> None:
    from titrant.runtime.backends.onnxruntime.session import save_onnx

    save_onnx(value, folder)


def _load(file: Path) -> Any:
    from titrant.runtime.values import OnnxModel

    return OnnxModel(file)


def _tensors(file: Path) -> Iterator[tuple[str, Any]]:
    if file.suffix != ".onnx":  # weights that the file beside it names
        return
    from titrant.runtime.backends.onnxruntime.apart import values
    from titrant.runtime.backends.onnxruntime.graph import read

    for tensor in read(file, apart=True).graph.initializer:
        yield tensor.name, values(tensor)


def _open(model: Any, *, threads: int, device: str = "cpu") -> Any:
    from titrant.runtime.backends.onnxruntime.session import open_session

    return open_session(model, threads=threads, device=device)


def _runnable(value: Any) -> Any:
    from titrant.runtime.backends.onnxruntime.session import runnable

    return runnable(value)


def _executed(model: Any, *, threads: int = 1, layers: Collection[str] = ()) -> tuple[ExecutedLayer, ...]:
    from titrant.runtime.backends.onnxruntime.executed import executed

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
    # By name: the folder stands above the files of this one.
    profile: Profiled = import_module(f"{__name__}.profile.layer_times").profile_nodes
    return profile(model, inputs, threads=threads, device=device, layers=layers, seconds=seconds)


def _unsteady(model: Any, answer: Callable[[], object]) -> Mapping[str, str]:
    from titrant.runtime.backends.onnxruntime.unsteady import unsteady

    return unsteady(model)


def _device_unmet(device: str, hardware: Hardware) -> Unmet | None:
    if device == "cpu":
        return None
    if device == "mps":
        return Unmet("onnxruntime does not compute on Metal")
    if _GPU not in hardware.identity.packages:
        return Unmet(f"onnxruntime on {device} needs the package {_GPU}", f"pip install {_GPU}")
    return None


def _details() -> dict[str, str | None]:
    import onnxruntime

    return {"providers": ", ".join(onnxruntime.get_available_providers())}


def _gpu_notes(gpu: Gpu, packages: Mapping[str, str], details: Mapping[str, str]) -> tuple[GpuNote, ...]:
    if gpu.kind != "cuda" or gpu.index or _GPU in packages:
        return ()
    remedy = f"pip uninstall onnxruntime && pip install {_GPU}"
    return (GpuNote(_GPU, False, "not installed: onnxruntime runs on the CPU only", remedy),)


BACKEND = Backend(
    name="onnxruntime",
    packages={"onnxruntime": "onnxruntime", _GPU: "onnxruntime"},
    kinds={
        "onnx": ModelKind(
            name="onnx",
            title="an ONNX file",
            label="ONNX",
            file="model.onnx",
            save=_save,
            load=_load,
            tensors=_tensors,
            format="onnx",
            converts={"torch": "export.onnx", "torchscript": "export.onnx", "exported": "export.onnx"},
            sources=("onnx",),
            is_graph=True,
            snippet=SNIPPET,
            columns_snippet=COLUMNS_SNIPPET,
            outside="export.external_data",
            stamp=Stamp("model.onnx", stamp.pieces, stamp.read),
        )
    },
    # Fitted to those networks that benchmarks/latency calls fitted, with onnxruntime 1.31, one thread. It fuses what
    # comes after a product into it, so that an output is hardly written and read once more.
    costs={
        "onnx": RunCost(
            reached=1.75,
            call_seconds=3e-6,
            layer_seconds=0.4e-6,
            convolution_seconds=0.6e-6,
            passes=0.18,
            held=1.5,
            launches=1.5,
            gpu_passes=2.0,
            operation_seconds=0.3e-6,
            work_passes={
                "strided": 0.5,
                "copy": 0.8,
                "scattered": 7.0,
                "view": 0.0,
                "elementwise": 0.17,
                "exponential": 3.0,
                "normalization": 0.6,
                "reduction": 0.5,
                "pooling": 0.3,
                "product": 0.1,
            },
            batched=0.9,
            depthwise=0.45,
            open_seconds=0.004,
            open_layer_seconds=0.0005,
            open_byte_seconds=6e-9,
            open_copies=2,
            mapped=True,
        )
    },
    open=_open,
    executed=_executed,
    runnable=_runnable,
    profiled=_profiled,
    device_unmet=_device_unmet,
    details=_details,
    unsteady=_unsteady,
    gpu_notes=_gpu_notes,
    loads={"onnxruntime": 0.02, "onnxruntime.quantization": 0.03, "onnx": 0.05},
)
