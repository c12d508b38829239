"""A model as its user holds it (a module, a file, a session of a library), which one engine can load and call."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from titrant.runtime.backends.session import Spec, adapted
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.frozen import dataclass

# RunInputs of a call, by name or in order: NumPy arrays, or an engine's own tensors.
RunInputs = Mapping[str, Any] | tuple[Any, ...]


class LoadedModel(Protocol):
    """A model that is ready to be called on one device, with a set number of threads."""

    inputs: tuple[Spec, ...]  # name, shape with text where a size is free, dtype; () where nobody says
    fixed_batch: int | None  # the batch size that it insists on; None: any
    device: str  # where it computes: cpu, cuda:0 …

    def prepare(self, inputs: RunInputs) -> Callable[[], object]:
        """Return a call with these inputs, which lie where the engine takes them, and wait for its end in the call.

        Raises StepError for inputs that the model does not have.
        """

    def device_peak(self, work: Callable[[], object], /) -> int | None:
        """Return the most bytes of the device's own memory that the model and a call hold; None where nobody counts."""

    def close(self) -> None:
        """Free the model, and leave what is the user's as it was."""


@dataclass(frozen=True)
class Runnable:
    """What can be loaded and called: `form` says what it is ("an ONNX file"), `files` what it is kept in.

    `load(threads, device)` returns a `LoadedModel`; device "" is where the model is by itself, else the CPU.
    `held_bytes` are those of the tensors of a live model, which are in memory before it is loaded; None for a file.
    """

    engine: str  # "" for a function
    form: str
    load: Callable[[int, str], LoadedModel]
    files: tuple[Path, ...] = ()
    held_bytes: int | None = None
    note: str = ""


def in_order(inputs: RunInputs, names: Sequence[str]) -> dict[str, Any]:
    """Return inputs by the names that a model has, in its order; a lone one goes to the only name, whatever its own.

    StepError X683 where there are others than the model takes; inputs that a model does not take are left out.
    """
    given = len(inputs)
    if isinstance(inputs, tuple):
        if given != len(names):
            raise _other(names, f"{given} are given")
        return dict(zip(names, inputs, strict=True))
    if given == len(names) == 1:
        return {names[0]: next(iter(inputs.values()))}
    if missing := [name for name in names if name not in inputs]:
        raise _other(names, f"{', '.join(missing)} is not among {', '.join(inputs) or 'none'}")
    return {name: inputs[name] for name in names}


def _other(names: Sequence[str], why: str) -> StepError:
    message = f"the model takes {', '.join(names) or 'nothing'}, and {why}"
    return StepError(Diagnostic("X683", message, help="name each input as the model does, with its shape"))


def as_array(value: Any) -> Any:
    """Return an input as a NumPy array; tensors of any library that knows NumPy's protocol are copied to the CPU."""
    import numpy as np

    return np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value)


class LoadedSession:
    """A session of an engine, as who times it calls it; of recurrent state a run is one step.

    Where an engine's own session has `prepared(inputs)`, that is the call: without looking at the inputs each time.
    """

    fixed_batch: int | None

    def __init__(self, session: Any, device: str = "") -> None:
        from titrant.runtime.backends.recurrent import stateless

        recurrence = getattr(session, "recurrence", None)
        self.inputs: tuple[Spec, ...] = tuple(stateless(session.specs, recurrence))
        self.fixed_batch = session.fixed_batch
        self.device = device or "cpu"
        self._own, self._session = session, adapted(session)
        self._plain = recurrence is None and all(shape for _, shape, _ in self.inputs)

    def prepare(self, inputs: RunInputs) -> Callable[[], object]:
        """Return a call with NumPy arrays in the model's order."""
        from titrant.runtime.backends.recurrent import first_step

        names = [name for name, _, _ in self.inputs]
        arrays = first_step(self._session, {name: as_array(value) for name, value in in_order(inputs, names).items()})
        whole = self.fixed_batch is None or all(len(array) == self.fixed_batch for array in arrays.values())
        prepared = getattr(self._own, "prepared", None)
        if self._plain and whole and prepared is not None:
            work: Callable[[], object] = prepared(arrays)
            return work
        session = self._session
        return lambda: session.run(arrays)

    def device_peak(self, _: Callable[[], object], /) -> int | None:
        """Return None: engines do not count it."""
        return None

    def close(self) -> None:
        """Free the model."""
        self._session.close()
