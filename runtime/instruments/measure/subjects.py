"""What is timed: a live model, a file, a session of a library, or a function, each as one thing to load and call."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from titrant.runtime.backends import backend
from titrant.runtime.backends.runnable import LoadedModel, LoadedSession, RunInputs, Runnable
from titrant.runtime.backends.session import Spec
from titrant.runtime.instruments.measure.inputs import Maker
from titrant.runtime.instruments.refused.files import no_file
from titrant.runtime.machine.devices import why_not
from titrant.runtime.user_code import call_unforked, describe, said_by
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError, TitrantError
from titrant.schema.values.files import digest_bytes, digest_file
from titrant.schema.values.frozen import dataclass

# What leaves work to a device, which a function need not wait for.
_TORCH, _MLX = "torch", "mlx.core"
_MODELS = (
    "give a torch module, an .onnx, .pt2, .pt (TorchScript) or .xml (OpenVINO) file, a released .safetensors file, a "
    "session, or a function"
)


@dataclass(frozen=True)
class BenchSubject:
    """One thing to time; `artifact` and `digest` say what it is, `inputs` are its own where it has some."""

    name: str
    runnable: Runnable
    artifact: str
    digest: str = ""
    size_bytes: int | None = None
    inputs: Maker | None = None


def subject_of(name: str, value: Any) -> BenchSubject:
    """Return what a user holds as a subject; text is the path of a file.

    RecipeError X672 for what nothing here can call, and for a file that is not there.
    """
    if isinstance(value, (str, os.PathLike)):
        return _of_file(name, Path(value))
    if isinstance(value, bytes):
        return _of_bytes(name, value)
    for engine in backend.all_backends():
        runnable: Runnable | None = engine.runnable(value) if _loaded_already(engine) else None
        if runnable is not None:
            return BenchSubject(
                name, runnable, f"{type(value).__name__} in memory", size_bytes=runnable.held_bytes or None
            )
    if callable(value):
        words = getattr(value, "__qualname__", type(value).__name__)
        return BenchSubject(
            name, Runnable("", "a function", lambda _, device: LoadedFunction(name, value, device)), words
        )
    message = f"{name} is a {type(value).__name__}, which is no model"
    raise RecipeError(Diagnostic("X672", message, help=_MODELS))


def _loaded_already(engine: backend.Backend) -> bool:
    """Whether an engine's library is loaded: without it nobody holds a live model of it."""
    return any(module.partition(".")[0] in sys.modules for module in (*engine.packages, *engine.packages.values()))


def _of_bytes(name: str, value: bytes) -> BenchSubject:
    for engine in backend.all_backends():
        runnable = engine.runnable(value)
        if runnable is not None:
            return BenchSubject(name, runnable, f"{len(value):,} bytes in memory", digest_bytes(value), len(value))
    raise RecipeError(Diagnostic("X672", f"{name} is bytes, which no engine here reads", help=_MODELS))


def _of_file(name: str, path: Path) -> BenchSubject:
    if not path.exists():
        raise no_file(path)
    if path.is_dir():
        inside = sorted(each for each in path.iterdir() if each.suffix in (".xml", ".onnx"))
        if len(inside) != 1:
            raise no_file(path)
        path = inside[0]
    for engine in backend.all_backends():
        runnable = engine.runnable(path)
        if runnable is not None:
            return file_subject(name, runnable, str(path))
    raise RecipeError(Diagnostic("X672", f"{path} is not a model that titrant times", help=_MODELS))


def file_subject(name: str, runnable: Runnable, artifact: str, inputs: Maker | None = None) -> BenchSubject:
    """Return a runnable that is kept in files as a subject; the digest of several files is that of their digests."""
    sizes, digests = [file.stat().st_size for file in runnable.files], [digest_file(file) for file in runnable.files]
    digest = digests[0] if len(digests) == 1 else digest_bytes("".join(digests).encode())
    return BenchSubject(name, runnable, artifact, digest, sum(sizes), inputs)


def engine_runnable(engine: str, value: Any) -> Runnable | None:
    """Return a value of a kind of model as its engine calls it; None for weights that run in somebody else's code."""
    declared, kind = backend.get(engine), backend.kinds().get(value.kind)
    runnable: Runnable | None = declared.runnable(value)
    if runnable is not None or kind is None or kind.weights_for:
        return runnable
    path = getattr(value, "path", None)
    files = (path,) if isinstance(path, Path) and path.is_file() else ()

    def load(threads: int, device: str) -> LoadedModel:
        return LoadedSession(declared.open(value, threads=threads, device=device or "cpu"), device)

    return Runnable(engine, kind.title, load, files)


class LoadedFunction:
    """A function, called with inputs by place or by name; what it left for a device to do is waited for."""

    inputs: tuple[Spec, ...] = ()
    fixed_batch: int | None = None

    def __init__(self, name: str, function: Callable[..., object], device: str = "") -> None:
        if device and (reason := _unmet(device)):
            raise StepError(Diagnostic("X220", reason))
        self.device = device or _device_in_use()
        self._name = name
        self._function = function

    def prepare(self, inputs: RunInputs) -> Callable[[], object]:
        """Return a call with these inputs; the first one is made here.

        Raises StepError X674 for a function that raises, and for one that forks.
        """
        work = self._work(inputs)
        try:
            call_unforked(self._name, work)
        except (TitrantError, MemoryError):
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's function may raise anything
            raise raised(self._name, error) from None
        return work

    def _work(self, inputs: RunInputs) -> Callable[[], object]:
        function = self._function

        def work() -> object:
            answer = function(**inputs) if isinstance(inputs, Mapping) else function(*inputs)
            _wait(answer)
            return answer

        return work

    def device_peak(self, _: Callable[[], object], /) -> int | None:
        """Return None: nobody counts it."""
        return None

    def close(self) -> None:
        """Do nothing: a function is the user's."""


def raised(name: str, error: BaseException) -> StepError:
    """Say that what is timed raised; what it said may hold values of the data."""
    advice = "call it with these inputs outside titrant, and mend it there"
    return StepError(Diagnostic("X674", f"{name} raised {describe(error)}", help=advice, said=said_by(error)))


def _unmet(device: str) -> str:
    try:
        return why_not(device)
    except ValueError as error:
        return str(error)


def _device_in_use() -> str:
    """Return the device whose clock a function may need: a GPU where torch has begun to use one."""
    torch: Any = sys.modules.get(_TORCH)
    return "cuda" if torch is not None and torch.cuda.is_initialized() else "cpu"


def _wait(answer: object) -> None:
    """Wait for what a function left to a device, where a library that does so is loaded."""
    torch: Any = sys.modules.get(_TORCH)
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    mlx: Any = sys.modules.get(_MLX)
    if mlx is not None and isinstance(answer, (mlx.array, tuple, list, dict)):
        mlx.eval(answer)
