"""The memory layout of tensors: kernels choose by strides and by the first address, and the last bit depends on it."""

import numpy as np
import torch  # noqa: TID253 - its very subject

from titrant.runtime.layout import laid_out

# Where torch's own allocator begins every tensor. A matrix product of equal numbers that begin elsewhere rounds
# differently: one Linear(784, 10) gave four results over the sixteen offsets of a float32 in 64 bytes.
BOUNDARY_BYTES = 64


def tensor_of(array: np.ndarray, *, copy: bool = False) -> torch.Tensor:
    """Return an array as a tensor on the CPU with the layout of a new one; memory is shared where it already has it.

    With `copy` it is never shared. Read-only arrays are copied too: torch would let them be written.
    """
    if copy or not array.flags.writeable:
        array = np.array(array, order="C")
    return standard(torch.from_numpy(laid_out(array)))


def standard(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in C order, with its shape's strides, on the allocator's boundary; itself if it already is."""
    if tensor.data_ptr() % BOUNDARY_BYTES == 0 and tensor.stride() == _strides(tensor.shape):
        return tensor
    return tensor.clone(memory_format=torch.contiguous_format)


def lay_out(module: torch.nn.Module) -> None:
    """Give the parameters and buffers of a module, in place, the layout that loading would give them."""
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = standard(tensor.data)


def _strides(shape: torch.Size) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))
