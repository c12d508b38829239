"""Describe TorchScript and torch.export files: layers, parameters, FLOPs and outputs, and how the data fits them."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends.torch.executed import calls_with_constants, in_branches
from titrant.runtime.backends.torch.program.original import (
    program_module,
    program_specs,
    program_tensors,
    read_script,
    rows_of,
    seen_size,
)
from titrant.runtime.inspect.graph.inputs import fit
from titrant.runtime.inspect.torch import dtype_name
from titrant.runtime.inspect.torch_forward import NOT_RUN, run_forward
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.facts import DataFacts, Layer, ModelFacts, TensorSpec

if TYPE_CHECKING:
    import torch

    from titrant.runtime.operators.model.load_exported import ModelLoadExportedParams
    from titrant.runtime.operators.model.load_torchscript import ModelLoadTorchscriptParams

_ADVICE = "check `data.inputs` and `model.inputs`: the file must take the data's shape"
# What a graph calls the products of modules, as torch calls the modules.
_TYPES: Mapping[str, str] = {
    "aten::linear": "Linear", "aten::_convolution": "Conv2d", "aten::conv1d": "Conv1d", "aten::conv2d": "Conv2d",
    "aten::conv3d": "Conv3d", "aten::embedding": "Embedding", "aten::batch_norm": "BatchNorm2d",
    "aten::layer_norm": "LayerNorm", "aten::addmm": "Linear", "aten::matmul": "Linear", "aten::lstm": "LSTM",
    "aten::gru": "GRU",
}  # fmt: skip

# torch's class of the projection at the end of an attention, which is a linear layer.
_PROJECTION = "NonDynamicallyQuantizableLinear"


def describe_exported(params: "ModelLoadExportedParams", data: DataFacts | None, task: str) -> ModelFacts:
    """Load a program, check that the data fits its inputs, and run it on two cases of zeros.

    Raises StepError X212 and X281 as model.load_exported does, X155 for NaN among its weights, X156 when it cannot
    answer, RecipeError X126 when inputs and data differ.
    """
    path = Path(params.exported.path)
    program, module = program_module(path)
    taken = tuple(TensorSpec(*spec) for spec in program_specs(program))
    specs = taken if data is None else fit(taken, data.inputs, path.name)
    tensors = program_tensors(program)
    _check_values(tensors, path.name, "model.exported")
    layers = tuple(_program_layers(program, tensors))
    return _facts(("exported", params.exported.digest), module, specs, tensors, layers, task=task)


def describe_script(params: "ModelLoadTorchscriptParams", data: DataFacts | None, task: str) -> ModelFacts:
    """Load a script, check that it has inputs of the data's names, and run it on two cases of zeros.

    `params.inputs` are what the recipe says of its inputs, which the file itself does not. Raises StepError X212 as
    model.load_torchscript does, X155 for NaN among its weights, X156 when it cannot answer.
    """
    path = Path(params.torchscript.path)
    script = read_script(path)
    named = tuple(TensorSpec(spec.name, spec.shape, spec.dtype) for spec in params.inputs)
    specs = named or (() if data is None else data.inputs)
    tensors = {**dict(script.named_parameters()), **dict(script.named_buffers()), **dict(_script_constants(script))}
    _check_values(tensors, path.name, "model.torchscript")
    layers = tuple(_script_layers(script))
    return _facts(("torchscript", params.torchscript.digest), script, specs, tensors, layers, task=task)


def _facts(
    file: tuple[str, str],
    module: "torch.nn.Module",
    specs: tuple[TensorSpec, ...],
    tensors: "Mapping[str, torch.Tensor]",
    layers: tuple[Layer, ...],
    *,
    task: str,
) -> ModelFacts:
    """Run a file, a key of the recipe and its digest, where all sizes of its inputs are known."""
    source, digest = file
    concrete = all(isinstance(size, int) for spec in specs for size in spec.shape[1:])
    seen = run_forward(f"model.{source}", module, specs, task, _ADVICE) if specs and concrete else NOT_RUN
    return ModelFacts(
        source=source,
        digest=digest,
        parameters=sum(layer.parameters for layer in layers),
        trainable=0,
        weight_bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()),
        layers=layers,
        inputs=specs,
        outputs=seen.outputs,
        flops=seen.flops,
        activation_bytes=seen.activation_bytes,
        notes=seen.notes,
        work=seen.work,
    )


def _check_values(tensors: "Mapping[str, torch.Tensor]", name: str, key: str) -> None:
    broken = [item for item, value in tensors.items() if value.is_floating_point() and bool(value.isnan().any())]
    if broken:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        help = "export it again from weights that trained well"
        raise StepError(Diagnostic("X155", f"{name}: NaN in {broken[0]}{more}", help=help, key=key))


def _program_layers(program: "torch.export.ExportedProgram", tensors: "Mapping[str, torch.Tensor]") -> Iterator[Layer]:
    """List the modules that a program says its weights are of, in the order of its tensors."""
    types = {
        str(path): str(kind).rpartition(".")[2]
        for node in program.graph.nodes
        for path, kind in (node.meta.get("nn_module_stack") or {}).values()
    }
    flops: dict[str, int] = {}
    for owner, operation, count in _program_products(program):
        types.setdefault(owner, _TYPES[operation])  # an attention multiplies by its projection's weights itself
        flops[owner] = flops.get(owner, 0) + count
    parameters = set(program.graph_signature.parameters)
    for owner, held in _by_owner(tensors).items():
        yield _layer(owner, _type(types.get(owner, "")), held, parameters, flops.get(owner))


def _program_products(program: "torch.export.ExportedProgram") -> Iterator[tuple[str, str, int]]:
    """Yield each product by weights: the module that these are of, the operation, its FLOPs of a case."""
    named = {**program.graph_signature.inputs_to_parameters, **program.graph_signature.inputs_to_buffers}
    rows = rows_of(program)
    for node in program.graph.nodes:
        name = str(getattr(node.target, "_schema", None) and node.target._schema.name)
        weight = next((item for item in node.args[1:2] if getattr(item, "name", "") in named), None)
        if name not in _TYPES or weight is None or name == "aten::embedding":
            continue
        elements, channels = math.prod(weight.meta["val"].shape), weight.meta["val"].shape[0]
        # The batch may stand anywhere: attention has it second, and flat.
        places = math.prod(seen_size(size) for size in node.meta["val"].shape) // (int(channels) * rows)
        yield named[weight.name].rpartition(".")[0], name, 2 * int(elements) * places


def _script_constants(script: Any) -> "Iterator[tuple[str, torch.Tensor]]":
    """Yield the tensors that freezing made constants of a script's code."""
    for node in script.inlined_graph.nodes():
        if node.kind() == "prim::Constant" and node.outputsSize() and node.output().type().kind() == "TensorType":
            value = node.output().toIValue()
            if value is not None and value.numel() > 1:
                yield f"constant {node.output().debugName()}", value


def _script_layers(script: Any) -> Iterator[Layer]:
    """List a script's modules with weights, and its calls that read constants: those of a frozen one are no modules.

    A layer in a branch or a loop has the type of that, as in an ONNX file: no engine's tools quantize inside.
    """
    types = {name: part.original_name for name, part in script.named_modules()}
    parameters = dict(script.named_parameters())
    branches = in_branches(script)
    for owner, own in _by_owner({**parameters, **dict(script.named_buffers())}).items():
        kind = branches.get(owner, _type(types.get(owner, "")))
        yield _layer(owner or script.original_name, kind, own, set(parameters), None)
    for name, node, held in calls_with_constants(script.inlined_graph):
        kind = branches.get(name, _TYPES.get(node.kind(), node.kind().rpartition("::")[2]))
        yield _layer(name, kind, held, set(held), None)


def _type(name: str) -> str:
    return "Linear" if name == _PROJECTION else name


def _by_owner(tensors: "Mapping[str, torch.Tensor]") -> "dict[str, dict[str, torch.Tensor]]":
    owners: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        owners.setdefault(name.rpartition(".")[0], {})[name] = value
    return owners


def _layer(
    name: str, kind: str, held: "Mapping[str, torch.Tensor]", parameters: "set[str]", flops: int | None
) -> Layer:
    weight = next((value for value in held.values() if value.ndim > 1), next(iter(held.values())))
    return Layer(
        name=name or kind,
        type=kind,
        parameters=sum(value.numel() for item, value in held.items() if item in parameters),
        weight_bytes=sum(value.numel() * value.element_size() for value in held.values()),
        weight_shape=tuple(weight.shape),
        flops=flops,
        dtype=dtype_name(weight),
    )
