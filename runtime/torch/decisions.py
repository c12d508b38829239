"""Find out whether a forward takes decisions on tensor values, which no trace can follow."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch  # noqa: TID253 - its very subject
from torch.overrides import TorchFunctionMode  # noqa: TID253 - its very subject

from titrant.runtime.torch.calling import call
from titrant.schema.diagnostics import Diagnostic, PreconditionError

# What turns a tensor's values into Python's.
VALUES = {
    torch.Tensor.__bool__: "if or while",
    torch.Tensor.item: ".item()",
    torch.Tensor.tolist: ".tolist()",
    torch.Tensor.numpy: ".numpy()",
    torch.Tensor.__int__: "int()",
    torch.Tensor.__float__: "float()",
    torch.Tensor.__index__: "indexing a sequence",
    torch.Tensor.__contains__: "in",
}
# What asks for a tensor's form only; its values may be anything.
SHAPE_ONLY = frozenset(
    {
        torch.Tensor.size,
        torch.Tensor.dim,
        torch.Tensor.numel,
        torch.Tensor.__len__,
        torch.Tensor.is_floating_point,
        *(getattr(torch.Tensor, name).__get__ for name in ("shape", "ndim", "dtype", "device")),
    }
)


def refuse_decisions(module: torch.nn.Module, arrays: Iterable[np.ndarray]) -> Any:
    """Run the forward once and return its answer; PreconditionError X206 if it reads values that it computed.

    Shapes may be read, and the values of parameters and buffers, which stay as they are.
    """
    constants = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}
    with torch.inference_mode(), _Refuse(constants):
        return call(module, arrays)


class _Refuse(TorchFunctionMode):
    def __init__(self, constants: set[int]) -> None:
        super().__init__()
        self._constants = constants

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in VALUES and id(args[0]) not in self._constants:
            raise PreconditionError(
                Diagnostic(
                    "X206",
                    f"the model's forward reads the values of a tensor with {VALUES[func]}: a trace holds one path",
                    help="compute both ways and choose with torch.where or a mask: every file format holds one path",
                )
            )
        return func(*args, **(kwargs or {}))
