"""Read every tensor that a weights file holds, at the key it stands under, unpickling nothing but tensors.

Read are safetensors files, torch checkpoints (zip archives, and pickles from before torch 1.6), and the index of
either kind's shards.
"""

import pickle
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends.torch.safetensors_header import meta_state
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.archives import DAMAGED, measure_zip
from titrant.schema.values.files import WEIGHT_SUFFIXES
from titrant.schema.values.shards import ShardIndexError, is_index, read_index
from titrant.schema.values.text import first_line

if TYPE_CHECKING:
    import torch

Keys = tuple[str, ...]
# A checkpoint that is nested deeper is no trainer's.
_DEEPEST = 8
_SHOWN = 3
_AGAIN = "save it again, or copy it again"


@dataclass(frozen=True)
class Saved:
    """What a file holds: its tensors by the keys that lead to their mapping, () at the top, and what is no tensor.

    `shards` counts the files; 0 for a file that is whole.
    """

    file: str
    tensors: "Mapping[Keys, Mapping[str, torch.Tensor]]"
    others: tuple[str, ...] = ()
    shards: int = 0


def read_saved(path: str, *, values: bool = True) -> Saved:
    """Read a .safetensors, .pt, .pth, .th, .ckpt or .bin file, or an .index.json of shards, onto the CPU.

    Without `values` the tensors stand on the meta device: only the file's header is read (of a checkpoint from before
    torch 1.6, which has none, all of it). Raises StepError X152 (cannot be read), X153 (needs more than weights_only),
    X165 (an index and its shards contradict each other).
    """
    file = Path(path)
    if not file.name.lower().endswith(WEIGHT_SUFFIXES):
        message = f"{file.name} is not a weights file that titrant reads"
        raise StepError(Diagnostic("X152", message, help=f"one of {', '.join(WEIGHT_SUFFIXES)}"))
    if file.is_dir():
        raise StepError(Diagnostic("X152", f"{path} is a folder", help="name the file in it, or its .index.json"))
    if not file.is_file():
        raise StepError(Diagnostic("X152", f"there is no file {path}", help="check `model.weights`"))
    return _read_shards(file, values) if is_index(file) else _read_one(file, values)


def _read_one(file: Path, values: bool) -> Saved:
    if file.suffix.lower() == ".safetensors":
        return Saved(file.name, {(): _read_safetensors(file, values)})
    tensors: dict[Keys, dict[str, torch.Tensor]] = {}
    loaded = _read_torch(file, values)
    if not isinstance(loaded, Mapping) or not loaded:
        kind = type(loaded).__name__
        message = f"{file.name} holds {kind}, no state_dict" if not isinstance(loaded, Mapping) else "it is empty"
        raise StepError(Diagnostic("X152", message, help="save model.state_dict()"))
    others = tuple(dict.fromkeys(_collect(loaded, (), tensors)))
    if not tensors:
        message = f"{file.name} is not a state_dict: {some(others)} are not tensors"
        raise StepError(Diagnostic("X152", message, help="save model.state_dict()"))
    return Saved(file.name, tensors, others)


def _collect(mapping: Mapping[Any, Any], keys: Keys, into: "dict[Keys, dict[str, torch.Tensor]]") -> Iterator[str]:
    """Put every tensor under the keys of its mapping; yield the first keys of what is none."""
    import torch

    for key, value in mapping.items():
        name = str(key)
        if isinstance(value, torch.Tensor):
            into.setdefault(keys, {})[name] = value
        elif isinstance(value, Mapping) and len(keys) < _DEEPEST:
            yield from _collect(value, (*keys, name), into)
        else:
            yield (*keys, name)[0]


def _read_shards(index: Path, values: bool) -> Saved:
    try:
        places = read_index(index)
    except ShardIndexError as error:
        raise StepError(Diagnostic("X152", f"{index.name} {error}", help=_AGAIN)) from None
    state: dict[str, torch.Tensor] = {}
    for name in dict.fromkeys(places.values()):
        shard = index.parent / name
        if not shard.is_file():
            message = f"there is no file {name}, which {index.name} names"
            raise StepError(Diagnostic("X165", message, help="copy every shard beside the index"))
        held = _read_one(shard, values).tensors.get((), {})
        expected = {tensor for tensor, place in places.items() if place == name}
        if expected != set(held):
            differing = sorted(expected ^ set(held))
            message = f"{index.name} and {name} differ in which tensors the shard holds: {some(differing)}"
            raise StepError(Diagnostic("X165", message, help="take index and shards from one and the same save"))
        state |= held
    return Saved(index.name, {(): state}, shards=len(set(places.values())))


def _read_safetensors(file: Path, values: bool) -> "dict[str, torch.Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file, device="cpu") if values else meta_state(file)
    except (SafetensorError, ValueError, OSError) as error:
        raise StepError(Diagnostic("X152", f"{file.name} cannot be read: {first_line(error)}", help=_AGAIN)) from None


# What torch's reader of pickles raises at bytes that are no instructions; the message is such a byte, or a storage.
_NO_INSTRUCTION = (AssertionError, AttributeError, IndexError, KeyError, OverflowError, TypeError, struct.error)


def _read_torch(file: Path, values: bool) -> Any:
    import torch

    if not file.stat().st_size:
        raise StepError(Diagnostic("X152", f"{file.name} is empty", help=_AGAIN))
    zipped = _zipped(file)
    mapped = not values and zipped
    try:
        return torch.load(file, weights_only=True, map_location="cpu" if values else "meta", mmap=mapped)
    except pickle.UnpicklingError as error:
        raise StepError(_refused(file, error, zipped)) from None
    except _NO_INSTRUCTION as error:
        raise StepError(_refused(file, error, zipped)) from None
    except (RuntimeError, EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise StepError(Diagnostic("X152", f"{file.name} cannot be read: {first_line(error)}", help=_AGAIN)) from None


def _zipped(file: Path) -> bool:
    """Whether a file is a zip archive; one that is half of one, would swell, or holds a program is refused."""
    try:
        zipped = zipfile.is_zipfile(file)
        size = measure_zip(file) if zipped else None
        if zipped:
            with zipfile.ZipFile(file) as archive:
                scripted = any(name.endswith("/constants.pkl") for name in archive.namelist())
        else:
            with file.open("rb") as opened:
                cut = opened.read(4) == b"PK\x03\x04"
    except DAMAGED as error:
        raise StepError(Diagnostic("X152", f"{file.name} cannot be read: {first_line(error)}", help=_AGAIN)) from None
    if size is not None and size.too_large:
        message, help = f"{file.name} is not unpacked: its {size}", "torch.save packs nothing: save the weights again"
        raise StepError(Diagnostic("X112", message, help=help))
    if zipped and scripted:
        message, help = f"{file.name} is a TorchScript program, not a state_dict", "save model.state_dict()"
        raise StepError(Diagnostic("X152", message, help=help))
    if not zipped and cut:
        message = f"{file.name} is only the beginning of a file: the end of its archive is missing"
        raise StepError(Diagnostic("X152", message, help="copy it again, or take the checkpoint before it"))
    return zipped


def _refused(file: Path, error: Exception, zipped: bool) -> Diagnostic:
    """Say what the pickle needs; a file that is not a pickle at all is refused here too."""
    needed = re.search(r"(?:GLOBAL|global|class) ([\w.]+\.[\w.]+)", str(error))
    if needed is None:
        message, help = f"{file.name} is not a torch checkpoint", "save one with torch.save(model.state_dict(), …)"
        return Diagnostic("X152", message, help=help)
    try:
        whole = pickled_object(file) if zipped else None
    except DAMAGED:
        return Diagnostic("X152", f"{file.name} is damaged: what it holds is not what was written", help=_AGAIN)
    loading = f'torch.load("{file.name}", weights_only=False, map_location="cpu")'
    if whole is not None:
        return Diagnostic(
            "X153",
            f"{file.name} is one pickled object ({whole}), such as a whole module: titrant does not unpickle it",
            help=f"where you trust the file, convert it once: torch.save({loading}.state_dict(), "
            f'"{file.stem}-weights.pt")',
        )
    return Diagnostic(
        "X153",
        f"{file.name} holds Python objects ({some(_globals(file) or [needed[1]])}), which titrant does not unpickle",
        help=f"where you trust the file, keep its tensors alone: torch.save({loading}"
        f'["state_dict"], "{file.stem}-weights.pt"), with the key that holds the weights in it',
    )


def _globals(file: Path) -> list[str]:
    import torch

    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    except (RuntimeError, ValueError, OSError, pickle.UnpicklingError):  # a file from before torch 1.6
        return []


def pickled_object(file: Path) -> str | None:
    """Return the class of an archive's pickle where all of it is one object, None where it is a mapping or a list.

    The pickle is read as a list of instructions, and none is carried out.
    """
    import pickletools

    with zipfile.ZipFile(file) as archive:
        name = next((name for name in archive.namelist() if name.endswith("data.pkl")), None)
        instructions = pickletools.genops(archive.read(name)) if name else iter(())
        for operation, argument, _ in instructions:
            if operation.name == "GLOBAL":
                made = str(argument).replace(" ", ".")
                return None if made == "collections.OrderedDict" else made
            if operation.name not in ("PROTO", "FRAME"):
                return None
    return None


def some(names: "tuple[str, ...] | list[str]") -> str:
    """Write the first names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
