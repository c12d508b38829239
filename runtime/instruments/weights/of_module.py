"""Read the tensors of a live module, one block of output channels at a time."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from titrant.runtime.backends.torch.executed import format_of
from titrant.runtime.instruments.weights.layer_tensor import LayerTensor, TensorRole, role_of_name, steps

if TYPE_CHECKING:
    import numpy as np
    import torch

_MATRIX = 2


def module_tensors(module: "torch.nn.Module") -> Iterator[LayerTensor]:
    """Yield each parameter and saved buffer once, in the order of the modules; tied ones under their first name.

    Weights that quantized layers keep packed are read too. Raises RecipeError X675 for a module that has no values yet,
    such as a lazily initialized one, or stands on the meta device.
    """
    import torch

    from titrant.runtime.backends.torch.call import refuse_empty

    refuse_empty(module)
    seen: set[int] = set()
    saved = None if isinstance(module, torch.jit.ScriptModule) else module.state_dict(keep_vars=True)
    for layer, part in module.named_modules():
        for last, tensor in own_tensors(part):
            name = f"{layer}.{last}" if layer else last
            kept = saved is None or name in saved or (not isinstance(tensor, torch.nn.Parameter) and last == "weight")
            if id(tensor) in seen or not kept:
                continue
            seen.add(id(tensor))
            yield tensor_of(name, layer or type(part).__name__, part, tensor)
    if isinstance(module, torch.jit.ScriptModule):
        yield from _constants(module)


def _constants(script: "torch.jit.ScriptModule") -> Iterator[LayerTensor]:
    """Yield the weights of a frozen script, which are constants of its code: a layer is named by its operation."""
    from titrant.runtime.backends.torch.executed import calls_with_constants

    seen: set[int] = set()
    for layer, _, held in calls_with_constants(script.inlined_graph):
        for last, tensor in held.items():
            if tensor.data_ptr() not in seen:
                seen.add(tensor.data_ptr())
                yield tensor_of(f"{layer}.{last}", layer, None, tensor)


def own_tensors(part: "torch.nn.Module") -> "list[tuple[str, torch.Tensor]]":
    """List what a layer itself holds: parameters, buffers, and weights that it keeps packed."""
    from titrant.runtime.arrays.torch_arrays import packed

    return [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False), *packed(part)]


def tensor_of(name: str, layer: str, part: "torch.nn.Module | None", tensor: "torch.Tensor") -> LayerTensor:
    """Return a torch tensor as what a layer holds; `part` is the layer, None where only its name is known."""
    import torch

    shape, axis = tuple(tensor.shape), 0
    if isinstance(part, torch.nn.modules.conv._ConvTransposeNd) and len(shape) > 1:
        axis = 1 if part.groups == 1 else 0
    channels = shape[axis] if len(shape) >= _MATRIX else 1
    each = tensor.numel() // channels if channels else 0

    def blocks() -> "Iterator[np.ndarray]":
        values = tensor.detach()
        values = values.movedim(axis, 0) if len(shape) >= _MATRIX else values.reshape(1, -1)
        for first, end in steps(channels, each):
            yield _floats(values[first:end]).reshape(end - first, -1).cpu().numpy()

    dtype = str(tensor.dtype).removeprefix("torch.")
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        dtype = format_of(tensor)  # a class that says how few bits it holds
    kind = "" if part is None else type(part).__name__
    return LayerTensor(name, layer, _role(name, part, tensor), dtype, shape, channels, blocks, kind)


def _floats(values: "torch.Tensor") -> "torch.Tensor":
    import torch

    if values.is_quantized or (
        hasattr(values, "dequantize") and type(values) not in (torch.Tensor, torch.nn.Parameter)
    ):
        values = values.dequantize()
    if values.is_complex():
        values = torch.view_as_real(values)
    return values if values.dtype == torch.float64 else values.float()


def _role(name: str, part: "torch.nn.Module | None", tensor: "torch.Tensor") -> TensorRole:
    import torch

    if part is None:
        return role_of_name(name, tensor.ndim)
    last = name.rpartition(".")[2]
    if isinstance(part, (torch.nn.Embedding, torch.nn.EmbeddingBag)):
        return "table"
    if last in ("running_mean", "running_var", "num_batches_tracked") or tensor.ndim < _MATRIX:
        normal = "norm" in type(part).__name__.lower()
        role = role_of_name(name, 1)
        return "bias" if role == "scale" and not normal else role
    if not tensor.is_floating_point() and not tensor.is_quantized:
        return "other"
    return "weight" if last.startswith(("weight", "in_proj", "q_proj", "k_proj", "v_proj", "kernel")) else "table"
