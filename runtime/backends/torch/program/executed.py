"""Read back from a torch.export program in which precision it runs each layer that multiplies by weights."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends.backend import ExecutedLayer

if TYPE_CHECKING:
    import torch

    from titrant.runtime.values import ExportedModel

# Operations of aten that multiply by weights, or look them up, and the place of the weights among their arguments.
_WEIGHT_AT: Mapping[str, int] = {
    "linear": 1, "conv1d": 1, "conv2d": 1, "conv3d": 1, "convolution": 1, "conv_transpose1d": 1,
    "conv_transpose2d": 1, "conv_transpose3d": 1, "addmm": 2, "mm": 1, "_int_mm": 1, "bmm": 1, "baddbmm": 2,
    "matmul": 1, "einsum": 1, "embedding": 0, "embedding_bag": 0, "lstm": 2, "gru": 2, "rnn_tanh": 2, "rnn_relu": 2,
    "_weight_int8pack_mm": 1,
}  # fmt: skip
_LEAST_DIMENSIONS = 2
_PACKED = ("int8", "int4")
_STACK, _PARTS = "nn_module_stack", ".parametrizations."


def executed_program(model: "ExportedModel", *, layers: Collection[str] = ()) -> tuple[ExecutedLayer, ...]:
    """List the layers of a program in their order; weights that are kept in int8 and unpacked before count as int8.

    torch runs its operations one by one, as they stand. Raises StepError X212 for a file that torch cannot load.
    """
    from titrant.runtime.backends.torch.program.load import load_program

    named = program_layers(load_program(model)[0])
    return tuple(layer if layer.name in layers else replace(layer, name="") for layer in named)


def program_layers(program: "torch.export.ExportedProgram") -> tuple[ExecutedLayer, ...]:
    """List a program's layers with weights, each with the module that it was."""
    weights = _weights(program)
    return tuple(_layers(program, weights, _fixed(program, weights)))


def _weights(program: "torch.export.ExportedProgram") -> dict[str, Any]:
    """Return the tensors that a program's placeholders stand for."""
    signature = program.graph_signature
    named = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    tensors: dict[str, Any] = {place: program.state_dict.get(name) for place, name in named.items()}
    constants = {**signature.inputs_to_lifted_tensor_constants, **signature.inputs_to_buffers}
    tensors |= {place: program.constants[name] for place, name in constants.items() if name in program.constants}
    return {place: tensor for place, tensor in tensors.items() if tensor is not None}


def _fixed(program: "torch.export.ExportedProgram", weights: Mapping[str, Any]) -> frozenset[str]:
    """Name the nodes that are made of weights alone: the same whatever the inputs."""
    fixed: set[str] = set()
    for node in program.graph.nodes:
        if (
            node.name in weights
            if node.op == "placeholder"
            else all(made.name in fixed for made in node.all_input_nodes)
        ):
            fixed.add(node.name)
    return frozenset(fixed)


def _layers(
    program: "torch.export.ExportedProgram", weights: Mapping[str, Any], fixed: Collection[str]
) -> Iterator[ExecutedLayer]:
    from titrant.runtime.backends.torch.determinism import layout_name

    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    for node in program.graph.nodes:
        operation = _operation(node)
        if operation not in _WEIGHT_AT or len(node.args) <= _WEIGHT_AT[operation]:
            continue
        given = node.args[_WEIGHT_AT[operation]]
        # A recurrent layer is given its weights in a list, which begins with a matrix.
        given = given[0] if isinstance(given, list | tuple) and given else given
        source = _source(given, weights, fixed)
        if source is None:
            continue
        stored, computed = _format(weights[source].dtype), _format(given.meta["val"].dtype)
        unpacked = f"{operation} of {stored} weights, unpacked to {computed} on each call"
        engine_op = operation if stored == computed else unpacked
        precision = stored if stored in _PACKED else computed
        layout = layout_name(weights[source])
        yield ExecutedLayer(_module(node, names.get(source, "")), node.name, precision, engine_op, layout)


def _operation(node: Any) -> str:
    """Name a call of aten, without namespace and overload; "" for another node."""
    if node.op != "call_function" or getattr(node.target, "namespace", "") not in ("aten", "prims"):
        return ""
    return str(node.target._schema.name).rpartition("::")[2]


def _source(value: Any, weights: Mapping[str, Any], fixed: Collection[str]) -> str | None:
    """Follow an argument to the weights that it is, moved, cast or scaled; None where it is no weights."""
    while hasattr(value, "op") and value.name in fixed:
        if value.name in weights:
            return str(value.name) if weights[value.name].ndim >= _LEAST_DIMENSIONS else None
        # Of what is multiplied by its scales the larger one is the weights.
        value = max((item for item in value.args if hasattr(item, "op")), key=_dimensions, default=None)
    return None


def _dimensions(node: Any) -> int:
    value = node.meta.get("val")
    return int(getattr(value, "ndim", 0))


def _module(node: Any, weight: str) -> str:
    """Return the innermost module that a node was made of, as the module itself calls it.

    Where that reads the `weight` of a module inside it without calling that, as attention does, it is the one inside.
    """
    stack = node.meta.get(_STACK) or {}
    path = [name for name, _ in stack.values()]
    # The wrapper of script.Flat is no part of the model.
    called = str(path[-1]).removeprefix("module.") if path else ""
    # What a weight is made of stands inside the module that has it.
    made, parts, _ = weight.removeprefix("module.").partition(_PARTS)
    holder = made if parts else made.rpartition(".")[0]
    return holder if called and holder.startswith(f"{called}.") else called


def _format(dtype: "torch.dtype") -> str:
    import torch

    names = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16", torch.float64: "fp64"}
    return names.get(dtype, str(dtype).rpartition(".")[2].removeprefix("u"))
