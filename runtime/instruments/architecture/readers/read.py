"""Read the architecture of the model that an inspection asks about, in the child process that looks at it."""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.inspect.inspect import inspect, onnx_alone
from titrant.runtime.instruments.architecture.layer_graph import LayerGraph, of_layers
from titrant.runtime.operators.model.load import ModelLoadParams
from titrant.runtime.user_code import reason_of
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.facts import DataFacts, ModelFacts
from titrant.schema.values.canonical import read_back, without_defaults

if TYPE_CHECKING:
    import torch

    from titrant.runtime.inspect.onnx import OnnxReading
    from titrant.runtime.values import Tables

_FILES = {"model.load_onnx": "onnx", "model.load_exported": "exported", "model.load_torchscript": "torchscript"}


def read(request: Mapping[str, Any], loaded: "tuple[Tables, float] | None" = None) -> dict[str, Any]:
    """Answer an inspection, and add "architecture": its model's LayerGraph in plain values.

    The request and the rest of the answer are those of `titrant.runtime.inspect.inspect.inspect`, which says what is
    raised. A model that answers, and cannot be followed while it does, is drawn by its parts, which a note says.
    """
    steps = request["steps"]
    if "model.load_onnx" in steps and "data.load" not in steps:
        answer, reading = onnx_alone(request)  # which is read once for both
        return answer | {"architecture": without_defaults(_onnx(steps, reading))}
    answer = inspect(request, loaded)
    facts = read_back(ModelFacts, answer["model"])
    data = None if answer["data"] is None else read_back(DataFacts, answer["data"])
    return answer | {"architecture": without_defaults(_architecture(request, facts, data))}


def _onnx(steps: Mapping[str, Any], reading: "OnnxReading") -> LayerGraph:
    from titrant.runtime.instruments.architecture.readers.onnx_graph import onnx_architecture

    name = Path(steps["model.load_onnx"][_FILES["model.load_onnx"]]["path"]).name
    return onnx_architecture(name, reading.graph, reading.facts, reading.shapes, reading.cases)


def _architecture(request: Mapping[str, Any], facts: ModelFacts, data: DataFacts | None) -> LayerGraph:
    steps = request["steps"]
    operator = next((name for name in _FILES if name in steps), "")
    if operator == "model.load_onnx":
        return _onnx(steps, onnx_alone(request)[1])
    if operator:
        path = Path(steps[operator][_FILES[operator]]["path"])
        if operator == "model.load_exported":
            from titrant.runtime.instruments.architecture.readers.torch_program import program_architecture

            return program_architecture(path, facts)
        from titrant.runtime.instruments.architecture.readers.torch_script import script_architecture

        return script_architecture(path, facts)
    return _factory(ModelLoadParams.model_validate_json(json.dumps(steps["model.load"])), request, facts, data)


def _factory(
    params: ModelLoadParams, request: Mapping[str, Any], facts: ModelFacts, data: DataFacts | None
) -> LayerGraph:
    """Build a model once more, without values unless its code reads them, and follow what it does with its inputs."""
    from titrant.runtime.backends.torch.factory import build, seeded
    from titrant.runtime.inspect.torch import resolve_args
    from titrant.runtime.instruments.architecture.readers.torch_module import follow, of_parts

    args = dict(params.args) if data is None else resolve_args(params.args, data)

    def made() -> "torch.nn.Module":
        return build(params.factory, args).eval()

    if not facts.inputs:
        note = "no inputs are known: name them with --inputs to see how data flows"
        with seeded(int(request.get("seed", 0))), _meta():
            return of_parts(params.factory, made(), (note,))
    if params.state is not None:
        note = "it hands on recurrent state, which is drawn by its parts alone"
        return of_layers(params.factory, facts.layers, (note,))
    failed: StepError | None = None
    for mode in (_fake, nullcontext) if not facts.reads_values else (nullcontext,):
        try:
            entered: AbstractContextManager[Any] = mode()
            with seeded(int(request.get("seed", 0))), entered:
                drawn = follow(params.factory, made(), facts.inputs)
        except StepError as error:
            failed = error
        else:
            note = "its code decides by values: drawn is the way that zeros take"
            return drawn if mode is not nullcontext else replace(drawn, notes=(*drawn.notes, note))
    assert failed is not None
    note = f"it could not be followed ({reason_of(failed)[:100]}): its parts are in the order of their registration"
    return of_layers(params.factory, facts.layers, (note,))


def _fake() -> Any:
    from torch._subclasses.fake_tensor import FakeTensorMode

    return FakeTensorMode(allow_non_fake_inputs=True)


def _meta() -> Any:
    import torch

    return torch.device("meta")
