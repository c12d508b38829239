"""Read TorchScript and torch.export files that others made, to take one as the original: no Python of theirs is run."""

import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends.session import Spec
from titrant.runtime.backends.torch.arguments import signature_of
from titrant.runtime.backends.torch.program.load import read_program
from titrant.runtime.backends.torch.session import Border
from titrant.runtime.data.wiring import ModelInput, Signature
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.text import first_line

if TYPE_CHECKING:
    import torch

    from titrant.runtime.values import ExportedModel, TorchScriptModel

_BATCH = "batch"


def read_script(path: Path) -> "torch.jit.ScriptModule":
    """Load any TorchScript file on the CPU, in eval mode; StepError X212 for a file that is none, or is damaged."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch prefers its .pt2 archives by now
            script: torch.jit.ScriptModule = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
        return script.eval()
    except (RuntimeError, ValueError, OSError) as error:
        reason, help = _what_it_is(path) or (_last_line(error), "the file is damaged, or needs another torch")
        raise StepError(Diagnostic("X212", f"torch cannot load {path.name}: {reason}", help=help)) from None


def _what_it_is(path: Path) -> tuple[str, str] | None:
    """Say what a file is that is no TorchScript file, and what to do with it; None for one that looks like it."""
    try:
        with zipfile.ZipFile(path) as archive:
            inside = {name.partition("/")[2] for name in archive.namelist()}
    except zipfile.BadZipFile:
        return "it is no archive of torch's", "name a file that torch.jit.save wrote"
    except OSError as error:
        return first_line(error), "check the path and its rights"
    if "models/model.json" in inside:
        return "it is a torch.export file", "write it as `model: {exported: …}`"
    if "data.pkl" in inside and "constants.pkl" not in inside:
        return "it holds weights and no code", "write it as `weights` of a `factory`"
    return None


def _last_line(error: Exception) -> str:
    """Return the line that says what is wrong: of an operator that is missing, the one that names it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "Unknown" in line or "failed" in line), lines[0] if lines else "")


def script_signature(path: Path) -> Signature:
    """Return the names of a TorchScript file's inputs; it does not say their shapes."""
    return signature_of(read_script(path))


def program_signature(path: Path) -> Signature:
    """Return the inputs of a torch.export file, with shapes and dtypes."""
    inputs = tuple(ModelInput(name, shape, dtype) for name, shape, dtype in program_specs(read_program(path)[0]))
    return Signature(inputs, renames=True)


def program_specs(program: "torch.export.ExportedProgram") -> tuple[Spec, ...]:
    """Return name, shape and dtype of a program's inputs, the batch free where the program leaves it."""
    return tuple(_spec(node.name, node.meta["val"]) for node in _taken(program))


def rows_of(program: "torch.export.ExportedProgram") -> int:
    """Return how many rows a program was exported with, which sizes inside it are multiples of."""
    shapes = (node.meta["val"].shape for node in _taken(program))
    return max(1, next((seen_size(shape[0]) for shape in shapes if len(shape)), 1))


def seen_size(size: Any) -> int:
    """Return a size as it was when the program was exported; int() of a free one would fix it for every later call."""
    return size if isinstance(size, int) else int(size.node.hint)


def _taken(program: "torch.export.ExportedProgram") -> Iterator[Any]:
    names = program.graph_signature.user_inputs
    yield from (node for node in program.graph.nodes if node.op == "placeholder" and node.name in names)


def _spec(name: str, value: Any) -> Spec:
    from torch.fx.experimental.symbolic_shapes import is_concrete_int

    if not hasattr(value, "shape"):
        help = "export it with tensors as inputs"
        raise StepError(Diagnostic("X162", f"its input {name} is a {type(value).__name__}, and no array", help=help))
    sizes: list[int | str] = [int(size) if is_concrete_int(size) else str(size) for size in value.shape]
    if sizes and isinstance(sizes[0], str):
        sizes[0] = _BATCH
    return name, tuple(sizes), str(value.dtype).removeprefix("torch.")


def kept_program(path: Path, border: Border, folder: Path) -> "ExportedModel":
    """Copy a torch.export file without the rows it was exported with, and with what it takes and gives."""
    from titrant.runtime.backends.torch.program.export import save_program

    program, _ = read_program(path)
    return save_program(program, {"inputs": border.inputs, "outputs": border.outputs}, folder)


def kept_script(path: Path, border: Border, folder: Path) -> "TorchScriptModel":
    """Copy a TorchScript file in eval mode, with what it takes and gives."""
    from titrant.runtime.backends.torch.script import save_script

    return save_script(read_script(path), border, folder)


def program_module(path: Path) -> "tuple[torch.export.ExportedProgram, torch.nn.Module]":
    """Return a program, and the module that answers as it does."""
    program, _ = read_program(path)
    return program, program.module()


def program_tensors(program: "torch.export.ExportedProgram") -> Mapping[str, "torch.Tensor"]:
    """Return the parameters, buffers and other constants that a program reads, by name, and no other."""
    import torch

    read = {node.name for node in program.graph.nodes if node.op == "placeholder" and node.users}
    signature = program.graph_signature
    named = {
        **signature.inputs_to_parameters, **signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants,
    }  # fmt: skip
    every = {**program.constants, **program.state_dict}
    return {
        name: every[name]
        for place, name in named.items()
        if place in read and isinstance(every.get(name), torch.Tensor)
    }
