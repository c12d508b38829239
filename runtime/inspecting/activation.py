"""Count the bytes of activations that are alive at once while a model answers, and note which weights it reads."""

import weakref
from typing import Any

import torch  # noqa: TID253 - the file defines a torch dispatch mode
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: TID253
from torch.utils._pytree import tree_leaves  # noqa: TID253


class ActivationPeak(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums the storages that come up inside and are still referenced; `peak_bytes` is the largest sum.

    `known` are tensors that were there before, and do not count; `reads` tells whether an operation took one.
    """

    def __init__(self, known: list[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak_bytes = 0
        self._alive_bytes = 0
        self._known = {tensor.untyped_storage()._cdata for tensor in known}
        self._seen = set(self._known)
        self._read: set[int] = set()

    def reads(self, tensor: torch.Tensor) -> bool:
        """Tell whether an operation took a known tensor, or another one in its storage."""
        return tensor.untyped_storage()._cdata in self._read

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count the storages of its results that are new."""
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, torch.Tensor) and (key := tensor.untyped_storage()._cdata) in self._known:
                self._read.add(key)
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor)
        return result

    def _count(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return
        self._seen.add(key)
        self._alive_bytes += size
        self.peak_bytes = max(self.peak_bytes, self._alive_bytes)
        weakref.finalize(storage, self._freed, key, size)

    def _freed(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self._alive_bytes -= size
