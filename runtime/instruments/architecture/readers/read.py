"""Read the architecture of the model that an inspection asks about, in the child process that looks at it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from titrant.runtime.inspect.inspect import inspect, rests_on
from titrant.runtime.instruments.architecture.architecture import Architecture, of_layers
from titrant.runtime.operators.model.load_onnx import ModelLoadOnnxParams
from titrant.schema.facts import ModelFacts
from titrant.schema.values.canonical import plain, read_back


def read(request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer an inspection, and add "architecture": plain(Architecture) of its model, and of none beside it.

    The request and the rest of the answer are those of `titrant.runtime.inspect.inspect.inspect`, whose errors it raises.
    """
    steps = request["steps"]
    if "model.load_onnx" in steps:
        return _onnx(request)
    answer = inspect(request)
    facts = read_back(ModelFacts, answer["model"])
    name = _name(steps)
    return answer | {"architecture": plain(replace(of_layers(name, facts), name=name))}


def _onnx(request: Mapping[str, Any]) -> dict[str, Any]:
    from titrant.runtime.inspect.onnx import read_onnx
    from titrant.runtime.instruments.architecture.readers.onnx_graph import onnx_architecture

    steps = request["steps"]
    params = ModelLoadOnnxParams.model_validate_json(json.dumps(steps["model.load_onnx"]))
    reading = read_onnx(params, None)
    drawn: Architecture = onnx_architecture(_name(steps), reading.graph, reading.facts, reading.shapes, reading.cases)
    if "data.load" in steps:
        return inspect(request) | {"architecture": plain(drawn)}
    return {"model": plain(reading.facts), "data": None, **rests_on(steps), "architecture": plain(drawn)}


def _name(steps: Mapping[str, Any]) -> str:
    for operator, key in (("onnx", "onnx"), ("exported", "exported"), ("torchscript", "torchscript")):
        if f"model.load_{operator}" in steps:
            return Path(steps[f"model.load_{operator}"][key]["path"]).name
    return str(steps["model.load"]["factory"]) if "model.load" in steps else "model"
