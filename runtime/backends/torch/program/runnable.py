"""Load what a user holds of PyTorch's, live or in a file, and call it with tensors that lie on its device."""

import copy
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch  # noqa: TID253 - its very subject

from titrant.runtime.backends.runnable import LoadedSession, RunInputs, Runnable, in_order
from titrant.runtime.backends.session import Spec, insisted_batch
from titrant.runtime.backends.torch.arguments import Arguments, arguments_of
from titrant.runtime.backends.torch.call import failed, raised_by_forward, refuse_empty
from titrant.runtime.backends.torch.program.load import COMPILED, read_program
from titrant.runtime.backends.torch.program.original import program_specs, read_script
from titrant.runtime.backends.torch.session import Border, TorchSession, need_device, open_session
from titrant.runtime.values import CompiledModel, ExportedModel, TorchModel, TorchScriptModel
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

_ENGINE = "torch"
_TRAINS = "timed in evaluation mode: it is in training mode, and stays so"
_EXTRA = "titrant.json"
_SCRIPTS = (".pt", ".pth", ".ts", ".torchscript", ".jit")


def runnable(value: Any) -> Runnable | None:
    """Return a module, program, script or file of torch's as what can be called; None for anything else.

    Raises RecipeError X675 for a module with parameters that have no shape yet, or no values.
    """
    if isinstance(value, TorchModel):
        runnable = _live(value.module, value.inputs, owned=True)
        return runnable if value.recurrence is None else replace(runnable, load=partial(_recurrent, value))
    if isinstance(value, torch.export.ExportedProgram):
        return _live(value.module(), program_specs(value), owned=True)
    if isinstance(value, torch.nn.Module):
        return _live(value, ())
    path = value.path if isinstance(value, (ExportedModel, TorchScriptModel, CompiledModel)) else value
    return _of_file(path) if isinstance(path, Path) else None


def _live(module: torch.nn.Module, specs: tuple[Spec, ...], *, owned: bool = False) -> Runnable:
    refuse_empty(module)
    tensors = {id(held): held for held in (*module.parameters(), *module.buffers())}
    return Runnable(
        _ENGINE,
        "a TorchScript module" if isinstance(module, torch.jit.ScriptModule) else "a torch module",
        partial(_placed, module, specs, owned=owned),
        held_bytes=sum(tensor.nbytes for tensor in tensors.values()),
        note=_TRAINS if not owned and any(_trains(each) for each in module.modules()) else "",
    )


def _of_file(path: Path) -> Runnable | None:
    if path.suffix == ".safetensors":
        return Runnable(_ENGINE, "a torch module", partial(_weights, path), files=(path,))
    if path.suffix == ".pt2" and _is_compiled(path):
        return Runnable(_ENGINE, "an AOTInductor package", partial(_compiled, path), files=(path,))
    if path.suffix == ".pt2":
        return Runnable(_ENGINE, "a torch.export file", partial(_program, path), files=(path,))
    if path.suffix in _SCRIPTS:
        return Runnable(_ENGINE, "a TorchScript file", partial(_script, path), files=(path,))
    return None


def _is_compiled(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(COMPILED in name for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False  # what loads it says what is wrong


def _weights(path: Path, threads: int, device: str) -> "LoadedModule | LoadedSession":
    from titrant.runtime.backends.torch.module import load_torch

    model = load_torch(path)
    if model.recurrence is not None:
        return _recurrent(model, threads, device)
    return _placed(model.module, model.inputs, threads, device, owned=True)


def _recurrent(model: TorchModel, threads: int, device: str) -> LoadedSession:
    """Load a model with recurrent state, which its session feeds back."""
    return LoadedSession(open_session(model, threads=threads, device=device or "cpu"), device)


def _compiled(path: Path, threads: int, device: str) -> LoadedSession:
    from titrant.runtime.backends.torch.program.compiled import open_compiled

    if device not in ("", "cpu"):
        message = f"{path.name} holds machine code of a processor, and the device is {device}"
        raise StepError(Diagnostic("X220", message, help="leave the device out"))
    return LoadedSession(open_compiled(CompiledModel(path), threads=threads))


def _program(path: Path, threads: int, device: str) -> "LoadedModule | LoadedSession":
    need_device(device or "cpu")
    program, extra = read_program(path)
    border = Border.read(extra[_EXTRA], path.name) if extra.get(_EXTRA) else Border(program_specs(program), ())
    if device not in ("", "cpu"):
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)
    if border.recurrence is not None:
        return LoadedSession(TorchSession(partial(program.module()), border, threads, device or "cpu"), device)
    return LoadedModule(program.module(), border.inputs, torch.device(device or "cpu"), owned=True)


def _script(path: Path, threads: int, device: str) -> "LoadedModule | LoadedSession":
    script = read_script(path)
    with zipfile.ZipFile(path) as archive:
        said = [archive.read(name) for name in archive.namelist() if name.endswith(f"/extra/{_EXTRA}")]
    border = Border.read(said[0].decode(), path.name) if said else Border((), ())
    if border.recurrence is not None:
        need_device(device or "cpu")
        return LoadedSession(TorchSession(script.to(device or "cpu"), border, threads, device or "cpu"), device)
    return _placed(script, border.inputs, threads, device, owned=True)


def _placed(module: torch.nn.Module, specs: tuple[Spec, ...], _: int, device: str, *, owned: bool) -> "LoadedModule":
    """Load a module where it is or, as a copy where it is the user's, on another device; StepError X220 for none.

    Whoever times it sets the threads, which torch has for the whole process.
    """
    first = next((tensor.device for tensor in (*module.parameters(), *module.buffers())), torch.device("cpu"))
    need_device(device or str(first))
    chosen = torch.device(device) if device else first
    if chosen.type == "cuda" and chosen.index is None:
        chosen = torch.device("cuda", torch.cuda.current_device())
    if first != chosen:
        module, owned = (module if owned else copy.deepcopy(module)).to(chosen), True
    return LoadedModule(module, specs, chosen, owned=owned)


class LoadedModule:
    """A module in evaluation mode; one that is the user's is as it was again when this is closed."""

    def __init__(
        self,
        module: torch.nn.Module,
        specs: tuple[Spec, ...],
        device: torch.device,
        *,
        owned: bool,
    ) -> None:
        self.inputs, self.fixed_batch = specs, insisted_batch(specs)
        self._module, self._device = module, device
        self.device = str(device)
        self._trained = [each for each in module.modules() if _trains(each)]
        for each in self._trained:
            each.training = False
        # What a user's module keeps of a call must not be an inference tensor: no training could use it afterwards.
        scripted = isinstance(module, torch.jit.ScriptModule)
        self._guard: AbstractContextManager[Any] = torch.inference_mode() if owned and not scripted else torch.no_grad()

    def prepare(self, inputs: RunInputs) -> Callable[[], object]:
        """Return a call with tensors on the module's device, of its own; the first one is made here.

        A forward that writes into its inputs gets a copy of them in each call.
        Raises StepError X221, with the layer that failed, where the module cannot take them.
        """
        names = tuple(name for name, _, _ in self.inputs) or (tuple(inputs) if not isinstance(inputs, tuple) else ())
        given = tuple(inputs) if not names and isinstance(inputs, tuple) else tuple(in_order(inputs, names).values())
        tensors = [_tensor(value).to(self._device, copy=True) for value in given]
        alone = [not shape for _, shape, _ in self.inputs] or [False] * len(tensors)
        tensors = [
            tensor[0] if single and tensor.ndim else tensor for tensor, single in zip(tensors, alone, strict=True)
        ]
        passed = arguments_of(self._module, names) if names else Arguments(tuple(range(len(given))))
        held = self._pieces(tensors)
        tried = [[tensor.clone() for tensor in piece] for piece in held]
        for piece in tried:
            self._try(self._work(passed, piece, copies=False), passed, tensors)
        writes = not all(
            _same(before, after) for pair in zip(held, tried, strict=True) for before, after in zip(*pair, strict=True)
        )
        pieces = [self._work(passed, piece, copies=writes) for piece in held]
        return pieces[0] if len(pieces) == 1 else lambda: [work() for work in pieces]

    def _pieces(self, tensors: list[torch.Tensor]) -> list[list[torch.Tensor]]:
        """Cut a batch into pieces of the size that a file insists on; the last one is filled up with its last row."""
        size = self.fixed_batch
        rows = next((len(tensor) for tensor in tensors if tensor.ndim), size)
        if size is None or rows is None or rows == size:
            return [tensors]
        places = [torch.arange(start, start + size).clamp(max=rows - 1) for start in range(0, rows, size)]
        return [[tensor[place.to(self._device)] if tensor.ndim else tensor for tensor in tensors] for place in places]

    def _try(self, work: Callable[[], object], passed: Arguments, tensors: list[torch.Tensor]) -> None:
        try:
            work()
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise failed(self._module, tensors, error, passed) from None
        except Exception as error:  # noqa: BLE001 - a forward may raise anything
            raise raised_by_forward(tensors, error) from None

    def _work(self, passed: Arguments, tensors: list[torch.Tensor], *, copies: bool) -> Callable[[], object]:
        module, guard, wait = self._module, self._guard, _waiting(self._device)
        ordered = [tensors[place] for place in passed.positions]
        named = {name: tensors[place] for name, place in passed.keywords}

        def on_copies() -> object:
            with guard:
                answer = passed.call(module, [tensor.clone() for tensor in tensors])
            wait()
            return answer

        def on_processor() -> object:
            with guard:
                return module(*ordered, **named)

        def on_device() -> object:
            with guard:
                answer = module(*ordered, **named)
            wait()
            return answer

        if copies:
            return on_copies
        return on_processor if self._device.type == "cpu" else on_device

    def device_peak(self, work: Callable[[], object], /) -> int | None:
        """Return the bytes of the module's tensors and the most that a call adds; None where torch counts none."""
        if self._device.type != "cuda":
            return None
        held = {id(tensor): tensor.nbytes for tensor in (*self._module.parameters(), *self._module.buffers())}
        torch.cuda.synchronize(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        work()
        return sum(held.values()) + max(0, torch.cuda.max_memory_allocated(self._device) - before)

    def close(self) -> None:
        """Put the modes of its modules back, and free it."""
        for each in self._trained:
            each.training = True
        del self._module


def _tensor(value: object) -> torch.Tensor:
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        message = f"the model takes tensors, and is given a {type(value).__name__}"
        raise StepError(Diagnostic("X221", message, help="give tensors or arrays, rows first")) from None


def _same(before: torch.Tensor, after: torch.Tensor) -> bool:
    """Whether two tensors hold the same numbers, NaN at the same places."""
    return bool(((before == after) | (before.isnan() & after.isnan())).all())


def _trains(module: torch.nn.Module) -> bool:
    return bool(getattr(module, "training", False))  # a frozen script has no such flag


def _waiting(device: torch.device) -> Callable[[], object]:
    """Return what waits until a device has done what it was given."""
    if device.type == "cuda":
        return partial(torch.cuda.synchronize, device)
    return torch.mps.synchronize if device.type == "mps" else lambda: None
