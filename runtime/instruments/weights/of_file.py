"""Read the tensors of a weights file by their names alone, one at a time."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.runtime.instruments.weights.layer_tensor import LayerTensor, role_of_name, steps
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError

if TYPE_CHECKING:
    import numpy as np


def file_tensors(file: Path) -> Iterator[LayerTensor]:
    """Yield the tensors of a .safetensors file, or of any other weights file that titrant reads, in its order.

    Layers are known by the names of the tensors. The former is mapped, and one tensor is copied at a time; of the
    others all are loaded. Raises RecipeError P080 and StepError X152 for a file that cannot be read, X153 for one that
    would have to run code.
    """
    if file.suffix.lower() == ".safetensors":
        yield from _mapped(file)
        return
    from titrant.runtime.backends.torch.checkpoint import read_saved
    from titrant.runtime.instruments.weights.of_module import tensor_of

    for keys, tensors in read_saved(str(file)).tensors.items():
        for last, tensor in tensors.items():
            name = ".".join((*keys, last))
            yield replace(tensor_of(name, _layer(name), None, tensor), role=role_of_name(name, tensor.ndim))


def _mapped(file: Path) -> Iterator[LayerTensor]:
    from titrant.runtime.backends.torch.safetensors_header import read_header

    try:
        held = read_header(file)
    except (ValueError, OSError) as error:
        message = f"{file.name} cannot be read: {error}" if file.is_file() else f"there is no file {file}"
        raise RecipeError(Diagnostic("P080", message, help="name a .safetensors file that is whole")) from None
    for tensor in held:
        channels = tensor.shape[0] if len(tensor.shape) > 1 else 1
        each = max(1, tensor.elements // max(1, channels))

        def blocks(name: str = tensor.name, channels: int = channels, each: int = each) -> "Iterator[np.ndarray]":
            from safetensors import safe_open

            with safe_open(file, "pt") as opened:
                values = opened.get_slice(name)[:] if channels > 1 else opened.get_tensor(name).reshape(1, -1)
                for first, end in steps(channels, each):
                    block = values[first:end].reshape(end - first, -1)
                    yield (block if str(block.dtype) == "torch.float64" else block.float()).numpy()

        role = role_of_name(tensor.name, len(tensor.shape))
        yield LayerTensor(tensor.name, _layer(tensor.name), role, tensor.dtype, tensor.shape, channels, blocks)


def _layer(name: str) -> str:
    return name.rpartition(".")[0] or "(root)"
