"""Settle what each input of the model is made of, before the data are transformed: by the model's own names."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.runtime.data.content import input_names
from titrant.runtime.data.elsewhere import Loaded, elsewhere
from titrant.runtime.data.parameters import InputPartParams, StateParams, TensorParams
from titrant.runtime.data.tokenize import as_tokens
from titrant.runtime.data.wiring import STACKED, ModelInput, Part, Signature, check_names, groups, match, names_in
from titrant.runtime.inspect.recurrent import check_name
from titrant.runtime.operators.data.transform import classes_of, wire
from titrant.runtime.operators.model.load import ModelLoadParams
from titrant.runtime.operators.model.load_exported import ModelLoadExportedParams
from titrant.runtime.operators.model.load_onnx import ModelLoadOnnxParams
from titrant.runtime.operators.model.load_torchscript import ModelLoadTorchscriptParams
from titrant.schema.facts import DataFacts, TensorSpec

if TYPE_CHECKING:
    import numpy as np

    from titrant.runtime.operators.data.transform import DataTransformParams
    from titrant.runtime.values import Tables


def settled(
    params: "DataTransformParams", tables: "Tables", steps: Mapping[str, str], *, seed: int
) -> "DataTransformParams":
    """Return the parameters with every input of the model mapped and typed; as they are where they say the same.

    `steps` are those of the request, of which one loads the model: a graph names its inputs, a module by its forward.
    Raises RecipeError X129 where names do not match.
    """
    table = next(iter(tables.sources.values()))
    if (loaded := elsewhere(params.transform_from, params, table)) is not None:
        return _loaded(params, tables, loaded, steps, seed)
    columns = as_tokens({name: table.columns[name] for name in input_names(params, table)}, params.transforms)
    stated = params.parts or None
    if "model.load_onnx" in steps:
        file = ModelLoadOnnxParams.model_validate_json(steps["model.load_onnx"])
        signature = _stateless(_file_signature(file.onnx.path), file.state)
        check_names(signature, params.model_inputs)
        specs = _sized(signature, params.model_inputs)
        return _explicit(params, columns, match(_columned(signature, specs), columns, stated), specs)
    if "model.load_exported" in steps:
        signature = _other_file_signature(steps)
        check_names(signature, params.model_inputs)
        specs = _sized(signature, params.model_inputs)
        return _explicit(params, columns, match(_columned(signature, specs), columns, stated), specs)
    if "model.load_torchscript" in steps:
        return _by_names(params, columns, _other_file_signature(steps), stated)
    loading = ModelLoadParams.model_validate_json(steps["model.load"])
    declared = _class_signature(loading.factory)
    declared = None if declared is None else _stateless(declared, loading.state)
    if declared is None:
        if len(columns) == 1 and len(params.model_inputs) <= 1 and stated is None:
            return params  # a lone array or column needs no name
        declared = _stateless(_built_signature(loading, params, tables, seed), loading.state)
    return _by_names(params, columns, declared, stated)


def _by_names(
    params: "DataTransformParams",
    columns: "Mapping[str, np.ndarray]",
    declared: Signature,
    stated: Mapping[str, Part] | None,
) -> "DataTransformParams":
    """Map the inputs of a forward, which has names and says no shapes."""
    check_names(declared, params.model_inputs)
    stated_inputs = _columned(_stated_signature(declared, params.model_inputs), params.model_inputs)
    parts = match(stated_inputs, columns, stated)
    return _explicit(params, columns, parts, params.model_inputs)


def _other_file_signature(steps: Mapping[str, str]) -> Signature:
    """Return what a torch.export or TorchScript file takes."""
    from titrant.runtime.backends.torch.program.original import program_signature, script_signature

    if "model.load_exported" in steps:
        exported = ModelLoadExportedParams.model_validate_json(steps["model.load_exported"])
        return program_signature(Path(exported.exported.path))
    script = ModelLoadTorchscriptParams.model_validate_json(steps["model.load_torchscript"])
    return script_signature(Path(script.torchscript.path))


def _loaded(
    params: "DataTransformParams", tables: "Tables", loaded: Loaded, steps: Mapping[str, str], seed: int
) -> "DataTransformParams":
    """Map every input of the model to the columns that the loaded transforms make it of."""
    if "model.load_onnx" in steps:
        signature = _file_signature(ModelLoadOnnxParams.model_validate_json(steps["model.load_onnx"]).onnx.path)
        specs = _sized(signature, params.model_inputs)
    elif "model.load" not in steps:
        signature = _stated_signature(_other_file_signature(steps), params.model_inputs)
        specs = params.model_inputs
    else:
        loading = ModelLoadParams.model_validate_json(steps["model.load"])
        declared = _class_signature(loading.factory) or _built_signature(loading, params, tables, seed)
        signature, specs = _stated_signature(declared, params.model_inputs), params.model_inputs
    check_names(signature, params.model_inputs)
    taken = _columned(signature, specs)
    own_names = {item.name for item in taken.inputs}
    required = taken.required
    # As where the data are matched: a lone input is called as the model calls it where that has a say.
    lone = required[0] if required and (taken.renames or STACKED in own_names) else STACKED
    parts: dict[str, Part]
    if loaded.is_graph and not loaded.parts:
        parts = dict.fromkeys(required if len(required) > 1 else (lone,), loaded.columns)
    elif len(loaded.parts) == 1 and len(required) <= 1:
        parts = {lone: next(iter(loaded.parts.values()))}
    else:
        parts = match(taken, {}, loaded.parts)
    stated = tuple(spec for spec in specs if spec.name in parts or spec.value is not None)
    wiring = (
        *(InputPartParams(name=name, part=part) for name, part in parts.items()),
        *(InputPartParams(name=spec.name, value=spec.value) for spec in stated if spec.value is not None),
    )
    return params.model_copy(update={"wiring": wiring, "model_inputs": stated})


def _file_signature(path: str) -> Signature:
    from titrant.runtime.inspect.graph.inputs import graph_inputs, refuse_text, specs_of
    from titrant.runtime.operators.model.load_onnx import read_graph

    model, _ = read_graph(path)
    specs = specs_of(model, graph_inputs(model))
    refuse_text(specs, Path(path).name)
    return Signature(tuple(ModelInput(spec.name, spec.shape, spec.dtype) for spec in specs), renames=True)


def _stateless(signature: Signature, state: StateParams | None) -> Signature:
    """Leave out the inputs that hold recurrent state: no part of the data. RecipeError X166 for another name."""
    fed = () if state is None else state.feeds.values()
    names = [item.name for item in signature.inputs]
    if signature.named and not signature.any_name:
        for name in fed:
            check_name(name, names, "input", f"model.state {name}")
    return replace(signature, inputs=tuple(item for item in signature.inputs if item.name not in fed))


def _sized(signature: Signature, stated: Sequence[TensorParams]) -> tuple[TensorParams, ...]:
    """Return a file's inputs, with the sizes that the recipe states where the file leaves them free."""
    by_name = {spec.name: spec for spec in stated}
    return tuple(
        by_name.get(item.name, TensorParams(name=item.name, shape=item.shape or (), dtype=item.dtype or "float32"))
        for item in signature.inputs
    )


def _columned(signature: Signature, specs: Sequence[TensorParams]) -> Signature:
    """Leave out the inputs whose value the recipe states: they are no part of the data."""
    valued = {spec.name for spec in specs if spec.value is not None}
    return replace(signature, inputs=tuple(item for item in signature.inputs if item.name not in valued))


def _class_signature(factory: str) -> Signature | None:
    """Return what a module's class says of its forward; None where the factory has to be called to know."""
    import torch

    from titrant.runtime.backends.torch.arguments import forward_signature
    from titrant.runtime.user_code import resolve

    made = resolve(factory)
    if not (isinstance(made, type) and issubclass(made, torch.nn.Module)) or made.forward is torch.nn.Module.forward:
        return None
    return forward_signature(made.forward, bound=False)


def _built_signature(loading: ModelLoadParams, params: "DataTransformParams", tables: "Tables", seed: int) -> Signature:
    from titrant.runtime.backends.torch.arguments import signature_of
    from titrant.runtime.inspect.torch import built, resolve_args

    table = next(iter(tables.sources.values()))
    given = groups(as_tokens({name: table.columns[name] for name in input_names(params, table)}, params.transforms))
    classes = classes_of(params, tables)
    data = DataFacts(
        digest="",
        rows=0,
        columns=(),
        classes=() if classes is None else classes.names,
        positive=None,
        inputs=tuple(TensorSpec(name, ("batch", len(names_in(part))), "") for name, part in given.items()),
        roles={},
    )
    return signature_of(built(loading.factory, resolve_args(loading.args, data), seed))


def _stated_signature(signature: Signature, specs: Sequence[TensorParams]) -> Signature:
    """Return what the model takes, as the recipe states it where it does, in the order of the forward."""
    if not specs:
        return signature
    order = [item.name for item in signature.inputs]
    inputs = [ModelInput(spec.name, spec.shape, spec.dtype) for spec in specs]
    if signature.named:
        inputs.sort(key=lambda item: order.index(item.name) if item.name in order else len(order))
    return Signature(tuple(inputs), renames=True)


def _explicit(
    params: "DataTransformParams",
    columns: "Mapping[str, np.ndarray]",
    parts: Mapping[str, Part],
    specs: Sequence[TensorParams],
) -> "DataTransformParams":
    taken = tuple(spec for spec in specs if spec.name in parts or spec.value is not None)
    if len(parts) == 1 and not params.wiring and len(taken) <= 1:
        named = not params.model_inputs or params.model_inputs[0].name in parts
        if named and wire(columns, params.model_inputs) == wire(columns, taken, parts):
            return params
    wiring = (
        *(InputPartParams(name=name, part=part) for name, part in parts.items()),
        *(InputPartParams(name=spec.name, value=spec.value) for spec in taken if spec.value is not None),
    )
    return params.model_copy(update={"wiring": wiring, "model_inputs": taken})
