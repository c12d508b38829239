"""Control what the bytes of an answer depend on, besides the model and its inputs.

That is the memory layout of tensors (kernels choose by strides and by the first address, and the last bit depends on
it), threads, random numbers, algorithms and fused attention.
"""

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch  # noqa: TID253 - its very subject

# Where torch's own allocator begins every tensor. A matrix product of equal numbers that begin elsewhere rounds
# differently: one Linear(784, 10) gave four results over the sixteen offsets of a float32 in 64 bytes.
BOUNDARY_BYTES = 64


def tensor_of(array: np.ndarray, *, copy: bool = False) -> torch.Tensor:
    """Return an array as a tensor on the CPU that lies as a new one does; memory is shared where it already lies so.

    With `copy` it is never shared. Read-only arrays are copied too: torch would let them be written.
    """
    if copy or not array.flags.writeable or array.ctypes.data % BOUNDARY_BYTES or not _in_order(array):
        array = _copied(array)
    return torch.from_numpy(array)


def standard(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in C order, with its shape's strides, on the allocator's boundary; itself if it already is."""
    if tensor.data_ptr() % BOUNDARY_BYTES == 0 and tensor.stride() == _strides(tensor.shape):
        return tensor
    return tensor.clone(memory_format=torch.contiguous_format)


def lay_out(module: torch.nn.Module) -> None:
    """Give the parameters and buffers of a module, in place, the layout that loading would give them."""
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = standard(tensor.data)


def _copied(array: np.ndarray) -> np.ndarray:
    # In NumPy, since a model that is being traced has torch's operations watched.
    memory = np.empty(array.nbytes + BOUNDARY_BYTES, np.uint8)
    first = -memory.ctypes.data % BOUNDARY_BYTES
    made = memory[first : first + array.nbytes].view(array.dtype).reshape(array.shape)
    made[...] = array
    return made


def _in_order(array: np.ndarray) -> bool:
    return array.strides == tuple(array.itemsize * step for step in _strides(array.shape))


def _strides(shape: Sequence[int]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


@contextmanager
def fixed_settings(threads: int, seed: int = 0, *, deterministic: bool = True) -> Iterator[None]:
    """Run with a set number of threads, seeded random numbers and deterministic algorithms only.

    Training bytes depend on the number of threads, so it is never left to the environment.
    """
    before = torch.get_num_threads()
    # As use_deterministic_algorithms, which also imports torch.compile's machinery, for 1.4 seconds.
    mode = torch.get_deterministic_debug_mode()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode("error" if deterministic else "default")
        try:
            yield
        finally:
            torch.set_deterministic_debug_mode(mode)
            torch.set_num_threads(before)


@contextmanager
def plain_attention() -> Iterator[None]:
    """Switch off the fused encoder layer of inference mode, which has no form in ONNX and reads fp32 weights itself."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def without_dynamo() -> Iterator[None]:
    """Let torch's own Python run without `torch._dynamo`, whose import takes as long as torch's.

    torch wraps its dispatch modes and what it knows of shapes so that nothing compiles them, and imports the compiler
    to say so. Whoever asks for more than that inside gets the compiler; a compiled model has imported it before.
    """
    name, mark = "torch._dynamo", "__dynamo_disable"
    if name in sys.modules:
        yield
        return
    spared: list[Any] = []

    def disable(function: Any, *_: object, **__: object) -> Any:
        spared.append(function)
        return function

    def the_rest(attribute: str) -> Any:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)

    stand_in = ModuleType(name)
    vars(stand_in).update(disable=disable, __getattr__=the_rest)
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
        for function in spared:  # torch keeps the answer on the function
            vars(function).pop(mark, None)
