"""Find the blocks of a network that an identity can stand for, such as residual blocks and encoder layers."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch  # noqa: TID253 - its very subject

# Modules that only hold others: what they hold is looked at instead, where it repeats.
_CONTAINERS = (torch.nn.Sequential, torch.nn.ModuleList, torch.nn.ModuleDict)


@dataclass(frozen=True)
class Block:
    """A block that may be removed: its name, and the parameters that nobody else holds.

    `items` is the length of the tuple that it answers with, 0 for a tensor alone; `by` is the name by which it is given
    its tensor, "" where that comes first; `more` says that it is given more than a tensor, such as a mask.
    """

    name: str
    parameters: int
    items: int = 0
    by: str = ""
    more: bool = False

    def form(self) -> dict[str, Any]:
        """Return what a stand-in has to know of how it is called; {} where one tensor goes in and one comes out."""
        form: dict[str, Any] = {"items": self.items, "by": self.by, "more": self.more}
        return {key: value for key, value in form.items() if value}


class Passed(torch.nn.Module):
    """Stands for a removed block: answers with the tensor that it is given, in the form that the block answered in."""

    def __init__(self, items: int = 0, by: str = "") -> None:
        super().__init__()
        self.items, self.by = items, by

    def forward(self, *given: Any, **named: Any) -> Any:
        """Return the block's tensor as it is, of any shape; other arguments pass by."""
        tensor = named[self.by] if self.by else given[0]
        return (tensor, *(None for _ in range(self.items - 1))) if self.items else tensor

    def extra_repr(self) -> str:
        """Say in which form it answers."""
        return f"items={self.items}" if self.items else ""


def stand_in(form: Mapping[str, Any]) -> torch.nn.Module:
    """Return the module that takes a block's place, by what `Block.form` says."""
    return Passed(form.get("items", 0), form.get("by", "")) if form else torch.nn.Identity()


@dataclass
class _Seen:
    """What was seen of one module's calls: how many, what went in, and what came out."""

    calls: int = 0
    given: Any = None  # its tensor
    answer: Any = None  # its first tensor
    items: int = 0
    by: str = ""
    more: bool = False
    fits: bool = False  # what comes out may be what went in


@dataclass
class BlockCalls:
    """The calls of a module's composite parts in one forward pass, by name."""

    module: torch.nn.Module
    seen: dict[str, _Seen] = field(default_factory=dict)

    def blocks(self) -> tuple[Block, ...]:
        """Return the blocks that may be removed, in the order in which they are called.

        A block is a part with parts of its own that is called once, keeps the shape and dtype of the tensor that it is
        given, and is one of several of its class. Of nested ones the outermost counts, but one that ends with another
        such part, or holds it as a container, is a stack of blocks and no block.
        """
        parts = dict(self.module.named_modules())
        classes = Counter(type(parts[name]) for name in self.seen)
        fitting = [
            name
            for name, seen in self.seen.items()
            if seen.calls == 1 and seen.fits and classes[type(parts[name])] > 1 and self._own(name)
        ]
        able = [name for name in fitting if not self._is_stack(name, fitting, parts)]
        kinds: set[type] = set()
        outermost = set()
        for name in sorted(able, key=lambda name: name.count(".")):
            # Of a class whose others are blocks, one that cannot be removed is no place to look for smaller ones.
            if not any(type(parts[around]) in kinds for around in _around(name)):
                outermost.add(name)
                kinds.add(type(parts[name]))
        return tuple(
            Block(name, self._own(name), seen.items, seen.by, seen.more)
            for name, seen in self.seen.items()
            if name in outermost
        )

    def _is_stack(self, name: str, fitting: Collection[str], parts: Mapping[str, torch.nn.Module]) -> bool:
        inside = [other for other in fitting if other.startswith(f"{name}.")]
        answer = self.seen[name].answer
        holds = type(parts[name]) in _CONTAINERS and any(other.rpartition(".")[0] == name for other in inside)
        return holds or any(self.seen[other].answer is answer for other in inside)

    def _own(self, name: str) -> int:
        """Count the parameters of a part that nobody outside of it holds."""
        part = self.module.get_submodule(name)
        inside = {id(inner) for inner in part.modules()}
        outside = {
            id(tensor)
            for other in self.module.modules()
            if id(other) not in inside
            for tensor in other.parameters(recurse=False)
        }
        return sum(tensor.numel() for tensor in part.parameters() if id(tensor) not in outside)


def _around(name: str) -> Iterator[str]:
    """Yield the names of the parts that a part lies in, the root left out."""
    steps = name.split(".")
    return (".".join(steps[:count]) for count in range(1, len(steps)))


@contextmanager
def watched(module: torch.nn.Module) -> Iterator[BlockCalls]:
    """Watch the calls of a module's parts while something runs it; scripted modules and parts with two names are left.

    The values of tensors are not read: they may be without any.
    """
    names = Counter(id(part) for _, part in module.named_modules(remove_duplicate=False))
    parts = {
        name: part
        for name, part in module.named_modules()
        if name
        and next(part.children(), None) is not None
        and names[id(part)] == 1
        and not isinstance(part, torch.jit.ScriptModule)
    }
    result = BlockCalls(module)
    hooks = [part.register_forward_hook(_noted(result, name), with_kwargs=True) for name, part in parts.items()]
    try:
        yield result
    finally:
        for hook in hooks:
            hook.remove()


def _noted(result: BlockCalls, name: str) -> Callable[..., None]:
    def note(_part: torch.nn.Module, given: tuple[Any, ...], named: Mapping[str, Any], answer: Any) -> None:
        seen = result.seen.setdefault(name, _Seen())
        seen.calls += 1
        several = isinstance(answer, tuple)
        seen.answer = answer[0] if several and answer else answer
        seen.by = "" if given else next((key for key, item in named.items() if _alike(item, seen.answer)), "")
        seen.given = given[0] if given else named.get(seen.by)
        seen.items = len(answer) if several else 0
        seen.more = len(given) + len(named) > 1
        # What comes beside the first tensor nobody but the block can give.
        bare = not several or all(item is None for item in answer[1:])
        seen.fits = bare and _alike(seen.given, seen.answer)

    return note


def _alike(given: Any, answer: Any) -> bool:
    both = isinstance(given, torch.Tensor) and isinstance(answer, torch.Tensor)
    return both and given.shape == answer.shape and given.dtype == answer.dtype
