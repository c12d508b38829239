"""Count the FLOPs that each module of a live model computes itself, without those of the modules that it calls."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - its very subject
from torch.nn.modules.module import (  # noqa: TID253
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

from titrant.runtime.backends.torch.call import call
from titrant.runtime.backends.torch.determinism import plain_attention, uncompiled
from titrant.runtime.inspect.torch_forward import Uncounted, counter

if TYPE_CHECKING:
    import numpy as np

    from titrant.runtime.values import TorchModel


@dataclass
class _Entered:
    """A module that is being called: the FLOPs before, those of modules inside, and whether some are unknown."""

    name: str
    before: int
    inside: int = 0
    unknown: bool = False


def module_flops(model: "TorchModel", inputs: "Mapping[str, np.ndarray]") -> dict[str, int | None]:
    """Return {module: FLOPs of its own in a batch}, None where it runs an operation that has no known count.

    The batch is answered once, on the CPU, with fused encoder layers taken apart: the fused kernel does the same
    products. Raises StepError X221 when the forward fails.
    """
    module = model.module
    names = {id(part): name for name, part in module.named_modules()}
    counting = counter()
    uncounted = Uncounted(counting)
    own: dict[str, int | None] = {}
    stack: list[_Entered] = []

    def note_unknown() -> None:
        if uncounted.operations and stack:
            stack[-1].unknown = True
        uncounted.operations.clear()

    def enter(part: torch.nn.Module, _: Any) -> None:
        if id(part) in names:
            note_unknown()
            stack.append(_Entered(names[id(part)], counting.get_total_flops()))

    def leave(part: torch.nn.Module, *_: Any) -> None:
        if id(part) not in names:
            return
        note_unknown()
        entered = stack.pop()
        computed = counting.get_total_flops() - entered.before
        earlier = own.get(entered.name, 0)
        own[entered.name] = None if entered.unknown or earlier is None else earlier + computed - entered.inside
        if stack:
            stack[-1].inside += computed

    hooks = (register_module_forward_pre_hook(enter), register_module_forward_hook(leave))
    try:
        with torch.no_grad(), uncompiled(), plain_attention(), uncounted, counting:
            call(module, dict(inputs))
    finally:
        for hook in hooks:
            hook.remove()
    return own
