"""How tensors lie in memory: kernels choose by strides and by the first address, and so does the last bit."""

import numpy as np
import torch  # noqa: TID253 - its very subject

from titrant.runtime.layout import laid_out

# Where torch's own allocator begins every tensor. A matrix product of equal numbers that begin elsewhere rounds
# otherwise: four answers of one Linear(784, 10) over the sixteen places of a float32 in 64 bytes.
BOUNDARY_BYTES = 64


def tensor_of(array: np.ndarray, *, copy: bool = False) -> torch.Tensor:
    """Return an array as a tensor on the CPU that lies as a new one does; memory is shared where it already lies so.

    With `copy` it is never shared. Read-only arrays are copied too: torch would let them be written.
    """
    if copy or not array.flags.writeable:
        array = np.array(array, order="C")
    return standard(torch.from_numpy(laid_out(array)))


def standard(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in C order, with the strides of its shape, on the allocator's boundary; itself if it lies so."""
    if tensor.data_ptr() % BOUNDARY_BYTES == 0 and tensor.stride() == _strides(tensor.shape):
        return tensor
    return tensor.clone(memory_format=torch.contiguous_format)


def lay_out(module: torch.nn.Module) -> None:
    """Let the parameters and buffers of a module lie as those of one that was just loaded."""
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = standard(tensor.data)


def _strides(shape: torch.Size) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))
