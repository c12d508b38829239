"""Control what the bytes of an answer depend on, besides the model and its inputs.

That is the memory layout of tensors (kernels choose by strides and by the first address, and the last bit depends on
it), threads, random numbers, algorithms and fused attention.
"""

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch  # noqa: TID253 - its very subject

from titrant.runtime.seed import seed_torch
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError
from titrant.schema.values.layout import CHANNELS_LAST

# Where torch's own allocator begins every tensor. A matrix product of equal numbers that begin elsewhere rounds
# differently: one Linear(784, 10) gave four results over the sixteen offsets of a float32 in 64 bytes.
BOUNDARY_BYTES = 64
_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
_CONVOLUTIONS = (torch.nn.Conv2d, torch.nn.Conv3d, torch.nn.ConvTranspose2d, torch.nn.ConvTranspose3d)


def tensor_of(array: np.ndarray, *, copy: bool = False) -> torch.Tensor:
    """Return an array as a tensor on the CPU that lies as a new one does; memory is shared where it already lies so.

    With `copy` it is never shared. Read-only arrays are copied too: torch would let them be written.
    """
    if copy or not array.flags.writeable or array.ctypes.data % BOUNDARY_BYTES or not _in_order(array):
        array = _copied(array)
    return torch.from_numpy(array)


def standard(tensor: torch.Tensor, *, channels_last: bool = False) -> torch.Tensor:
    """Return a tensor in C order, with its shape's strides, on the allocator's boundary; itself if it already is.

    With `channels_last` that of a convolution, (out, in, height, width) or with a depth before them, has its second
    dimension innermost.
    """
    order = _LAST[tensor.ndim] if channels_last else torch.contiguous_format
    strides = _strides_last(tensor.shape) if channels_last else _strides(tensor.shape)
    if tensor.data_ptr() % BOUNDARY_BYTES == 0 and tensor.stride() == strides:
        return tensor
    return tensor.clone(memory_format=order)


def lay_out(module: torch.nn.Module, *, channels_last: bool = False) -> None:
    """Give the parameters and buffers of a module, in place, the layout that loading would give them.

    Each gets a memory of its own, but for those that are the same numbers of one memory: a part of a larger one lets
    that go. With `channels_last` the weights of its convolutions over two or three dimensions lie so.
    """
    last = {id(weight) for weight in convolutions(module)} if channels_last else set()
    moved: dict[tuple[Any, ...], torch.Tensor] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        data, is_last = tensor.data, id(tensor) in last
        key = (data.data_ptr(), data.shape, data.stride(), data.dtype, is_last)
        if key not in moved:
            laid_out = standard(data, channels_last=is_last)
            moved[key] = laid_out.clone() if _is_part(laid_out) else laid_out
        tensor.data = moved[key]


def _is_part(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds on to a memory that is larger than it."""
    plain = type(tensor) is torch.Tensor and tensor.layout == torch.strided and not tensor.is_meta
    return plain and tensor.untyped_storage().nbytes() > tensor.nbytes


def storage_bytes(module: torch.nn.Module) -> int:
    """Count the memory that the parameters and buffers of a module hold on to, what several share once, in bytes."""
    storages = (tensor.untyped_storage() for tensor in (*module.parameters(), *module.buffers()))
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def convolutions(module: torch.nn.Module) -> list[torch.nn.Parameter]:
    """List the weights of a module's convolutions over two or three dimensions; PreconditionError X629 where none is.

    Weights that are computed before each call are none: they lie as they come out.
    """
    parts = (part for part in module.modules() if isinstance(part, _CONVOLUTIONS))
    weights = [weight for part in parts if (weight := part._parameters.get("weight")) is not None]
    if not weights:
        message = "no convolution over two or three dimensions holds a weight that could lie channels last"
        raise PreconditionError(Diagnostic("X629", message, help="leave memory.layout out"))
    return weights


def layout_name(tensor: torch.Tensor) -> str:
    """Return "channels_last" for a convolution's weight that lies so, "" for any other tensor."""
    return CHANNELS_LAST if tensor.ndim in _LAST and tensor.stride() == _strides_last(tensor.shape) else ""


def _copied(array: np.ndarray) -> np.ndarray:
    # In NumPy, since a model that is being traced has torch's operations watched.
    memory = np.empty(array.nbytes + BOUNDARY_BYTES, np.uint8)
    first = -memory.ctypes.data % BOUNDARY_BYTES
    made = memory[first : first + array.nbytes].view(array.dtype).reshape(array.shape)
    made[...] = array
    return made


def _in_order(array: np.ndarray) -> bool:
    return array.strides == tuple(array.itemsize * step for step in _strides(array.shape))


def _strides_last(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides of (out, in, …) with `in` innermost."""
    out, *others, inner = _strides((shape[0], *shape[2:], shape[1]))
    return (out, inner, *others)


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
        seed_torch(torch, seed)
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


class _Nothing:
    """Stands for a class that nothing is an instance of as long as its module is not loaded."""

    def __instancecheck__(self, value: object) -> bool:
        """Say that no value is one, until the module is loaded."""
        sympy = sys.modules.get("sympy")
        return getattr(sympy, "__spec__", None) is not None and isinstance(value, vars(sympy)["Basic"])

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        """Give the real class to whoever derives from it."""
        return (_loaded("sympy").Basic,)


def _all_hold(*conditions: bool) -> bool:
    return all(conditions)


def _any_holds(*conditions: bool) -> bool:
    return any(conditions)


def _are_equal(left: int | Sequence[int], right: int | Sequence[int]) -> bool:
    return left == right if isinstance(left, int) or isinstance(right, int) else list(left) == list(right)


_SYMBOLS = "torch.fx.experimental.symbolic_shapes"
# What it says of plain numbers: a condition holds or not, a size is what it is.
_PLAIN_ANSWERS: Mapping[str, Callable[..., Any]] = {
    **dict.fromkeys(("expect_true", "guard_or_false", "guard_or_true", "statically_known_true"), _all_hold),
    "guard_size_oblivious": _all_hold,
    "guarding_hint_or_throw": lambda size: size,
    "has_guarding_hint": lambda _: True,
    "is_nested_int": lambda _: False,
    "sym_and": _all_hold,
    "sym_or": _any_holds,
    "sym_eq": _are_equal,
}
# Each of them imports those after it.
_COMPILER = ("torch._dynamo", _SYMBOLS, "sympy")


@contextmanager
def uncompiled() -> Iterator[None]:
    """Let torch's own Python run without its compiler, whose import takes as long as torch's.

    torch wraps its dispatch modes and what it knows of shapes so that nothing compiles them, and imports the compiler
    to say so. Of plain sizes it asks what knows symbolic ones, and of plain numbers whether they are symbols. Whoever
    asks for more than that inside gets the real modules; a compiled model has imported them before.
    """
    spared: list[Any] = []

    def disable(*given: Any, **named: Any) -> Any:
        if sys._getframe(1).f_globals.get("__name__") != "torch._compile":
            return _loaded(_COMPILER[0]).disable(*given, **named)  # a user's function is to stay uncompiled for good
        spared.append(given[0])
        return given[0]

    sizes = {name: _of_plain_sizes(name, answer) for name, answer in _PLAIN_ANSWERS.items()}
    given: tuple[Mapping[str, Any], ...] = ({"disable": disable}, sizes, {"Basic": _Nothing()})
    with ExitStack() as standing_in:
        for name, values in zip(_COMPILER, given, strict=True):
            standing_in.enter_context(_standing_in(name, values))
        try:
            yield
        finally:
            for function in spared:  # torch keeps the answer on the function
                vars(function).pop("__dynamo_disable", None)


def _of_plain_sizes(name: str, answer: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given: answer(*given) if all(map(_is_plain, given)) else getattr(_loaded(_SYMBOLS), name)(*given)


def _is_plain(value: Any) -> bool:
    """Whether a size or condition, or a list of such, is numbers of Python's."""
    return isinstance(value, int) or (isinstance(value, (tuple, list)) and all(map(_is_plain, value)))


@contextmanager
def _standing_in(name: str, values: Mapping[str, Any]) -> Iterator[None]:
    """Give these values for a module that is not loaded; it is loaded as soon as more of it is asked for."""
    if name in sys.modules:
        yield
        return

    def the_rest(attribute: str) -> Any:
        if attribute == "__path__" and name == _SYMBOLS:  # `from … import` asks whether it is a package
            raise AttributeError(attribute)
        real = _loaded(name)
        for stood_in in values:  # whoever has imported what stood in for it gets the real ones from now on
            vars(stand_in).pop(stood_in, None)
        return getattr(real, attribute)

    stand_in = ModuleType(name)
    vars(stand_in).update(values, __getattr__=the_rest)
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]


def _loaded(name: str) -> ModuleType:
    """Import a part of the compiler, with the real ones of what it imports itself."""
    for part in _COMPILER[_COMPILER.index(name) :]:
        if getattr(sys.modules.get(part), "__spec__", None) is None:
            sys.modules.pop(part, None)
    return importlib.import_module(name)
