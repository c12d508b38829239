"""Time live models and functions in the caller's own process: one, one over and over, or several side by side."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.charts.alone import ChartPicture
from titrant.runtime.instruments.measure.figures import BatchTimes, BenchSettings, ModelTimes, SideBySide
from titrant.runtime.instruments.measure.inputs import as_inputs, given_shapes
from titrant.runtime.instruments.measure.picture import picture_of
from titrant.runtime.instruments.measure.race import InputSource, race
from titrant.runtime.instruments.measure.report import save, text_of
from titrant.runtime.instruments.measure.subjects import subject_of
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError

if TYPE_CHECKING:
    import torch


def measure(
    model: Any,
    inputs: Any = None,
    *,
    shape: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    dtype: str | Mapping[str, str] | None = None,
    batches: Sequence[int] | None = None,
    iterations: int = 100,
    warmup: int = 10,
    threads: int = 1,
    device: "torch.device | str | None" = None,
    seed: int = 0,
) -> ModelTimes:
    """Time a model or function, and return its percentiles with intervals, throughput, peak memory and size.

    `model` is a torch module, an ONNX, TorchScript, torch.export or OpenVINO file or live graph, the bytes of an ONNX
    file, a session, or a function. `inputs` are a tensor or array, a sequence of them in order, or a mapping by name,
    rows first; or a function of the batch size that makes them. Without them numbers are drawn for a `shape` (the batch
    first) or what the model itself says. `batches` are the batch sizes, default the rows that are given. `threads` are
    those of the engine, and of torch in a function; `device` None is where a live module is, else the CPU.
    A module in training mode is timed in evaluation mode and left as it was. Raises RecipeError X671 to X673, X675 and
    X702, StepError X220, X674 and X683 for what cannot be timed, each with what would make it work.
    """
    settings = BenchSettings(iterations, warmup, threads, _name_of(device), seed)
    return _side_by_side({"model": model}, _source(inputs, shape, dtype), batches, settings).models[0]


def _side_by_side(
    models: Mapping[str, Any], source: InputSource, batches: Sequence[int] | None, settings: BenchSettings
) -> SideBySide:
    return race([subject_of(name, model) for name, model in models.items()], source, settings, batches)


def _name_of(device: "torch.device | str | None") -> str:
    return "" if device is None else str(device)


def _source(inputs: Any, shape: Any, dtype: str | Mapping[str, str] | None) -> InputSource:
    """Return where inputs come from; RecipeError X673 for two that say the same."""
    if inputs is not None and shape is not None:
        advice = "give one of them"
        raise RecipeError(Diagnostic("X673", "inputs and a shape say the same", help=advice))
    if callable(inputs) and not hasattr(inputs, "shape"):
        make: Callable[[int], Any] = inputs
        words = f"made by {getattr(inputs, '__qualname__', type(inputs).__name__)}"
        return InputSource(make=lambda batch: as_inputs(make(batch)), words=words)
    if inputs is not None:
        return InputSource(data=as_inputs(inputs), words="as given")
    return InputSource(shapes=() if shape is None else given_shapes(shape, dtype or ""))


class Profiler:
    """Times one model or function, again with each `run`, and reports or draws the latest figures.

    The arguments are those of `measure`; nothing is done before `run`.
    """

    def __init__(
        self,
        model: Any,
        inputs: Any = None,
        *,
        shape: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
        dtype: str | Mapping[str, str] | None = None,
        threads: int = 1,
        device: "torch.device | str | None" = None,
        seed: int = 0,
    ) -> None:
        self._model, self._inputs, self._shape, self._dtype = model, inputs, shape, dtype
        self._threads, self._device, self._seed = threads, device, seed
        self._latest: SideBySide | None = None

    def run(self, *, iterations: int = 100, warmup: int = 10, batches: Sequence[int] | None = None) -> ModelTimes:
        """Time the model at every batch size, keep the figures and return them; raises what `measure` raises."""
        settings = BenchSettings(iterations, warmup, self._threads, _name_of(self._device), self._seed)
        source = _source(self._inputs, self._shape, self._dtype)
        self._latest = _side_by_side({"model": self._model}, source, batches, settings)
        return self._latest.models[0]

    def execution_time(self, *, iterations: int = 100, warmup: int = 10) -> BatchTimes:
        """Time one batch size, that of the inputs, and return its figures in seconds."""
        return self.run(iterations=iterations, warmup=warmup).times[0]

    def memory(self) -> int | None:
        """Return the most bytes that loading the model and a run take, None where nobody can tell; runs if need be."""
        return (self._latest.models[0] if self._latest else self.run()).peak_bytes

    def report(self) -> str:
        """Return the latest figures as text of at most 100 columns; runs if need be."""
        return text_of(self._result())

    def plot(self) -> ChartPicture:
        """Return a picture of the latest figures, which `save` writes as .svg or .html; runs if need be."""
        return picture_of(self._result())

    def save(self, file: Path | str) -> Path:
        """Write the latest figures as .html, .svg, .md or .json; RecipeError X676 for another ending."""
        return save(self._result(), file)

    def _result(self) -> SideBySide:
        if self._latest is None:
            self.run()
        assert self._latest is not None
        return self._latest


class Benchmark:
    """Models and functions that are timed side by side, each in turn, on the same inputs."""

    def __init__(self) -> None:
        self._models: dict[str, Any] = {}
        self._latest: SideBySide | None = None

    def add(self, name: str, model: Any) -> "Benchmark":
        """Add a model or a function under a name and return this; the first is what the others are compared with.

        RecipeError X672 for a name that is taken, and for what nothing here can call.
        """
        if name in self._models:
            raise RecipeError(Diagnostic("X672", f"{name} is added already", help="give the other one another name"))
        subject_of(name, model)
        self._models[name] = model
        return self

    def compare(
        self,
        inputs: Any = None,
        *,
        shape: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
        dtype: str | Mapping[str, str] | None = None,
        batches: Sequence[int] | None = None,
        iterations: int = 100,
        warmup: int = 10,
        threads: int = 1,
        device: "torch.device | str | None" = None,
        seed: int = 0,
    ) -> SideBySide:
        """Time all of them in turns on the same inputs, which are those of `measure`; keep the figures, return them.

        Without batch sizes, rows of inputs and a size in `shape`, batches of 1, 4, 16 and 32 are timed. Raises
        RecipeError X672 where nothing was added, and what `measure` raises.
        """
        if not self._models:
            raise RecipeError(Diagnostic("X672", "there is nothing to compare", help="add a model: add(name, model)"))
        settings = BenchSettings(iterations, warmup, threads, _name_of(device), seed)
        self._latest = _side_by_side(self._models, _source(inputs, shape, dtype), batches, settings)
        return self._latest

    def report(self) -> str:
        """Return the latest comparison as text of at most 100 columns; RecipeError X672 before `compare`."""
        return text_of(self._result())

    def plot(self) -> ChartPicture:
        """Return a picture of the latest comparison, which `save` writes; RecipeError X672 before `compare`."""
        return picture_of(self._result())

    def save(self, file: str | os.PathLike[str]) -> Path:
        """Write the latest comparison as .html, .svg, .md or .json; RecipeError X676 for another ending."""
        return save(self._result(), Path(file))

    def _result(self) -> SideBySide:
        if self._latest is None:
            raise RecipeError(Diagnostic("X672", "nothing has been compared yet", help="call compare() first"))
        return self._latest
