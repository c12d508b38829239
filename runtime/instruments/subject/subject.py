"""Open what is looked at: a live module, a value that operators hand on, or a file."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.instruments.refused.files import no_file
from titrant.runtime.instruments.weights.layer_tensor import LayerTensor
from titrant.runtime.values import ExportedModel, OnnxModel, TorchModel, TorchScriptModel
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.files import WEIGHT_SUFFIXES
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import onnx
    import torch

GivenSpecs = tuple[tuple[str, tuple[int | str, ...], str], ...]
# What every TorchScript archive holds, and no checkpoint.
_SCRIPTED = "constants.pkl"
_READ = "a torch module, an .onnx, TorchScript, .pt2 or .safetensors file, or a checkpoint"


@dataclass(frozen=True)
class InspectedModel:
    """A model that is looked at: a `module` that can be called, a `graph` with its weights, or a `file` of weights.

    `specs` are name, shape and dtype of its inputs, () where nobody says. `folder` is where the graph's file lies.
    """

    name: str
    module: "torch.nn.Module | None" = None
    graph: "onnx.ModelProto | None" = None
    file: Path | None = None
    folder: Path = Path()
    specs: GivenSpecs = ()

    @property
    def runs(self) -> bool:
        """Whether it can be called, rather than be read only."""
        return self.module is not None or self.graph is not None

    @property
    def notes(self) -> tuple[str, ...]:
        """What cannot be told of what it computes."""
        if self.module is None or not _is_scripted(self.module):
            return ()
        return ("TorchScript does not say which layer computes: its answers are named after the whole, in their order",)

    def tensors(self) -> Iterator[LayerTensor]:
        """Yield what its layers hold, one tensor at a time."""
        if self.module is not None:
            from titrant.runtime.instruments.weights.of_module import module_tensors

            yield from module_tensors(self.module)
        elif self.graph is not None:
            from titrant.runtime.instruments.weights.of_graph import graph_tensors

            yield from graph_tensors(self.graph, self.folder)
        elif self.file is not None:
            from titrant.runtime.instruments.weights.of_file import file_tensors

            yield from file_tensors(self.file)


def subject_of(model: Any, name: str = "") -> InspectedModel:
    """Open a module, a model as operators hand it on, or the path of a file.

    Raises RecipeError X702 for a file that is not there, P080 for anything else, and StepError where a file cannot be
    read.
    """
    if isinstance(model, TorchModel):
        return InspectedModel(name or model.factory, module=model.module, specs=model.inputs)
    if isinstance(model, (OnnxModel, TorchScriptModel, ExportedModel)):
        return _file(model.path, name or model.path.name)
    if isinstance(model, (str, Path)):
        return _file(Path(model), name or str(model))
    if callable(getattr(model, "named_parameters", None)) and callable(getattr(model, "forward", None)):
        return InspectedModel(name or type(model).__name__, module=model)
    message = f"a {type(model).__name__} is no model that can be looked into"
    raise RecipeError(Diagnostic("P080", message, help=f"give {_READ}"))


def _file(path: Path, name: str) -> InspectedModel:
    if not path.is_file():
        raise no_file(path)
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return _graph(path, name)
    if suffix == ".pt2":
        from titrant.runtime.backends.torch.program.original import program_module, program_specs

        program, module = program_module(path)
        return InspectedModel(name, module=module, specs=program_specs(program))
    if holds_script(path):
        from titrant.runtime.backends.torch.program.original import read_script

        return InspectedModel(name, module=read_script(path))
    if path.name.lower().endswith(WEIGHT_SUFFIXES):
        return InspectedModel(name, file=path)
    message = f"{path.name} is no file that can be looked into"
    advice = "give the ONNX file that it was made of" if suffix in (".xml", ".bin") else f"give {_READ}"
    raise RecipeError(Diagnostic("P080", message, help=advice))


def _graph(path: Path, name: str) -> InspectedModel:
    from titrant.runtime.backends.onnxruntime.mend import mend
    from titrant.runtime.inspect.graph.inputs import graph_inputs, specs_of
    from titrant.runtime.operators.model.load_onnx import read_onnx, unzip

    model, _ = read_onnx(str(path))
    unzip(model)
    model, _ = mend(model)
    specs = tuple((spec.name, spec.shape, spec.dtype) for spec in specs_of(model, graph_inputs(model)))
    return InspectedModel(name, graph=model, folder=path.parent, specs=specs)


def _is_scripted(module: "torch.nn.Module") -> bool:
    import torch

    return isinstance(module, torch.jit.ScriptModule)


def holds_script(path: Path) -> bool:
    """Tell a TorchScript file from any other."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(Path(entry).name == _SCRIPTED for entry in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False
