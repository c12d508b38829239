"""Count the multiply-adds of a module's layers for one row, also as they are after a cut."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch  # noqa: TID253 - its very subject

from titrant.runtime.backends.torch.pruning.attention import Heads, NarrowAttention
from titrant.runtime.backends.torch.pruning.cut import _CONVOLUTION as CONVOLUTION
from titrant.runtime.backends.torch.pruning.cut import HEADS, layout_of
from titrant.schema.values.frozen import dataclass

_ATTENTION = (torch.nn.MultiheadAttention, NarrowAttention)


@dataclass(frozen=True)
class Products:
    """The products of one layer: its weight's dimensions by side, how often each is used for a row, and what else.

    `each` are the multiply-adds of one head beside its weights, `heads` how many there are, 0 of other layers.
    """

    sizes: tuple[tuple[str | None, int], ...]
    times: float
    each: float = 0.0
    heads: int = 0

    def count(self, kept: Mapping[str, int], block: int) -> float:
        """Return the multiply-adds with so many kept on each side, channels in whole blocks of the kernel."""
        if self.heads:
            return self.each * kept.get(HEADS, self.heads)
        widths = [(side, kept.get(side, size) if side else size) for side, size in self.sizes]
        return self.times * math.prod(math.ceil(width / block) * block if side else width for side, width in widths)


def products_of(module: torch.nn.Module, call: Callable[[], Any], rows: int) -> dict[str, Products]:
    """Return {layer: its products for one row}, by calling the module on `rows` rows."""
    counted: dict[str, Products] = {}
    hooks = []
    attention = tuple(f"{name}." for name, layer in module.named_modules() if isinstance(layer, _ATTENTION))
    for name, layer in module.named_modules():
        if isinstance(layer, (*_ATTENTION, CONVOLUTION, torch.nn.Linear)) and not name.startswith(attention):
            hooks.append(layer.register_forward_hook(_counting(name, counted, rows), with_kwargs=True))
    try:
        with torch.inference_mode():
            call()
    finally:
        for hook in hooks:
            hook.remove()
    return counted


def _counting(name: str, counted: dict[str, Products], rows: int) -> Callable[..., None]:
    def hook(layer: Any, given: tuple[Any, ...], named: dict[str, Any], answer: Any) -> None:
        if isinstance(layer, _ATTENTION):
            heads = Heads.of(layer)
            query, key = (*given, *(named[name] for name in ("query", "key") if name in named))[:2]
            steps = query.shape[1 if layer.batch_first else 0] if query.dim() > 2 else len(query)
            others = key.shape[1 if layer.batch_first else 0] if key.dim() > 2 else len(key)
            each = steps * heads.parameters + 2.0 * steps * others * heads.width
            counted[name] = Products((), 1.0, each, len(heads.numbers))
            return
        layout, weight = layout_of(layer), layer.weight
        places = answer.numel() / rows / (weight.shape[0] if isinstance(layer, torch.nn.Linear) else answer.shape[1])
        if getattr(layer, "transposed", False):
            places = given[0].numel() / rows / given[0].shape[1]
        sides = layout.tensors["weight"] if layout is not None else ()
        by_dimension = [sides[place] if place < len(sides) else None for place in range(weight.dim())]
        sizes = tuple(zip(by_dimension, weight.shape, strict=True))
        before = counted.get(name)
        counted[name] = Products(sizes, places + (before.times if before is not None else 0.0))

    return hook


def multiply_adds(products: Mapping[str, Products], record: Mapping[str, Any], block: int = 1) -> float:
    """Return the multiply-adds of a row through what a record leaves of a module."""
    total = 0.0
    for name, each in products.items():
        entry = record["layers"].get(name, {"kept": {}})
        kept = {side: len(places) for side, places in entry["kept"].items()}
        if name in record["heads"]:
            kept[HEADS] = len(record["heads"][name])
        total += each.count(kept, block)
    return total
