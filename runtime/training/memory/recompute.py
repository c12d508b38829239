"""Save activation memory in training: some layers compute their activations again in the backward pass."""

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from numbers import Real
from types import TracebackType
from typing import Any

import torch  # noqa: TID253 - its very subject
from torch import nn  # noqa: TID253
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten  # noqa: TID253
from torch.utils.checkpoint import checkpoint  # noqa: TID253

from titrant.runtime.seed import restorer
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

_LISTS = (nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class CheckpointedLayer:
    """What is computed again as a whole: a module, or its children from `start` to before `stop`."""

    name: str
    module: nn.Module
    start: int = 0
    stop: int = 0  # 0: the module itself

    @property
    def ends(self) -> tuple[nn.Module, nn.Module]:
        """The first and the last module that it calls."""
        if not self.stop:
            return self.module, self.module
        children = list(self.module.children())
        return children[self.start], children[self.stop - 1]


def layers_of(model: nn.Module) -> list[CheckpointedLayer]:
    """List the layers that can be computed again, in the order in which the model registers them.

    They are the blocks that a model repeats: children of an `nn.Sequential` or `nn.ModuleList`, and siblings of one
    class, that have children of their own. Without any, an `nn.Sequential` of n modules is cut into pieces of √n, of
    which none begins with a module that changes its input in place.
    """
    blocks = list(_blocks("", model))
    if blocks:
        return blocks
    parts = [(name, part) for name, part in model.named_modules() if isinstance(part, nn.Sequential)]
    return [piece for name, part in parts for piece in _pieces(name, part)]


def apply_gradient_checkpointing(model: nn.Module, ratio: float = 0.5) -> tuple[str, ...]:
    """Let a share of the model's layers compute their activations again in the backward pass; return their names.

    `ratio` is the share of the layers (`layers_of`), 0..1, rounded to the nearest number, at least one unless it is 0,
    which takes all off. The first layers are taken: the peak is at the end of the forward pass, and they are computed
    again when little else is left. Answers, gradients and buffers stay what they were: random numbers (Python, NumPy,
    torch) are drawn again alike, and a buffer that the forward pass moves, such as a batch norm's running mean, moves
    once. Structure and state dict stay as they are; without gradients nothing changes. Hooks on modules inside such a
    layer are called twice, and a module's own Python attributes change twice.

    Raises ValueError for a ratio outside of 0..1, StepError X520 for a model without such layers; in the forward pass
    X521 where a layer changes its input in place. Method: Chen et al. 2016, "Training Deep Nets with Sublinear Memory
    Cost"; torch.utils.checkpoint without reentrance.
    """
    if not isinstance(ratio, Real) or not 0 <= ratio <= 1:
        raise ValueError(f"a ratio of the layers is a number from 0 to 1, not {ratio!r}")
    _take_off(model)
    if ratio == 0:
        return ()
    layers = layers_of(model)
    if not layers:
        raise StepError(
            Diagnostic(
                "X520",
                f"{type(model).__name__} has no layers that could be computed again: no blocks in an nn.Sequential or "
                "nn.ModuleList, and no siblings of one class with children",
                help="set memory.gradient_checkpointing to none, or put the blocks into an nn.ModuleList",
            )
        )
    chosen = layers[: chosen_layers(len(layers), ratio)]
    for module in {id(layer.module): layer.module for layer in chosen}.values():
        module.forward = _Recomputed(module, [layer for layer in chosen if layer.module is module])
    return tuple(layer.name for layer in chosen)


def chosen_layers(layers: int, ratio: float) -> int:
    """Return how many of some layers a ratio comes to."""
    return 0 if ratio == 0 else max(1, math.floor(ratio * layers + 0.5))


@contextmanager
def without_recomputing(model: nn.Module) -> Iterator[None]:
    """Keep all activations for a while."""
    kept = _take_off(model)
    try:
        yield
    finally:
        for module, forward in kept:
            module.forward = forward


def _take_off(model: nn.Module) -> "list[tuple[nn.Module, _Recomputed]]":
    """Undo `apply_gradient_checkpointing`, and return what was there."""
    kept = []
    for module in model.modules():
        forward = module.__dict__.get("forward")
        if isinstance(forward, _Recomputed):
            kept.append((module, forward))
            del module.forward
            if forward.replaced is not None:
                module.forward = forward.replaced
    return kept


def _blocks(name: str, module: nn.Module) -> Iterator[CheckpointedLayer]:
    """Find the outermost repeated blocks, but look into a plain container among them."""
    children = list(module.named_children())
    listed = isinstance(module, (nn.Sequential, *_LISTS))
    for key, child in children:
        path = f"{name}.{key}" if name else key
        repeated = listed or sum(type(other) is type(child) for _, other in children) > 1
        inner = list(_blocks(path, child)) if not repeated or type(child) in (nn.Sequential, *_LISTS) else []
        if repeated and not inner and any(child.children()) and not isinstance(child, _LISTS):
            yield CheckpointedLayer(path, child)
        yield from inner


def _pieces(name: str, chain: nn.Sequential) -> Iterator[CheckpointedLayer]:
    children = list(chain)
    size = max(2, math.isqrt(len(children)))
    start = 0
    while start < len(children):
        stop = min(start + size, len(children))
        while stop < len(children) and getattr(children[stop], "inplace", False):
            stop += 1
        if stop - start > 1:
            label = f"{start} to {stop - 1}"
            yield CheckpointedLayer(f"{name}.{label}" if name else label, chain, start, stop)
        start = stop


class _Recomputed:
    """A module's forward that computes some layers of it again; copied and pickled with the module."""

    def __init__(self, module: nn.Module, layers: Sequence[CheckpointedLayer]) -> None:
        self.module = module
        self.replaced = module.__dict__.get("forward")
        # Not the layers themselves: a copy has to lead to the copied module.
        self.pieces = [(layer.name, layer.start, layer.stop) for layer in layers]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        plain = self.replaced or type(self.module).forward.__get__(self.module)
        if not torch.is_grad_enabled():
            return plain(*args, **kwargs)
        first, _, stop = self.pieces[0]
        if not stop:
            return _computed_again(first, [self.module], plain, args, kwargs)
        (value,) = args
        children, at = list(self.module.children()), 0
        for name, start, stop in self.pieces:
            value = _chain(children[at:start])(value)
            value = _computed_again(name, children[start:stop], _chain(children[start:stop]), (value,), {})
            at = stop
        return _chain(children[at:])(value)


def _chain(modules: Sequence[nn.Module]) -> Callable[[Any], Any]:
    def run(value: Any) -> Any:
        for module in modules:
            value = module(value)
        return value

    return run


def _computed_again(
    name: str, modules: Sequence[nn.Module], run: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """Call `run` so that its activations are dropped, and computed from the same state when they are needed."""
    leaves, spec = tree_flatten((args, dict(kwargs)))

    def flat(*values: Any) -> Any:
        positional, named = tree_unflatten(values, spec)
        return run(*positional, **named)

    state = _StateBefore(modules)
    given = [(leaf, leaf._version) for leaf in leaves if isinstance(leaf, torch.Tensor) and not leaf.is_inference()]
    contexts: tuple[AbstractContextManager[Any], AbstractContextManager[Any]] = (nullcontext(), state)
    answer = checkpoint(flat, *leaves, use_reentrant=False, context_fn=lambda: contexts)
    if any(leaf._version != version for leaf, version in given):
        raise StepError(
            Diagnostic(
                "X521",
                f"{name} changes its input in place, and would be computed again from another",
                help="build it with inplace=False, or set memory.gradient_checkpointing to none",
            )
        )
    state.keep_what_moves()
    return answer


class _StateBefore:
    """Buffers and random states as they were before a layer's forward, in whose place it is computed again."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.buffers = [
            (part, key, buffer.detach().clone())
            for module in modules
            for part in module.modules()
            for key, buffer in part._buffers.items()
            if buffer is not None
        ]
        self.restore = [restorer(library) for library in _libraries()]
        self.after: list[tuple[nn.Module, str, torch.Tensor | None]] = []
        self.restore_after: list[Callable[[], None]] = []

    def keep_what_moves(self) -> None:
        """Let go of the buffers that the forward pass left as they were."""
        # By value: batch normalization does not count its changes as torch counts others.
        self.buffers = [kept for kept in self.buffers if _moved(*kept)]

    def __enter__(self) -> None:
        self.restore_after = [restorer(library) for library in _libraries()]
        for restore in self.restore:
            restore()
        self.after = [(part, key, part._buffers[key]) for part, key, _ in self.buffers]
        # Others in their place, not other values: the graph may hold them.
        for part, key, before in self.buffers:
            part._buffers[key] = before.clone()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for part, key, buffer in self.after:
            part._buffers[key] = buffer
        for restore in self.restore_after:
            restore()


def _moved(part: nn.Module, key: str, before: torch.Tensor) -> bool:
    now = part._buffers[key]
    return now is not None and (now.shape != before.shape or not torch.equal(now, before))


def _libraries() -> list[str]:
    """Name the generators beside torch's, which torch restores itself."""
    return ["random", *(["numpy"] if "numpy" in sys.modules else [])]


def tensors_of(values: Any) -> list[torch.Tensor]:
    """List the tensors in nested arguments or answers."""
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]
