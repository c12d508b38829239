"""Read weights from safetensors files and torch checkpoints, unpickling only tensors, and load them strictly.

The format of a safetensors file: eight bytes, little endian, that give the header's length; the header, JSON, with
names, dtypes and shapes; then the values. Source: https://huggingface.co/docs/safetensors (the format's description).
"""

import json
import math
import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.archives import measure_zip
from titrant.schema.values.files import WEIGHT_SUFFIXES
from titrant.schema.values.text import first_line

if TYPE_CHECKING:
    import torch

_NESTS = ("state_dict", "model_state_dict")
_SHOWN = 3


def read_state(path: str, *, values: bool = True) -> "tuple[dict[str, torch.Tensor], tuple[str, ...]]":
    """Read name → tensor (CPU) from a .safetensors, .pt, .pth, .th or .ckpt file, with a note for each adjustment.

    One `state_dict` level and a prefix `module.` common to all names are removed. Without `values` the tensors stand on
    the meta device: only the file's header is read (of a checkpoint from before torch 1.6, which has none, all of it).
    Raises StepError X152 (cannot be read), X153 (needs more than weights_only).
    """
    file = Path(path)
    if file.suffix not in WEIGHT_SUFFIXES:
        raise StepError(
            Diagnostic(
                "X152",
                f"{file.name} is not a weights file that titrant reads",
                help=f"one of {', '.join(WEIGHT_SUFFIXES)}",
            )
        )
    if not file.is_file():
        raise StepError(Diagnostic("X152", f"there is no file {path}", help="check `model.weights`"))
    return _read_safetensors(file, values) if file.suffix == ".safetensors" else _read_torch(file, values)


def load_weights(module: "torch.nn.Module", path: str) -> tuple[str, ...]:
    """Load a weights file into a module and return notes; StepError X154 unless names and shapes match, X155 on NaN."""
    state, notes = read_state(path)
    notes += check_match(module, state, Path(path).name)
    check_values(state, Path(path).name)
    module.load_state_dict({**module.state_dict(), **state}, strict=True)
    return notes


def check_values(state: "Mapping[str, torch.Tensor]", name: str) -> None:
    """Raise StepError X155 for NaN."""
    import torch

    broken = [key for key, tensor in state.items() if tensor.is_floating_point() and bool(torch.isnan(tensor).any())]
    if broken:
        raise StepError(
            Diagnostic("X155", f"{name}: NaN in {_some(broken)}", help="take a checkpoint that trained well")
        )


def check_match(module: "torch.nn.Module", state: "Mapping[str, torch.Tensor]", name: str) -> tuple[str, ...]:
    """Compare names and shapes with a module's, raising all differences as one StepError X154; returns notes."""
    expected = module.state_dict()
    missing = [key for key in expected if key not in state]
    # Counters that batch normalization got later, and tied tensors that were saved once, are not lost.
    counters = [key for key in missing if key.endswith("num_batches_tracked")]
    differences = [
        *_shape_differences(expected, state),
        *_names("the file lacks", [k for k in missing if k not in counters and not _is_tied(expected, k, state)]),
        *_names("the model lacks", [key for key in state if key not in expected]),
    ]
    if differences:
        raise StepError(
            Diagnostic(
                "X154",
                f"{name} does not fit the model: {'; '.join(differences)}",
                help="give `model.args` the values that the model was trained with",
            )
        )
    notes = [f"{len(counters)} batch counters that {name} does not have start at 0"] if counters else []
    both = [(tensor.dtype, expected[key].dtype) for key, tensor in state.items() if tensor.dtype != expected[key].dtype]
    return tuple(notes + [f"weights are cast {_dtype(old)} → {_dtype(new)}" for old, new in dict.fromkeys(both)])


def _is_tied(expected: "Mapping[str, torch.Tensor]", key: str, state: "Mapping[str, torch.Tensor]") -> bool:
    place = expected[key].untyped_storage()._cdata
    return any(other in state and tensor.untyped_storage()._cdata == place for other, tensor in expected.items())


def _shape_differences(expected: "Mapping[str, torch.Tensor]", state: "Mapping[str, torch.Tensor]") -> list[str]:
    keys = [key for key in expected if key in state and state[key].shape != expected[key].shape]
    differences = [
        f"{key} is {_shape(state[key])} in the file and {_shape(expected[key])} in the model" for key in keys[:_SHOWN]
    ]
    return differences + ([f"{len(keys) - _SHOWN} more shapes differ"] if len(keys) > _SHOWN else [])


def _names(what: str, names: Sequence[str]) -> list[str]:
    return [f"{what} {_some(names)}"] if names else []


def _dtype(dtype: "torch.dtype") -> str:
    return str(dtype).removeprefix("torch.")


def _read_safetensors(file: Path, values: bool) -> "tuple[dict[str, torch.Tensor], tuple[str, ...]]":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(file, device="cpu") if values else meta_state(file)
    except (SafetensorError, ValueError, OSError) as error:
        raise StepError(
            Diagnostic(
                "X152", f"{file.name} cannot be read: {first_line(error)}", help="save it again, or copy it again"
            )
        ) from None
    return _without_prefix(state, ())


def _read_torch(file: Path, values: bool) -> "tuple[dict[str, torch.Tensor], tuple[str, ...]]":
    import torch

    try:
        zipped = zipfile.is_zipfile(file)
        size = measure_zip(file) if zipped else None
    except (OSError, zipfile.BadZipFile) as error:
        message = f"{file.name} cannot be read: {first_line(error)}"
        raise StepError(Diagnostic("X152", message, help="save it again, or copy it again")) from None
    if size is not None and size.too_large:
        message, help = f"{file.name} is not unpacked: its {size}", "torch.save packs nothing: save the weights again"
        raise StepError(Diagnostic("X112", message, help=help))
    mapped = not values and zipped
    try:
        loaded = torch.load(file, weights_only=True, map_location="cpu" if values else "meta", mmap=mapped)
    except pickle.UnpicklingError as error:
        raise StepError(_refused(file, error)) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise StepError(
            Diagnostic(
                "X152", f"{file.name} cannot be read: {first_line(error)}", help="save it again, or copy it again"
            )
        ) from None
    state, notes = _unnest(loaded, file.name)
    return _without_prefix(state, notes)


def _refused(file: Path, error: Exception) -> Diagnostic:
    """Say what the pickle needs; a file that is not a pickle at all is refused here too."""
    needed = re.search(r"(?:GLOBAL|global|class) ([\w.]+\.[\w.]+)", str(error))
    if needed is None:
        return Diagnostic(
            "X152", f"{file.name} is not a torch checkpoint", help="save one with torch.save(model.state_dict(), …)"
        )
    return Diagnostic(
        "X153",
        f"{file.name} holds Python objects ({needed[1]}), which titrant does not unpickle",
        help="where you trust the file, load it once yourself and save tensors only: "
        "torch.save(model.state_dict(), …) or safetensors",
    )


def _unnest(loaded: Any, name: str) -> "tuple[dict[str, torch.Tensor], tuple[str, ...]]":
    import torch

    notes: tuple[str, ...] = ()
    if isinstance(loaded, Mapping):
        for nest in _NESTS:
            if isinstance(loaded.get(nest), Mapping):
                loaded, notes = loaded[nest], (f"the weights stand under `{nest}` in {name}",)
                break
    if not isinstance(loaded, Mapping) or not loaded:
        kind = type(loaded).__name__
        raise StepError(Diagnostic("X152", f"{name} holds {kind}, no state_dict", help="save model.state_dict()"))
    others = [str(key) for key, value in loaded.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise StepError(
            Diagnostic(
                "X152", f"{name} is not a state_dict: {_some(others)} are not tensors", help="save model.state_dict()"
            )
        )
    return {str(key): tensor for key, tensor in loaded.items()}, notes


def _without_prefix(
    state: "dict[str, torch.Tensor]", notes: tuple[str, ...]
) -> "tuple[dict[str, torch.Tensor], tuple[str, ...]]":
    if state and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): tensor for key, tensor in state.items()}
        notes += ("the prefix `module.` of every name is removed",)
    return state, notes


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _shape(tensor: "torch.Tensor") -> str:
    return "(" + ", ".join(str(size) for size in tensor.shape) + ("," if tensor.ndim == 1 else "") + ")"


# The format's own limit.
_MOST_HEADER_BYTES = 100_000_000
# The file's name of a dtype → torch's.
_DTYPES: Mapping[str, str] = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64",
    "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool", "C64": "complex64",
}  # fmt: skip


@dataclass(frozen=True)
class HeldTensor:
    """A tensor of a weights file: torch's name of its dtype, its shape and its bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def read_header(file: Path) -> tuple[HeldTensor, ...]:
    """List the tensors in the order in which their values stand in the file, without reading a value.

    Raises ValueError for a header that is damaged or that the file's size contradicts, OSError for a file that cannot
    be read.
    """
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if not 2 <= length <= _MOST_HEADER_BYTES:
            raise ValueError("it has no safetensors header")
        text = opened.read(length)
    if len(text) < length:
        raise ValueError("its header is cut short")
    entries = json.loads(text)
    if not isinstance(entries, dict):
        raise ValueError("its header is not a mapping")
    placed = sorted(_placed(name, entry) for name, entry in entries.items() if name != "__metadata__")
    end = placed[-1][1] if placed else 0
    if file.stat().st_size != 8 + length + end:
        raise ValueError(f"it has {file.stat().st_size} bytes, and its header describes {8 + length + end}")
    return tuple(tensor for *_, tensor in placed)


def meta_state(file: Path) -> "dict[str, torch.Tensor]":
    """Return name → tensor on the meta device, of the file's shapes and dtypes; ValueError as `read_header`."""
    import torch

    return {
        held.name: torch.empty(held.shape, dtype=getattr(torch, held.dtype), device="meta")
        for held in read_header(file)
    }


def _placed(name: str, entry: Any) -> tuple[int, int, str, HeldTensor]:
    try:
        begin, end = entry["data_offsets"]
        tensor = HeldTensor(name, _DTYPES[entry["dtype"]], tuple(map(int, entry["shape"])), end - begin)
    except (TypeError, KeyError, ValueError):
        raise ValueError(f"its header describes {name} in a way that is not known") from None
    return begin, end, name, tensor
