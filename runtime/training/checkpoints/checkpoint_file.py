"""Write a checkpoint as one safetensors file, whole or not at all, and read it back.

The one metadata key says in short what is asked of a folder of many; the tensor `json` holds, as UTF-8, whatever of the
state is no tensor. The file is written here and not by the library, which copies every tensor twice while it holds the
interpreter's lock, and tells a full disk in a sentence.
"""

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch  # noqa: TID253 - its very subject

from titrant.runtime.backends.torch.safetensors_header import DTYPES
from titrant.runtime.machine.processes import flush_folder
from titrant.runtime.store.home import FULL
from titrant.runtime.training.checkpoints.plain_state import NamedTensors, Taken, put_together
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.files import BINARY
from titrant.schema.values.text import first_line, os_reason

# What a file says that it is: it grows when a reader of the number before would go wrong.
FORMAT = 1
METADATA_KEY = "titrant"
STATE = "json"
# How a file begins that is being written; whoever lists a folder passes such names over.
UNFINISHED = ".unfinished-"
_SCANNED_BYTES = 1 << 11
_BLOCK_BYTES = 16 << 20
_METADATA = b'{"__metadata__":'
_CODES = {getattr(torch, name): code for code, name in DTYPES.items()}


@dataclass(frozen=True)
class Brief:
    """What a checkpoint says of itself: how far the training was, how good, and what it was made with.

    `made` has the time (UTC, ISO 8601), the versions of titrant and torch, and the commit of the code.
    """

    epoch: int | None = None
    step: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    made: Mapping[str, str] = field(default_factory=dict)


class NotWholeError(Exception):
    """A file is no checkpoint of titrant's, or not all of one; the message says which."""


def write_checkpoint(file: Path, brief: Brief, taken: Taken) -> None:
    """Write beside the target, flush to the disk, rename: whoever reads sees the whole file, or the one from before.

    Raises StepError X533 where the disk refuses; other checkpoints stay as they were.
    """
    from blake3 import blake3

    text = json.dumps(taken.json, allow_nan=False).encode()
    tensors = {**taken.tensors, STATE: torch.frombuffer(bytearray(text), dtype=torch.uint8)}
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    content = [_bytes(tensors[name]) for name in order]
    hasher = blake3()
    for part in content:
        hasher.update(part)
    said = {
        "checkpoint": FORMAT,
        "epoch": brief.epoch,
        "step": brief.step,
        "metrics": Taken(dict(brief.metrics)).json,
        "made": dict(brief.made),
        "bytes": sum(map(len, content)),
        "digest": hasher.hexdigest(),
    }
    unfinished = file.with_name(f"{UNFINISHED}{file.name}-{os.getpid()}-{os.urandom(4).hex()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _write(unfinished, [_header(tensors, order, said), *content])
        unfinished.replace(file)
        flush_folder(file.parent)
    except OSError as error:
        raise _not_written(file, error) from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def read_checkpoint(file: Path) -> tuple[Brief, dict[str, Any]]:
    """Return what a checkpoint says of itself and the state that it holds, every tensor a new one on the CPU.

    Raises StepError X532 for a file that is not whole or not what was written, X531 for one of a later version.
    """
    from safetensors import SafetensorError, safe_open

    try:
        brief, said = _said(file)
        if _content_digest(file, said["bytes"]) != said["digest"]:
            raise NotWholeError("its content is not what was written")
        with safe_open(file, framework="pt") as opened:
            text = bytes(opened.get_tensor(STATE).numpy())
            return brief, put_together(json.loads(text), opened.get_tensor)
    except FileNotFoundError:
        message, advice = f"there is no checkpoint {file}", "checkpoints.latest(FOLDER) says which there is"
        raise StepError(Diagnostic("X532", message, help=advice)) from None
    except (NotWholeError, OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        message = f"{file.name} cannot be read as a checkpoint: {first_line(error)}"
        raise StepError(Diagnostic("X532", message, help="take the checkpoint before it, or copy it again")) from None


def brief_of(file: Path | str) -> Brief:
    """Return what a checkpoint says of itself, without its tensors.

    Raises NotWholeError for another file or a part of one, OSError for one that cannot be read, StepError X531.
    """
    return _said(file)[0]


def is_unfinished(name: str) -> bool:
    """Whether a file is being written, or was when its process was killed."""
    return name.startswith(UNFINISHED)


def _said(file: Path | str) -> tuple[Brief, dict[str, Any]]:
    """Read the metadata alone, which stands first in the header: of a large model the rest is long."""
    place = os.open(file, os.O_RDONLY | BINARY)
    try:
        size = os.fstat(place).st_size
        start = os.read(place, _SCANNED_BYTES)
        length = int.from_bytes(start[:8], "little")
        if size < 8 + length or not start.startswith(_METADATA, 8):
            raise NotWholeError("it has no header of a checkpoint")
        try:
            metadata = _first_value(start[8 : 8 + length])
        except ValueError:  # longer than what was read of it
            os.lseek(place, 8, os.SEEK_SET)
            metadata = _first_value(os.read(place, length))
    finally:
        os.close(place)
    said = json.loads(metadata.get(METADATA_KEY, "{}"))
    if "checkpoint" not in said:
        raise NotWholeError("it is no checkpoint of titrant's")
    if said["checkpoint"] != FORMAT:
        message = (
            f"{Path(file).name} is a checkpoint of format {said['checkpoint']}, and this version reads format {FORMAT}"
        )
        raise StepError(Diagnostic("X531", message, help="load it with the version of titrant that wrote it"))
    if size != 8 + length + said["bytes"]:
        raise NotWholeError(f"it has {size} bytes of {8 + length + said['bytes']}")
    metrics = put_together(said["metrics"], _no_tensor)
    return Brief(said["epoch"], said["step"], metrics, said["made"]), said


def _first_value(header: bytes) -> dict[str, str]:
    value: dict[str, str] = json.JSONDecoder().raw_decode(header.decode("ascii", "replace"), len(_METADATA))[0]
    return value


def _no_tensor(name: str) -> torch.Tensor:
    raise KeyError(name)


def _content_digest(file: Path, size: int) -> str:
    from blake3 import blake3

    hasher = blake3()
    with file.open("rb") as opened:
        opened.seek(-size, os.SEEK_END)
        while block := opened.read(_BLOCK_BYTES):
            hasher.update(block)
    return hasher.hexdigest()


def _header(tensors: NamedTensors, order: Sequence[str], said: Mapping[str, Any]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": {METADATA_KEY: json.dumps(said, allow_nan=False)}}
    end = 0
    for name in order:
        begin, end = end, end + tensors[name].numel() * tensors[name].element_size()
        shape = list(tensors[name].shape)
        entries[name] = {"dtype": _CODES[tensors[name].dtype], "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _bytes(value: torch.Tensor) -> memoryview:
    """Return the memory of a tensor in C order on the CPU, of any dtype, without a copy."""
    return value.reshape(-1).view(torch.uint8).numpy().data if value.numel() else memoryview(b"")


def _write(file: Path, content: Sequence[bytes | memoryview]) -> None:
    with file.open("xb") as opened:
        for part in content:
            opened.write(part)
        opened.flush()
        os.fsync(opened.fileno())


def _not_written(file: Path, error: OSError) -> StepError:
    full = error.errno in FULL
    reason = "the disk is full" if full else os_reason(error)
    advice = "free some space" if full else "name a folder that you can write"
    message = f"the checkpoint {file} cannot be written: {reason}"
    return StepError(Diagnostic("X533", message, help=f"{advice}; the checkpoints from before are as they were"))
