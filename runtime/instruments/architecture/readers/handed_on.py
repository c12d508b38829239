"""Read the architecture of a model as operators hand it on: a live module, or a file of a graph."""

from pathlib import Path
from typing import Any

from titrant.runtime.data.parameters import File
from titrant.runtime.instruments.architecture.layer_graph import LayerGraph
from titrant.runtime.values import ExportedModel, OnnxModel, TorchModel, TorchScriptModel
from titrant.schema.facts import TensorSpec

# Of more operations than this a record and a report keep no drawing.
MOST_OPERATIONS = 3_000
_STATEFUL = "it hands on recurrent state, which is drawn by its parts alone"


def value_architecture(model: TorchModel | OnnxModel | TorchScriptModel | ExportedModel) -> LayerGraph:
    """Return the architecture of a model that a step was given.

    A module is followed on tensors without values, or with them where its code reads some, and stays as it is.
    Raises StepError where the module cannot answer or a file cannot be read.
    """
    if isinstance(model, TorchModel):
        return _module(model)
    if isinstance(model, OnnxModel):
        return _graph(model.path)
    if isinstance(model, ExportedModel):
        return _program(model.path)
    return _script(model.path)


def _module(model: TorchModel) -> LayerGraph:
    from titrant.runtime.instruments.architecture.readers.torch_module import of_parts, of_specs

    if model.recurrence is not None:
        return of_parts(model.factory, model.module, (_STATEFUL,))
    return of_specs(model.factory, model.module, [TensorSpec(*spec) for spec in model.inputs])


def _graph(path: Path) -> LayerGraph:
    from titrant.runtime.inspect.onnx import read_onnx
    from titrant.runtime.instruments.architecture.readers.onnx_graph import onnx_architecture
    from titrant.runtime.operators.model.load_onnx import ModelLoadOnnxParams

    reading = read_onnx(ModelLoadOnnxParams(onnx=_file(path)), None, first_look=True)
    return onnx_architecture(path.name, reading.graph, reading.facts, reading.shapes, reading.cases)


def _program(path: Path) -> LayerGraph:
    from titrant.runtime.inspect.torch_files import describe_exported
    from titrant.runtime.instruments.architecture.readers.torch_program import program_architecture
    from titrant.runtime.operators.model.load_exported import ModelLoadExportedParams

    facts = describe_exported(ModelLoadExportedParams(exported=_file(path)), None, "unlabeled")
    return program_architecture(path, facts)


def _script(path: Path) -> LayerGraph:
    from titrant.runtime.inspect.torch_files import describe_script
    from titrant.runtime.instruments.architecture.readers.torch_script import script_architecture
    from titrant.runtime.operators.model.load_torchscript import ModelLoadTorchscriptParams

    facts = describe_script(ModelLoadTorchscriptParams(torchscript=_file(path)), None, "unlabeled")
    return script_architecture(path, facts)


def _file(path: Path) -> Any:
    return File(path=str(path), digest="")
