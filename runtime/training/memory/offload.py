"""Keep the activations of a training on the disk, from the forward pass until the backward pass asks for them."""

import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch  # noqa: TID253 - its very subject
from torch import nn  # noqa: TID253
from torch.multiprocessing.reductions import StorageWeakRef  # noqa: TID253

from titrant.runtime.machine.peak_memory import map_large_pieces
from titrant.runtime.store.home import FULL
from titrant.runtime.training.memory.recompute import tensors_of
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.text import os_reason

# Below this a file takes more time than it saves memory.
SMALLEST_BYTES = 1 << 14


@contextmanager
def activation_files(module: nn.Module, above_bytes: int, scratch: Path | None) -> "Iterator[ActivationFiles]":
    """Give what keeps activations of a module on the disk, in a folder in `scratch`, or where temporary files are.

    The folder is gone at the end, also after an error. Raises StepError X624 where it cannot be written, X626 for a
    module that is not on a processor.
    """
    device = next((weight.device for weight in module.parameters() if weight.device.type != "cpu"), None)
    if device is not None:
        raise StepError(
            Diagnostic(
                "X626",
                f"the model is on {device}, and activations go to the disk from a processor's memory alone",
                help="train it on the processor, or leave offload_above_bytes out; gradient checkpointing works there",
            )
        )
    try:
        folder = Path(tempfile.mkdtemp(prefix="activations-", dir=scratch))
    except OSError as error:
        raise _not_written(scratch or Path(tempfile.gettempdir()), error) from error
    map_large_pieces()  # else gaps between activations would stay with the process
    try:
        yield ActivationFiles(folder, above_bytes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class ActivationFiles:
    """What autograd keeps of forward passes: in memory up to `above_bytes` each, and in files beyond.

    A storage is kept once, however many views of it there are. Weights, buffers, inputs and what is smaller than
    `SMALLEST_BYTES` never go to the disk. Counted are the `calls` of the module, the bytes that went to the disk, and
    the seconds of writing and reading.
    """

    def __init__(self, folder: Path, above_bytes: int) -> None:
        self.folder, self.above_bytes = folder, above_bytes
        self.calls = self.written_bytes = self.files = 0
        self.seconds = 0.0
        self._held: set[int] = set()
        self._memory_bytes = 0
        # Where a storage is, as it was at a version of its tensors; while its reference lives, none gets its key.
        self._places: dict[tuple[int, int], tuple[StorageWeakRef, _File | None]] = {}

    def call(self, run: Callable[[], Any], module: nn.Module, inputs: Any) -> Any:
        """Return what `run` does, which gives the module these inputs; what its backward pass needs is kept here."""
        self._held = {_key(tensor) for tensor in (*module.parameters(), *module.buffers(), *tensors_of(inputs))}
        self._memory_bytes = 0
        self.calls += torch.is_grad_enabled()
        try:
            with torch.autograd.graph.saved_tensors_hooks(self._keep, self._give_back):
                return run()
        finally:
            self._places.clear()

    def _keep(self, tensor: torch.Tensor) -> "_InMemory | _OnDisk":
        if not _can_go(tensor) or _key(tensor) in self._held:
            return _InMemory(tensor.detach(), tensor._version)
        storage = tensor.untyped_storage()
        place = storage._cdata, tensor._version
        if place not in self._places:
            self._places[place] = StorageWeakRef(storage), self._placed(storage)
        file = self._places[place][1]
        if file is None:
            return _InMemory(tensor.detach(), tensor._version)
        return _OnDisk(file, tensor.dtype, int(tensor.storage_offset()), tensor.shape, tensor.stride())

    def _placed(self, storage: torch.UntypedStorage) -> "_File | None":
        """Write a storage that there is no room for any more; None for one that stays in memory."""
        size_bytes = storage.nbytes()
        if not goes_to_disk(self._memory_bytes, size_bytes, self.above_bytes):
            self._memory_bytes += size_bytes
            return None
        began = time.perf_counter()
        file = _File(self.folder / f"{self.files}.bin", size_bytes)
        try:
            file.path.write_bytes(_bytes(torch.empty(0, dtype=torch.uint8).set_(storage)))
        except OSError as error:
            raise _not_written(self.folder, error) from error
        self.files += 1
        self.written_bytes += size_bytes
        self.seconds += time.perf_counter() - began
        return file

    def _give_back(self, kept: "_InMemory | _OnDisk") -> torch.Tensor:
        if isinstance(kept, _InMemory):
            # torch leaves this to whoever keeps tensors.
            if kept.tensor._version != kept.version:
                raise RuntimeError("a tensor that the backward pass needs was changed in place after the forward pass")
            return kept.tensor
        began = time.perf_counter()
        storage = kept.file.read()
        self.seconds += time.perf_counter() - began
        return torch.empty(0, dtype=kept.dtype).set_(storage, kept.offset, kept.shape, kept.stride)


def goes_to_disk(memory_bytes: int, size_bytes: int, above_bytes: int) -> bool:
    """Whether a storage goes to the disk where so much is kept in memory already."""
    return size_bytes >= SMALLEST_BYTES and memory_bytes + size_bytes > above_bytes


@dataclass(frozen=True)
class _InMemory:
    tensor: torch.Tensor
    version: int


class _File:
    """The bytes of one storage on the disk, which are removed when nobody needs them any more."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.path, self.size_bytes = path, size_bytes
        self.loaded: StorageWeakRef | None = None
        weakref.finalize(self, path.unlink, missing_ok=True)

    def read(self) -> torch.UntypedStorage:
        """Return the storage: the one that was read before while it is there, for all views of it."""
        again = None if self.loaded is None else torch.UntypedStorage._new_with_weak_ptr(self.loaded.cdata)
        if again is not None:
            return again  # type: ignore[no-any-return]
        content = torch.empty(self.size_bytes, dtype=torch.uint8)
        try:
            with self.path.open("rb") as opened:
                count = opened.readinto(_bytes(content))
        except OSError as error:
            raise _not_read(self.path, os_reason(error)) from error
        if count != self.size_bytes:
            raise _not_read(self.path, f"it has {count:,} bytes of {self.size_bytes:,}")
        storage = content.untyped_storage()
        self.loaded = StorageWeakRef(storage)
        return storage


@dataclass(frozen=True)
class _OnDisk:
    file: _File
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def _can_go(tensor: torch.Tensor) -> bool:
    """Whether bytes, offset, shape and strides are all that there is of a tensor."""
    plain = type(tensor) is torch.Tensor and tensor.layout == torch.strided and tensor.device.type == "cpu"
    return plain and not (tensor.is_quantized or tensor.is_conj() or tensor.is_neg())


def _key(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _bytes(content: torch.Tensor) -> memoryview:
    return content.numpy().data


def _not_written(folder: Path, error: OSError) -> StepError:
    full = error.errno in FULL
    advice = "free some space" if full else "let TITRANT_HOME lie where you can write"
    return StepError(
        Diagnostic(
            "X624",
            f"activations cannot be written into {folder}: {'the disk is full' if full else os_reason(error)}",
            help=f"{advice}, lower train.batch_size, or set memory.offload to none",
        )
    )


def _not_read(path: Path, reason: str) -> StepError:
    message = f"activations cannot be read back from {path}: {reason}"
    return StepError(
        Diagnostic("X625", message, help="leave `unfinished` of TITRANT_HOME alone while it trains, and run it again")
    )
