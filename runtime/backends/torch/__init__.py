"""PyTorch: modules, TorchScript and torch.export files, how they are kept, called and exported."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from titrant.runtime.backends.backend import Backend, ExecutedLayer, GpuNote
from titrant.runtime.backends.model_kind import CodeNamed, FileLoader, ModelKind, Preparation, RunCost
from titrant.runtime.backends.profile import EngineProfile
from titrant.runtime.backends.stamp import SAFETENSORS, Piece, Stamp, header_metadata
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.facts import Gpu

SNIPPET = """\
import numpy as np
import torch

model = torch.jit.load({file}).eval()
# batch is {batch}.
with torch.inference_mode():
    outputs = model(batch).numpy()
{decide}
"""

EXPORTED_SNIPPET = """\
import numpy as np
import torch

model = torch.export.load({file}).module()
# batch is {batch}.
with torch.inference_mode():
    outputs = model(batch).numpy()
{decide}
"""

COMPILED_SNIPPET = """\
import numpy as np
import torch

model = torch._inductor.aoti_load_package({file})  # a processor like that of the report
# batch is {batch}.
outputs = model(batch).detach().numpy()
{decide}
"""


# Structure that operators rewrote (`rewrites` of the metadata) is not in the factory's module: then it takes titrant.
MODULE_SNIPPET = """\
import importlib
import json

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file

path = {file}
with safe_open(path, "pt") as opened:
    about = json.loads(opened.metadata()["titrant"])
assert not about["rewrites"], "operators of titrant changed the module: load it with titrant.load"
place, _, name = about["factory"].partition(":")
model = getattr(importlib.import_module(place), name)(**about["args"]).eval()
tensors = load_file(path)
model.load_state_dict({{**tensors, **{{name: tensors[first] for name, first in about["tied"].items()}}}})
# batch is {batch}.
with torch.inference_mode():
    outputs = model(batch).numpy()
{decide}
"""


def _save_module(value: Any, folder: Path) -> None:
    from titrant.runtime.backends.torch.module import save_torch

    save_torch(value, folder)


def _load_module(file: Path) -> Any:
    from titrant.runtime.backends.torch.module import load_torch

    return load_torch(file)


def _weights_into(file: Path, live: Any) -> Any:
    from safetensors.torch import load_file

    from titrant.runtime.backends.torch.module import described, with_tensors

    return with_tensors(live, load_file(str(file)), described(file)["tied"])


def _given_code(file: Path) -> CodeNamed | None:
    try:
        about = json.loads(header_metadata(file)["titrant"])
        factory, args = about["factory"], about["args"]
        operators = tuple(str(step["operator"]) for step in about["rewrites"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return CodeNamed(factory, args, operators) if isinstance(factory, str) and isinstance(args, dict) else None


def _module_as_loaded(value: Any) -> Any:
    from titrant.runtime.backends.torch.module import torch_as_loaded

    return torch_as_loaded(value)


def _save_script(value: Any, folder: Path) -> None:
    from titrant.runtime.backends.torch.script import save_torchscript

    save_torchscript(value, folder)


def _load_script(file: Path) -> Any:
    from titrant.runtime.values import TorchScriptModel

    return TorchScriptModel(file)


def _archive_pieces(file: Path, text: str) -> Sequence[Piece]:
    from titrant.runtime.backends.torch.archive_stamp import pieces

    return pieces(file, text)


def _archive_text(file: Path) -> str:
    from titrant.runtime.backends.torch.archive_stamp import read

    return read(file)


def _program(module: str) -> Any:
    """Import what stands above torch's modules: they are what programs are made of and run by."""
    return import_module(f"{__name__}.program.{module}")


def _save_exported(value: Any, folder: Path) -> None:
    _program("export").save_exported(value, folder)


def _load_exported(file: Path) -> Any:
    from titrant.runtime.values import ExportedModel

    return ExportedModel(file)


def _save_compiled(value: Any, folder: Path) -> None:
    _program("compiled").save_compiled(value, folder)


def _load_compiled(file: Path) -> Any:
    from titrant.runtime.values import CompiledModel

    return CompiledModel(file)


def _open(model: Any, *, threads: int, device: str = "cpu") -> Any:
    if model.kind == "exported":
        return _program("load").open_exported(model, threads=threads, device=device)
    if model.kind == "aoti":
        return _program("compiled").open_compiled(model, threads=threads)
    from titrant.runtime.backends.torch.session import open_session

    return open_session(model, threads=threads, device=device)


def _runnable(value: Any) -> Any:
    return _program("runnable").runnable(value)


def _executed(model: Any, *, threads: int = 1, layers: Collection[str] = ()) -> tuple[ExecutedLayer, ...]:
    layers_run: tuple[ExecutedLayer, ...]
    if model.kind == "exported":
        layers_run = _program("executed").executed_program(model, layers=layers)
        return layers_run
    if model.kind == "aoti":
        layers_run = _program("compiled").executed_compiled(model, layers=layers)
        return layers_run
    from titrant.runtime.backends.torch.executed import executed

    return executed(model, layers=layers)


def _profiled(
    model: Any,
    inputs: Mapping[str, Any],
    *,
    threads: int = 1,
    device: str = "cpu",
    layers: Collection[str] = (),
    seconds: float = 1.0,
) -> EngineProfile:
    if model.kind != "torch":
        title = BACKEND.kinds[model.kind].title
        message = f"torch runs {title} as one, without hooks inside it"
        raise StepError(Diagnostic("X680", message, help="give the module that it was made of, or an ONNX file of it"))
    from titrant.runtime.backends.torch.layer_times import profile_modules

    return profile_modules(model, inputs, threads=threads, device=device, layers=layers, seconds=seconds)


def _unsteady(model: Any, answer: Callable[[], object]) -> Mapping[str, str]:
    from titrant.runtime.backends.torch.unsteady import unsteady

    return unsteady(answer)


def _details() -> dict[str, str | None]:
    """Return what torch was built for, and what of it works here."""
    import torch

    cuda = torch.cuda.is_available()
    details = {"CUDA build": torch.version.cuda, "CUDA works": _yes(cuda)}
    if cuda:
        cudnn = torch.backends.cudnn.version()
        details |= {"GPUs": str(torch.cuda.device_count()), "cuDNN": str(cudnn) if cudnn else None}
        details |= {"native bf16": _yes(torch.cuda.is_bf16_supported(including_emulation=False))}
    if torch.backends.mps.is_built():
        details["MPS works"] = _yes(torch.backends.mps.is_available())
    return details


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _gpu_notes(gpu: Gpu, packages: Mapping[str, str], details: Mapping[str, str]) -> tuple[GpuNote, ...]:
    subject = f"{gpu.kind}:{gpu.index}"
    if details.get("MPS works" if gpu.kind == "mps" else "CUDA works") == "yes":
        return (GpuNote(subject, True, f"{gpu.name}: torch can use it"),)
    if gpu.kind == "cuda" and "CUDA build" not in details:
        text = f"{gpu.name}: the installed torch is built without CUDA, so work runs on the CPU"
        return (GpuNote(subject, False, text, "pip install --force-reinstall torch"),)
    remedy = "nvidia-smi" if gpu.kind == "cuda" else "update macOS and torch"
    return (GpuNote(subject, False, f"{gpu.name}: torch cannot use it, so work runs on the CPU", remedy),)


# Fitted to those networks that benchmarks/latency calls fitted, with torch 2.13, one thread. A transpose moves nothing;
# the copy that a product makes of it does.
_MODULE_COST = RunCost(
    reached=1.14,
    call_seconds=37e-6,
    layer_seconds=4e-6,
    convolution_seconds=50e-6,
    passes=5.2,
    held=2.5,
    launches=4.0,
    gpu_passes=3.0,
    operation_seconds=2.3e-6,
    work_passes={
        "clone": 12.0,
        "copy": 1.0,
        "scattered": 27.0,
        "view": 0.0,
        "elementwise": 0.28,
        "exponential": 1.05,
        "normalization": 0.55,
        "batch_norm": 0.6,
        "reduction": 0.55,
        "pooling": 18.0,
        "product": 0.1,
    },
    batched=0.7,
    depthwise=0.43,
    step_seconds=7e-6,
)
_SCRIPT_COST = RunCost(
    reached=1.07,
    call_seconds=30e-6,
    layer_seconds=1.5e-6,
    convolution_seconds=35e-6,
    passes=3.4,
    held=2.2,
    launches=3.0,
    gpu_passes=2.0,
    operation_seconds=0.9e-6,
    work_passes={
        "clone": 10.0,
        "copy": 1.0,
        "scattered": 29.0,
        "view": 0.0,
        "elementwise": 0.25,
        "exponential": 1.5,
        "normalization": 0.55,
        "reduction": 0.55,
        "pooling": 18.0,
        "product": 0.1,
    },
    batched=0.85,
    depthwise=0.44,
    step_seconds=6e-6,
    open_seconds=0.004,
    open_layer_seconds=0.0008,
    open_byte_seconds=8e-9,
    open_copies=2,
)
# Estimates: a program is called as a module is; what opens it, and what compiling gains, was seen on two small nets.
_PROGRAM_COST = replace(
    _MODULE_COST, open_seconds=0.03, open_layer_seconds=0.003, open_byte_seconds=2e-9, open_copies=1
)
_COMPILED_COST = RunCost(
    reached=0.75,
    call_seconds=60e-6,
    layer_seconds=2e-6,
    convolution_seconds=40e-6,
    passes=1.5,
    held=2.0,
    launches=3.0,
    gpu_passes=2.0,
    open_seconds=0.05,
    open_layer_seconds=0.0005,
    open_byte_seconds=2e-9,
    open_copies=2,
)

BACKEND = Backend(
    name="torch",
    packages={"torch": "torch"},
    kinds={
        "torch": ModelKind(
            name="torch",
            title="a torch module",
            label="a torch module",
            file="model.safetensors",
            save=_save_module,
            load=_load_module,
            as_loaded=_module_as_loaded,
            format="safetensors",
            sources=("factory",),
            user_code=True,
            layout="model.layout",
            keeps_layout=True,
            weights_into=_weights_into,
            snippet=MODULE_SNIPPET,
            stamp=SAFETENSORS,
            loader=FileLoader("model.load_module", ".safetensors", lambda file: {"module": file}, code=_given_code),
        ),
        "torchscript": ModelKind(
            name="torchscript",
            title="a TorchScript file",
            label="TorchScript",
            file="model.pt",
            save=_save_script,
            load=_load_script,
            format="torchscript",
            converts={"torch": "export.torchscript"},
            sources=("torchscript",),
            is_graph=True,
            keeps_layout=True,
            # It runs what it is given, where others fold by themselves.
            preparations=(Preparation("model.fuse", "fused", "batch normalization folds into the layer before it"),),
            snippet=SNIPPET,
            stamp=Stamp("model.pt", _archive_pieces, _archive_text),
        ),
        "exported": ModelKind(
            name="exported",
            title="a torch.export file",
            label="torch.export",
            file="model.pt2",
            save=_save_exported,
            load=_load_exported,
            format="exported",
            converts={"torch": "export.exported"},
            sources=("exported",),
            is_graph=True,
            keeps_layout=True,
            preparations=(Preparation("model.fuse", "fused", "batch normalization folds into the layer before it"),),
            snippet=EXPORTED_SNIPPET,
            unasked="torch runs what it holds as it runs the module itself, and making one takes seconds",
            stamp=Stamp("model.pt2", _archive_pieces, _archive_text),
        ),
        "aoti": ModelKind(
            name="aoti",
            title="a package compiled by AOTInductor",
            label="AOTInductor",
            file="model.pt2",
            save=_save_compiled,
            load=_load_compiled,
            format="aoti",
            converts={"exported": "export.aoti"},
            is_graph=True,
            snippet=COMPILED_SNIPPET,
            unasked="compiling takes tens of seconds, and what it makes holds for this processor only",
            stamp=Stamp("model.pt2", _archive_pieces, _archive_text),
        ),
    },
    costs={"torch": _MODULE_COST, "torchscript": _SCRIPT_COST, "exported": _PROGRAM_COST, "aoti": _COMPILED_COST},
    open=_open,
    executed=_executed,
    runnable=_runnable,
    profiled=_profiled,
    details=_details,
    unsteady=_unsteady,
    gpu_notes=_gpu_notes,
    loads={"torch": 0.83, "torch._dynamo": 0.8, "torch.onnx": 0.02},
)
