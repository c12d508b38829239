"""Measure by how much two artifacts differ, tensor by tensor: work for the worker, which may hold large arrays."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends import backend
from titrant.runtime.store.artifacts import DamagedError, Store
from titrant.schema.record import Artifact
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class TensorDifference:
    """The largest difference between two artifacts; the relative one is a share of the tensor's largest magnitude.

    `tensor` is "file: name of the tensor" of the largest relative difference, `differing` of `compared` tensors differ.
    Where something other than numbers differs `note` says what; None where no numbers were compared.
    """

    tensor: str
    absolute: float | None
    relative: float | None
    differing: int
    compared: int
    note: str = ""


def tensor_difference(old: Path, new: Path, kind: str = "") -> TensorDifference:
    """Compare two folders of files that a kind wrote; "" where only files of a common form are in them."""
    before, after = _files(old), _files(new)
    notes = [f"only the {which} has {name}" for name, which in _one_sided(before, after)]
    distances: list[tuple[float, float, str]] = []
    compared = 0
    for name in sorted(set(before) & set(after)):
        if before[name].read_bytes() == after[name].read_bytes():
            continue
        left, right = dict(_tensors(before[name], kind)), dict(_tensors(after[name], kind))
        notes += [f"only the {which} {name} has {tensor}" for tensor, which in _one_sided(left, right)]
        shared = [tensor for tensor in left if tensor in right]
        compared += len(shared)
        differing = [_distance(left[tensor], right[tensor], f"{name}: {tensor}") for tensor in shared]
        notes += [distance for distance in differing if isinstance(distance, str)]
        distances += [distance for distance in differing if isinstance(distance, tuple) and distance[0] > 0]
        if not any(isinstance(distance, str) or distance[0] > 0 for distance in differing):
            notes.append(f"{name} differs outside its numbers")
    if not distances:
        return TensorDifference("", None, None, 0, compared, "; ".join(notes[:3]))
    absolute, relative, tensor = max(distances, key=lambda item: (item[1], item[0], item[2]))
    return TensorDifference(tensor, absolute, relative, len(distances), compared, "; ".join(notes[:3]))


def stored_difference(store: Store, old: Artifact, new: Artifact, scratch: Path) -> TensorDifference:
    """Compare two artifacts of a store by way of an empty folder; one that is not there any more is said."""
    places = scratch / "old", scratch / "new"
    for which, artifact, place in zip(("recorded", "new"), (old, new), places, strict=True):
        try:
            store.materialize(artifact, place)
        except DamagedError:
            return TensorDifference("", None, None, 0, 0, f"the {which} artifact is not in this home's store")
    return tensor_difference(*places, kind=new.kind)


def _files(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def _one_sided(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, "recorded") for name in old if name not in new] + [(name, "new") for name in new if name not in old]


def _tensors(file: Path, kind: str) -> "Iterator[tuple[str, np.ndarray[Any, Any]]]":
    """Yield a file's tensors by name; a file of another format has none."""
    if file.suffix == ".safetensors":
        yield from _safetensors(file)
    elif file.suffix == ".json":
        import numpy as np

        for name, number in _numbers(json.loads(file.read_bytes()), ""):
            yield name, np.array(number)
    elif (model := backend.kinds().get(kind)) is not None and model.tensors is not None:
        yield from model.tensors(file)


def _safetensors(file: Path) -> "Iterator[tuple[str, np.ndarray[Any, Any]]]":
    from safetensors import safe_open

    # Through torch, because NumPy has no bfloat16.
    with safe_open(file, framework="pt") as opened:
        for name in opened.keys():  # noqa: SIM118 - no mapping
            tensor = opened.get_tensor(name)
            yield name, (tensor.double() if tensor.is_floating_point() else tensor).numpy()


def _numbers(value: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _numbers(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _numbers(inner, f"{path}[{index}]")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, float(value)


def _distance(old: "np.ndarray[Any, Any]", new: "np.ndarray[Any, Any]", name: str) -> tuple[float, float, str] | str:
    """Return the largest absolute and relative difference with the tensor's name, or why there is none."""
    import numpy as np

    if old.shape != new.shape:
        return f"{name} has shape {old.shape} and {new.shape}"
    if old.dtype.kind not in "biufc" or new.dtype.kind not in "biufc":
        return (0.0, 0.0, name) if np.array_equal(old, new) else f"{name} differs"
    left, right = np.asarray(old, dtype=np.float64), np.asarray(new, dtype=np.float64)
    if not left.size or np.array_equal(left, right, equal_nan=True):
        return 0.0, 0.0, name
    absolute = float(np.nanmax(np.abs(left - right), initial=0.0))
    if not math.isfinite(absolute) or bool((np.isnan(left) != np.isnan(right)).any()):
        return f"{name} differs in values that are not finite"
    largest = max(float(np.nanmax(np.abs(values), initial=0.0)) for values in (left, right))
    return absolute, absolute / largest, name
