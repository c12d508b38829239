"""Compile torch.export programs by AOTInductor into packages of machine code, and run these.

A package holds for the instruction sets of the processor that it was compiled on; its titrant.json names them, what it
takes and gives, and which kernels its layers became.
"""

import functools
import json
import platform
import re
import shutil
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch  # noqa: TID253 - its very subject

from titrant.runtime.backends.backend import ExecutedLayer
from titrant.runtime.backends.torch.program.convolution_layout import channels_last
from titrant.runtime.backends.torch.program.executed import program_layers
from titrant.runtime.backends.torch.program.export import read_records, write_records
from titrant.runtime.backends.torch.program.load import quiet
from titrant.runtime.backends.torch.program.original import program_specs
from titrant.runtime.backends.torch.program.parity import Expected, hold
from titrant.runtime.backends.torch.session import Border, TorchSession
from titrant.runtime.user_code import describe, said_by
from titrant.runtime.values import CompiledModel
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.text import first_line

NAME = "model.pt2"
_EXTRA = "extra/titrant.json"
_CODE = "data/aotinductor/"
# Rows that the compiler is shown: not one, which it would take for the only size.
_ROWS = 2
# Calls of the compiled wrapper that multiply by weights; others became loops of its own.
_CALL = re.compile(rb"aoti_torch_cpu_(\w*(?:linear|conv|addmm|bmm|_mm|mm_out|embedding)\w*)\(")
# What a compiler that is told to use the processor it runs on may use.
_INSTRUCTIONS = re.compile(r"^(avx|amx|fma|f16c|bmi|sse|vaes|gfni|vpclmul|adx|movbe|popcnt|asimd|sve|neon|bf16|i8mm)")


def compiled(
    program: torch.export.ExportedProgram, border: Border, expected: Expected, folder: Path, threads: int
) -> tuple[CompiledModel, float]:
    """Compile a program, write `model.pt2` into a folder, and hold it against what it is expected to answer.

    Return it and how far off it answers, relative to the largest answer. Raises StepError X282 where torch or the C++
    compiler fails, X627 where the package answers otherwise than the program.
    """
    program.example_inputs = _example(program)
    source = folder / "raw.pt2"
    try:
        with quiet(), torch.no_grad(), channels_last():
            torch._inductor.aoti_compile_and_package(
                program, package_path=str(source), inductor_configs={"freezing": True}
            )
    except (RuntimeError, OSError, AssertionError, AttributeError, TypeError, ValueError, NotImplementedError) as error:
        help = "check that g++ works, or use quantization.method ort.static"
        message = f"AOTInductor could not compile the model: {describe(error)}"
        raise StepError(Diagnostic("X282", message, help=help, said=said_by(error))) from None
    records = read_records(source)
    layers = _layers(program, b"".join(text for name, text in records.items() if name.endswith("wrapper.cpp")))
    said = {**border.written(), "layers": layers, "instructions": sorted(instructions())}
    kept = {name: _anonymous(text) for name, text in records.items() if not name.endswith(".cpp")}
    kept[_EXTRA] = json.dumps(said, sort_keys=True).encode()
    write_records(kept, folder / NAME)
    source.unlink()
    made = CompiledModel(folder / NAME)
    return made, hold(open_compiled(made, threads=threads), expected)


def _example(program: torch.export.ExportedProgram) -> tuple[tuple[torch.Tensor, ...], dict[str, Any]]:
    """Return zeros of the shapes that a program takes: no row of somebody's data."""
    tensors = [
        torch.zeros([size if isinstance(size, int) else _ROWS for size in shape], dtype=getattr(torch, dtype))
        for _, shape, dtype in program_specs(program)
    ]
    return tuple(tensors), {}


def _anonymous(text: bytes) -> bytes:
    """Blank the folders of this machine in what errors of the machine code would say; every length stays."""
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    for folder in (cache_dir(), str(Path(torch.__file__).parents[1])):
        text = text.replace(folder.encode() + b"/", b"." * len(folder.encode()) + b"/")
    return text


def _layers(program: torch.export.ExportedProgram, wrapper: bytes) -> list[list[str]]:
    """Say which call of the compiled code each layer became: [module, call, precision], in the program's order.

    Where there are as many calls as layers they are the layers' in their order; else nobody can tell which.
    """
    calls = [call.decode() for call in _CALL.findall(wrapper)]
    planned = program_layers(program)
    names = [layer.name for layer in planned] if len(calls) == len(planned) else [""] * len(calls)
    return [[name, call, "int8" if call.startswith("_q") else "fp32"] for name, call in zip(names, calls, strict=True)]


def instructions() -> frozenset[str]:
    """Return the instruction sets of this processor that compiled code may use."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return frozenset({platform.machine()})
    line = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), ":")
    return frozenset(name for name in line.partition(":")[2].split() if _INSTRUCTIONS.match(name))


def open_compiled(model: CompiledModel, *, threads: int) -> TorchSession:
    """Load a package; StepError X212 for one that torch cannot load, X283 for one that needs another processor."""
    said = _said(model.path)
    absent = sorted(set(said.get("instructions", ())) - instructions())
    if absent:
        message = f"{model.path.name} was compiled for a processor with {', '.join(absent)}, which this one lacks"
        help = "run the recipe on this machine, or release another format: onnx runs anywhere"
        raise StepError(Diagnostic("X283", message, help=help))
    try:
        with quiet():
            runner = torch._inductor.aoti_load_package(str(model.path), run_single_threaded=True)
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        raise _unloadable(model.path, first_line(error)) from None
    return TorchSession(functools.partial(runner), Border.read(json.dumps(said), model.path.name), threads, "cpu")


def executed_compiled(model: CompiledModel, *, layers: Collection[str] = ()) -> tuple[ExecutedLayer, ...]:
    """Return the calls of the machine code that multiply by weights, as its source named them when it was compiled."""
    said = _said(model.path)["layers"]
    return tuple(
        ExecutedLayer(name if name in layers else "", f"{call}_{place}", precision, call)
        for place, (name, call, precision) in enumerate(said)
    )


def _said(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            top = names[0].partition("/")[0] if names else ""
            if not any(name.startswith(f"{top}/{_CODE}") for name in names):
                raise _unloadable(path, "it is no package that AOTInductor compiled")
            said: dict[str, Any] = json.loads(archive.read(f"{top}/{_EXTRA}"))
            return said
    except (OSError, zipfile.BadZipFile, ValueError, KeyError) as error:
        raise _unloadable(path, first_line(error)) from None


def _unloadable(path: Path, reason: str) -> StepError:
    help = "the file is damaged, or needs another torch: compile it again"
    return StepError(Diagnostic("X212", f"torch cannot load {path.name}: {reason}", help=help))


def save_compiled(value: CompiledModel, folder: Path) -> None:
    """Copy the package into a folder under its fixed name."""
    if value.path != folder / NAME:
        shutil.copyfile(value.path, folder / NAME)
