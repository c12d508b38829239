"""Take a state apart into tensors and JSON, and put it together again bit for bit; nothing is pickled.

JSON has no tuples, no keys but texts and no infinity: what it lacks is a mapping of one key that says what it is.
"""

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch  # noqa: TID253 - its very subject

from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

NamedTensors = dict[str, torch.Tensor]
_SPECIAL: Mapping[str, float] = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Taken:
    """A state as tensors by name, each with memory of its own in C order on the CPU, and the rest as JSON.

    With `copied` the tensors are copies: what is trained on afterwards does not change them. Tensors that share their
    memory as a whole are one tensor of two places.
    """

    def __init__(self, state: Mapping[str, Any], *, copied: bool = False) -> None:
        self.tensors: NamedTensors = {}
        self._copied = copied
        self._first: dict[tuple[Any, ...], str] = {}
        self._memory: set[int] = set()
        self._alive: list[torch.Tensor] = []  # an address says something only while its tensor lives
        self.json: Any = self._take(state, ())

    def _take(self, value: Any, place: tuple[str, ...]) -> Any:
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, torch.Tensor):
            return self._tensor(value, place)
        if isinstance(value, np.ndarray):
            return {"array": self._tensor(torch.from_numpy(np.array(value)), place)}
        if isinstance(value, np.generic):
            return self._take(value.item(), place)
        if isinstance(value, (int, float)):
            return int(value) if isinstance(value, int) else _number(float(value))
        if isinstance(value, list):
            return [self._take(item, (*place, str(at))) for at, item in enumerate(value)]
        if isinstance(value, tuple):
            return {"tuple": [self._take(item, (*place, str(at))) for at, item in enumerate(value)]}
        if isinstance(value, (set, frozenset)):
            return {"set": [self._take(item, (*place, str(at))) for at, item in enumerate(sorted(value))]}
        if type(value) in (dict, OrderedDict, Counter):
            name = "counter" if isinstance(value, Counter) else "dict"
            return {
                name: [
                    [self._take(key, (*place, "key")), self._take(item, (*place, str(key)))]
                    for key, item in value.items()
                ]
            }
        raise _not_plain(place, value)

    def _tensor(self, value: torch.Tensor, place: tuple[str, ...]) -> dict[str, Any]:
        if value.layout != torch.strided or value.is_quantized or value.device.type == "meta":
            raise _not_plain(place, value)
        self._alive.append(value)
        same = (value.device, value.data_ptr(), value.shape, value.stride(), value.dtype)
        if value.numel() and same in self._first:
            name = self._first[same]
        else:
            name = ".".join(place)
            name = name if name not in self.tensors else f"{name}.{len(self.tensors)}"
            self._first[same] = name
            self.tensors[name] = self._own(value)
        laid = {"stride": list(value.stride())} if not value.is_contiguous() and _is_dense(value) else {}
        return {"tensor": name, **laid}

    def _own(self, value: torch.Tensor) -> torch.Tensor:
        plain = value.detach().cpu().contiguous()
        address = plain.untyped_storage().data_ptr()
        shared = plain.numel() * plain.element_size() != plain.untyped_storage().nbytes() or address in self._memory
        new = plain.data_ptr() != value.data_ptr()
        if (self._copied or shared) and not new:
            plain = plain.clone()
        self._memory.add(plain.untyped_storage().data_ptr())
        return plain


def put_together(said: Any, tensor: Callable[[str], torch.Tensor]) -> Any:
    """Return the state whose JSON is `said`, and whose tensors `tensor` gives by name; each is a new one.

    Raises KeyError, TypeError or ValueError for JSON that `Taken` did not write.
    """
    if isinstance(said, list):
        return [put_together(item, tensor) for item in said]
    if not isinstance(said, Mapping):
        return said
    if "tensor" in said:
        return _laid_out(tensor(said["tensor"]), said.get("stride"))
    ((kind, held),) = said.items()
    if kind == "float":
        return _SPECIAL[held]
    if kind == "array":
        return put_together(held, tensor).numpy()
    if kind in ("dict", "counter"):
        pairs = {put_together(key, tensor): put_together(value, tensor) for key, value in held}
        return Counter(pairs) if kind == "counter" else pairs
    items = [put_together(item, tensor) for item in held]
    return {"tuple": tuple, "set": set}[kind](items)


def _number(value: float) -> Any:
    return value if math.isfinite(value) else {"float": repr(value)}


def _is_dense(value: torch.Tensor) -> bool:
    """Whether its strides are those of its dimensions in another order, as of channels last."""
    expected = 1
    for stride, size in sorted(zip(value.stride(), value.shape, strict=True)):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


def _laid_out(value: torch.Tensor, stride: list[int] | None) -> torch.Tensor:
    if stride is None:
        return value.clone()
    return torch.empty_strided(value.shape, stride, dtype=value.dtype).copy_(value)


def _not_plain(place: tuple[str, ...], value: Any) -> StepError:
    kind = f"a tensor that is {value.layout}" if isinstance(value, torch.Tensor) else type(value).__name__
    return StepError(
        Diagnostic(
            "X534",
            f"{'.'.join(place)} is {kind}, and a checkpoint holds tensors, numbers, texts and collections of them",
            help="keep what can be made again from the code out of the state, or write it as such values",
        )
    )
