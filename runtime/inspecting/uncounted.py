"""Notice operations that may multiply matrices and that the FLOP counter does not know."""

import re
from collections.abc import Mapping
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: TID253 - the file defines a torch dispatch mode
from torch.utils.flop_counter import FlopCounterMode  # noqa: TID253

# Namespaces whose operations multiply matrices only where their names say so.
_KNOWN = ("aten", "prim", "prims", "profiler")
_PRODUCTS = re.compile(r"(?:^|_)(?:\w*mm|\w*mv|v?dot|(?:tri|bi)?linear|\w*attention|\w*lstm|gru|rnn|conv\w*)(?:_|\d|$)")
# Interpolation, and the element-wise part of recurrent cells, whose products are operations of their own.
_PLAIN = re.compile(r"^_?(?:upsample|thnn)")


class Uncounted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Gathers the operations that ran inside and that `counting` has no FLOPs for; enter it before the counter.

    `operations` are their names, `modules` the modules of the model that they ran in, as the counter names them.
    """

    def __init__(self, counting: FlopCounterMode) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: set[str] = set()
        self.modules: set[str] = set()
        self._counting = counting

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run the operation and note it where it may multiply matrices uncounted."""
        packet = function.overloadpacket
        if packet not in self._counting.flop_registry and _multiplies(function.namespace, packet.__name__):
            self.operations.add(str(packet))
            self.modules |= set(self._counting.mod_tracker.parents)
        return function(*args, **(kwargs or {}))


def _multiplies(namespace: str, name: str) -> bool:
    if namespace not in _KNOWN:
        return True
    return bool(_PRODUCTS.search(name)) and not _PLAIN.match(name)
