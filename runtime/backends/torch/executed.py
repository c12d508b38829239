"""Read back from torch in which precision it runs each layer with weights, of a live module or a TorchScript file."""

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends.backend import ExecutedLayer

if TYPE_CHECKING:
    import torch

    from titrant.runtime.values import TorchModel, TorchScriptModel

# torch's own kernels for whole numbers.
_INTEGER = (
    "quantized::linear", "quantized::conv", "quantized::embedding", "quantized::quantized_", "aten::quantized_",
)  # fmt: skip
# Calls that multiply by weights, do so inside, or look rows up in them.
_MULTIPLY = (
    "aten::_convolution", "aten::_native_multi_head_attention", "aten::_transformer_encoder_layer_fwd", "aten::addmm",
    "aten::baddbmm", "aten::bilinear", "aten::bmm", "aten::conv1d", "aten::conv2d", "aten::conv3d",
    "aten::conv_transpose1d", "aten::conv_transpose2d", "aten::conv_transpose3d", "aten::einsum", "aten::embedding",
    "aten::embedding_bag", "aten::gru", "aten::linear", "aten::lstm", "aten::matmul", "aten::mm", "aten::rnn_relu",
    "aten::rnn_tanh",
)  # fmt: skip
_LEAST_DIMENSIONS = 2
# What makes values out of others, and is no call.
_MAKES = "prim::"
# What holds a module whose answer is cut down or cast, and what a trace calls modules and the whole.
_WRAPPER, _TRACED, _SELF = "module.", "__module.", "self."
# Tensors whose class, rather than their numbers' type, says how few bits they hold.
_FEW_BITS = ("4bit", "int4", "uint4", "nf4", "fp4")
_ROWS = 2
# Where torch's own modules of whole numbers are defined.
_OWN_QUANTIZED = "torch.ao.nn.quantized"


def executed(model: "TorchModel | TorchScriptModel", *, layers: Collection[str] = ()) -> tuple[ExecutedLayer, ...]:
    """Return every layer with weights that a forward pass runs; the nodes of a file are named by their place.

    torch runs what it is given: nothing is fused or quantized on loading. A live module answers two rows of zeros; its
    layers are those that are called. Raises StepError X212 for a file that torch cannot load, and X221 for a module
    whose forward fails.
    """
    from titrant.runtime.values import TorchModel

    if isinstance(model, TorchModel):
        return tuple(_of_module(model, layers))
    from titrant.runtime.backends.torch.session import load_script

    script: Any
    script, border = load_script(model)
    owners = {tensor.data_ptr(): name.rpartition(".")[0] for name, tensor in script.named_parameters()}
    if owners:  # one that others made: its weights become constants, and stay where they lie
        script = _frozen(script)
    graph = script.inlined_graph
    calls = list(calls_of(graph))
    of_file = border.layers if len(border.layers) == len(calls) else ("",) * len(calls)
    held = {_answer(node): _owners(tensors, owners) or (name,) for name, node, tensors in calls_with_constants(graph)}
    return tuple(
        ExecutedLayer(name if name in layers else "", node, precision, kind, _layout(place))
        for of_call, (node, kind, precision, place) in zip(of_file, calls, strict=True)
        for name in _named(own_layer(of_call, layers), held.get(_answer(place), ("",)))
    )


def _named(of_file: str, others: Sequence[str]) -> Sequence[str]:
    """Name the layers of a call: one, but for a fused call, which has the weights of several."""
    return [of_file] if of_file else others


def _answer(node: Any) -> str:
    name: str = next(node.outputs()).debugName()
    return name


def _owners(tensors: "Mapping[str, torch.Tensor]", owners: Mapping[int, str]) -> tuple[str, ...]:
    """Name the modules whose matrices some tensors are."""
    wide = (tensor.data_ptr() for tensor in tensors.values() if tensor.ndim >= _LEAST_DIMENSIONS)
    return tuple(dict.fromkeys(owners[place] for place in wide if place in owners))


def own_layer(name: str, layers: Collection[str]) -> str:
    """Return the layer of the original that a module of a made one is, or lies in; "" where there is none.

    A module that is wrapped has the wrapper's name in front; what the model itself holds is called after its class,
    which comes first.
    """
    first = next(iter(layers), "")
    for inner in (name, name.removeprefix(_WRAPPER), name.removeprefix(_WRAPPER).removeprefix(_WRAPPER)):
        parts = inner.split(".")
        above = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
        layer = next((part for part in above if part in layers), "")
        if layer:
            return layer
    whole = len(layers) == 1 or not name.replace(_WRAPPER.strip("."), "").strip(".")
    return first if whole and first[:1].isupper() else ""


def names_of_calls(graph: Any) -> list[str]:
    """Name, for every call with weights of a traced or scripted graph in its order, the module that it computes.

    A graph that is loaded from a file does not know any more.
    """
    return [_module_of(node) for *_, node in calls_of(graph)]


def calls_of(graph: Any) -> Iterator[tuple[str, str, str, Any]]:
    """Yield (name, operation, precision, node) of every call with weights, those in branches too."""
    for place, (node, precision) in enumerate(_calls(graph)):
        yield f"{_operation(node)}_{place}", node.kind(), precision, node


def calls_with_constants(graph: Any) -> "Iterator[tuple[str, Any, dict[str, torch.Tensor]]]":
    """Yield (layer, node, {weight, bias …: tensor}) of every call of a frozen script that reads a constant matrix.

    Freezing leaves no modules, so that a layer is called after its operation and place. Nodes in branches count.
    """
    place = 0
    for node in nodes_of(graph):
        values = [constant for value in node.inputs() for constant in _constants(value)]
        tensors = [value for value in values if getattr(value, "ndim", 0)]
        if not node.kind().startswith(_MAKES) and any(value.ndim >= _LEAST_DIMENSIONS for value in tensors):
            yield f"{_operation(node)}_{place}", node, dict(_parts(tensors))
            place += 1


def in_branches(script: Any) -> dict[str, str]:
    """Return {layer: If or Loop} of the layers of a loaded script that a branch or a loop calls."""
    owners = {tensor.data_ptr(): name.rpartition(".")[0] for name, tensor in script.named_parameters()}
    graph = _frozen(script).inlined_graph if owners else script.inlined_graph
    within = {
        output.debugName(): node.kind().rpartition("::")[2]
        for node in graph.nodes()
        for block in node.blocks()
        for inner in nodes_of(block)
        for output in inner.outputs()
    }
    return {
        layer: within[_answer(node)]
        for name, node, tensors in calls_with_constants(graph)
        for layer in _owners(tensors, owners) or (name,)
        if _answer(node) in within
    }


def _frozen(script: Any) -> Any:
    """Return a script whose weights are constants of its code, and lie where they lay.

    Freezing makes one constant of equal ones, whose layers could not be told apart: each has a number of its own
    meanwhile.
    """
    import torch

    weights = [tensor for tensor in script.parameters() if tensor.numel() and tensor.is_floating_point()]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch prefers its .pt2 archives by now
        firsts = [tensor[(0,) * tensor.ndim].clone() for tensor in weights]
        try:
            for place, tensor in enumerate(weights):
                tensor[(0,) * tensor.ndim] = place
            return torch.jit.freeze(script, optimize_numerics=False)
        finally:
            for first, tensor in zip(firsts, weights, strict=True):
                tensor[(0,) * tensor.ndim] = first


def _operation(node: Any) -> str:
    operation: str = node.kind().rpartition("::")[2].strip("_")
    return operation


def _parts(tensors: "Sequence[torch.Tensor]") -> "Iterator[tuple[str, torch.Tensor]]":
    counts: dict[str, int] = {}
    for tensor in tensors:
        part = "weight" if tensor.ndim >= _LEAST_DIMENSIONS else "bias"
        counts[part] = counts.get(part, 0) + 1
        yield (part if counts[part] == 1 else f"{part}_{counts[part]}"), tensor


def _calls(graph: Any) -> Iterator[tuple[Any, str]]:
    for node in graph.nodes():
        precision = "int8" if node.kind().startswith(_INTEGER) else _of_constants(node)
        if precision:
            yield node, precision
        for block in node.blocks():
            yield from _calls(block)


def _module_of(node: Any) -> str:
    """Return the module that was traced in a call, or the one inside it whose weights are read; "" for the whole.

    A tied weight has the name of another module.
    """
    called = node.scopeName().rpartition("/")[2].removeprefix(_TRACED)
    held = [name for value in node.inputs() for name in _names(value) if name.startswith(_SELF)]
    holders = [name.removeprefix(_SELF).rpartition(".")[0] for name in held]
    if not called:
        return next(iter(holders), "")
    return next((holder for holder in holders if holder.startswith(f"{called}.")), called)


def _names(value: Any) -> Iterator[str]:
    """Yield the names of an input and of what it lists."""
    yield value.debugName()
    if value.node().kind() == "prim::ListConstruct":
        for item in value.node().inputs():
            yield from _names(item)


def nodes_of(block: Any) -> Iterator[Any]:
    """Yield the nodes of a script's graph, those in branches behind the node that has them."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from nodes_of(inner)


def _of_constants(node: Any) -> str:
    """Return the number format of the weights that a call multiplies by; "" for one that has none."""
    if node.kind() not in _MULTIPLY:
        return ""
    constants = (constant for value in node.inputs() for constant in _constants(value))
    weights = [value for value in constants if getattr(value, "ndim", 0) >= _LEAST_DIMENSIONS]
    return format_of(weights[0]) if weights else ""


def _layout(node: Any) -> str:
    """Name how the weights of a call lie in memory, where that is not contiguous."""
    from titrant.runtime.backends.torch.determinism import layout_name

    constants = (constant for value in node.inputs() for constant in _constants(value))
    return next((layout_name(value) for value in constants if getattr(value, "ndim", 0) >= _LEAST_DIMENSIONS), "")


def _constants(value: Any) -> Iterator[Any]:
    """Yield the constants that an input holds: recurrent layers are given theirs in a list."""
    node = value.node()
    if node.kind() == "prim::ListConstruct":
        for item in node.inputs():
            yield from _constants(item)
    elif node.kind() == "prim::Constant":
        constant = value.toIValue()
        yield from constant if isinstance(constant, list | tuple) else [constant]


def _of_module(model: "TorchModel", layers: Collection[str]) -> Iterator[ExecutedLayer]:
    """Run the module on zeros and yield the layers that were called, in their order.

    Attention multiplies by the weights of its projection itself, so that this is not called.
    """
    import torch

    from titrant.runtime.backends.torch.determinism import layout_name

    ran: dict[str, str] = {}

    def note(name: str, answer: Any) -> None:
        tensors = [item for item in (answer if isinstance(answer, tuple | list) else (answer,)) if item is not None]
        ran.setdefault(name, _answered(tensors))

    module = model.module
    hooks = [
        part.register_forward_hook(lambda _, __, answer, name=name: note(name, answer))  # type: ignore[misc]
        for name, part in module.named_modules()
    ]
    try:
        answer_zeros(model)
    finally:
        for hook in hooks:
            hook.remove()
    for name, part in module.named_modules():
        weight = _weight(part)
        above = module.get_submodule(name.rpartition(".")[0]) if name else part
        read = name in ran or isinstance(above, torch.nn.MultiheadAttention)
        if weight is not None and read:
            kind = type(part).__name__
            precision = precision_in(part, ran.get(name, ""))
            yield ExecutedLayer(own_layer(name, layers), name or kind, precision, kind, layout_name(weight))


def answer_zeros(model: "TorchModel") -> None:
    """Answer two rows of zeros; StepError X221 for a module whose forward fails."""
    import numpy as np

    from titrant.runtime.backends.torch.session import open_session

    zeros = {
        name: np.zeros([_ROWS if isinstance(size, str) else size for size in shape], dtype)
        for name, shape, dtype in model.inputs
    }
    open_session(model, threads=1).run(zeros)


def _answered(tensors: Sequence[Any]) -> str:
    kept = [item for item in tensors if getattr(item, "dtype", None) is not None and item.is_floating_point()]
    return format_of(kept[0]) if kept else ""


def _weight(part: "torch.nn.Module") -> Any:
    """Return the first tensor of two or more dimensions that a module itself holds, in whatever form."""
    held = [*part.parameters(recurse=False), *part.buffers(recurse=False)]
    return next((value for value in held if getattr(value, "ndim", 0) >= _LEAST_DIMENSIONS), None)


def precision_in(part: "torch.nn.Module", answered: str) -> str:
    """Return the width of weights of few bits, which kernels unpack, else the number format of a module's answer."""
    # Layers of few bits may keep bytes that hold several numbers each, and then say what these are.
    said: str = getattr(type(part), "executed_precision", "")
    if type(part).__module__.startswith(_OWN_QUANTIZED):
        return "int8"  # whose weights are packed, and no tensors of the module
    weight = _weight(part)
    if said or weight is None:
        return said or answered
    own = format_of(weight)
    return own if own.startswith("int") or not answered else answered


def format_of(tensor: Any) -> str:
    """Name a tensor's number format; by its class where that says how few bits it holds."""
    import torch

    kind = " ".join((type(tensor).__name__, type(getattr(tensor, "tensor_impl", None)).__name__)).lower()
    if any(bits in kind for bits in _FEW_BITS):
        return "int4"
    if "int8" in kind or tensor.dtype in (torch.int8, torch.uint8, torch.qint8, torch.quint8):
        return "int8"
    names = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16", torch.float64: "fp64"}
    return names.get(tensor.dtype, str(tensor.dtype).rpartition(".")[2])
