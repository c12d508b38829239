"""Summarize a model by parameter: counts, shapes, bytes, statistics, and whether the values are sound."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from titrant.runtime.arrays.libraries import is_module, library_of
from titrant.runtime.arrays.library import ModulePart
from titrant.runtime.instruments.checks.statistics import ArrayStatistics, described
from titrant.runtime.instruments.refused.files import no_file
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.text import columns, first_line
from titrant.schema.values.units import format_size

_FORMS = "an .onnx, .safetensors, .pt2 (torch.export) or TorchScript file"


@dataclass(frozen=True)
class Counts:
    """How many parameters a model has, how many of them train, and the bytes that all of them take."""

    total: int
    trainable: int
    bytes: int


def count_parameters(model: Any) -> Counts:
    """Count every parameter of a model once, however many layers share it; buffers are not parameters.

    `model` is a torch or MLX module, or the path of an .onnx, .safetensors, .pt2 (torch.export) or TorchScript file, of
    which none trains. A module's values are not read and may be on the meta device; of an .onnx or .safetensors file a
    header or graph is read, the others are loaded. MLX's quantized weights count as the numbers that they stand for.

    Raises RecipeError X702 for a file that is not there, P080 for one of another form or that cannot be read, X675 for
    a parameter that has no shape yet, StepError X160 for a damaged graph, TypeError for what is no model.
    """
    return _counts(_lines(model, values=False))


def _counts(lines: "Iterable[ParameterLine]") -> Counts:
    own = [line for line in lines if line.parameters and not line.tied]
    return Counts(
        total=sum(line.parameters for line in own),
        trainable=sum(line.parameters for line in own if line.trainable),
        bytes=sum(line.bytes for line in own),
    )


@dataclass(frozen=True)
class ParameterLine:
    """One parameter or saved buffer; the statistics are over its finite values, None where it has none.

    `tied` names the parameter that holds the same values and was listed before it. `nan` and `infinite` count values,
    `parameters` how many of its numbers are parameters: 0 of a buffer.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    count: int
    trainable: bool
    tied: str = ""
    mean: float | None = None
    deviation: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    nan: int = 0
    infinite: int = 0
    parameters: int = 0

    @property
    def ok(self) -> bool:
        """Whether every value is finite."""
        return not self.nan and not self.infinite

    @property
    def verdict(self) -> str:
        """Say OK, or bad with what is wrong."""
        faults = [f"{self.nan:,} NaN"] * bool(self.nan) + [f"{self.infinite:,} infinite"] * bool(self.infinite)
        return f"bad: {', '.join(faults)}" if faults else "OK"


@dataclass(frozen=True)
class Summary:
    """All parameters in the order in which they are registered, then the saved buffers, and what they add up to.

    Those of a file stand in its own order.
    """

    lines: tuple[ParameterLine, ...]
    counts: Counts

    @property
    def ok(self) -> bool:
        """Whether every value of the model is finite."""
        return all(line.ok for line in self.lines)

    def __str__(self) -> str:
        """Write the table, one line a parameter, and the totals."""
        head = ("name", "shape", "dtype", "count", "bytes", "trains", "mean", "std", "min", "max", "values")
        counts = self.counts
        total = f"{counts.total:,} parameters, {counts.trainable:,} trainable, {format_size(counts.bytes)}"
        return "\n".join([columns([head, *map(_cells, self.lines)]), f"{total}; tied weights counted once"])


def summary(model: Any) -> Summary:
    """List each parameter of a model with its statistics, and whether it holds NaN or infinity.

    Takes what `count_parameters` takes, and raises as it does. Statistics are computed in double precision (on Metal
    in single), piece by piece on the parameter's own device: beside the model there is at most one copy of the largest
    parameter, where it does not lie in one piece. On the meta device there are no values, and so no statistics.
    """
    lines = tuple(_lines(model, values=True))
    return Summary(lines, _counts(lines))


def summary_of_value(model: Any) -> Summary:
    """Return the summary of a model as operators hand it on: a live module, or a file by its path."""
    from titrant.runtime.values import TorchModel

    return summary(model.module if isinstance(model, TorchModel) else model.path)


def _lines(model: Any, *, values: bool) -> "Iterator[ParameterLine]":
    if is_module(model):
        yield from _module_lines(model, values=values)
        return
    if not isinstance(model, (str, Path)):
        what = f"a {type(model).__name__} has no parameters to count"
        raise TypeError(f"{what}: give a torch or MLX module, or the path of a file ({_FORMS})")
    file = Path(model)
    if file.is_dir():
        raise no_file(file)
    readers = {".onnx": _onnx_lines, ".safetensors": _safetensors_lines, ".pt2": _program_lines}
    read = readers.get(file.suffix.lower())
    if read is None and _holds_script(file):
        read = _script_lines
    if read is None:
        advice = f"name {_FORMS}, or load it and give the module"
        raise RecipeError(Diagnostic("P080", f"{file.name} is no file whose parameters are listed", help=advice))
    if not file.is_file():
        raise no_file(file)
    yield from read(file, values=values)


def _module_lines(module: Any, *, values: bool) -> "Iterator[ParameterLine]":
    library = library_of(module)
    assert library is not None
    parts = list(library.parts(module))
    for part in parts:
        form = library.form(part.array)
        if form.shapeless:
            from titrant.runtime.backends.torch.call import refuse_empty

            refuse_empty(module, values=False)
    read = [part for part in parts if values and not part.tied]
    statistics = dict(zip((part.name for part in read), described([part.array for part in read]), strict=True))
    for part in parts:
        yield _part_line(part, statistics.get(part.name))


def _part_line(part: ModulePart, statistics: ArrayStatistics | None) -> ParameterLine:
    library = library_of(part.array)
    assert library is not None
    form = library.form(part.array)
    count = part.count or form.count
    return _line(
        ParameterLine(
            part.name, form.shape, form.dtype, form.bytes, count, part.trainable, part.tied,
            parameters=count if part.parameter else 0,
        ),
        statistics,
    )  # fmt: skip


def _line(line: ParameterLine, statistics: ArrayStatistics | None) -> ParameterLine:
    """Return a line with the statistics of its values, where they were read."""
    if statistics is None:
        return line
    return replace(
        line,
        mean=statistics.mean,
        deviation=statistics.deviation,
        minimum=statistics.minimum,
        maximum=statistics.maximum,
        nan=statistics.nan,
        infinite=statistics.infinite,
    )


def _onnx_lines(file: Path, *, values: bool) -> "Iterator[ParameterLine]":
    from titrant.runtime.backends.onnxruntime.mend import mend
    from titrant.runtime.inspect.graph.constants import constants
    from titrant.runtime.inspect.graph.parameters import count_parameters as graph_parameters
    from titrant.runtime.inspect.graph.parameters import graph_tensors, inlined, numbers_of
    from titrant.runtime.operators.model.load_onnx import read_graph

    graph = inlined(mend(read_graph(str(file))[0])[0]).graph
    for tensor in graph_tensors(graph, graph_parameters(graph, constants(graph))):
        constant = tensor.constant
        line = ParameterLine(
            tensor.name, constant.shape, constant.dtype, constant.bytes, constant.size, False, tensor.tied,
            parameters=tensor.parameters,
        )  # fmt: skip
        if values and not tensor.tied:
            try:
                numbers = numbers_of(constant, file.parent)
            except (OSError, ValueError) as error:
                raise _unreadable(file, f"the numbers of {tensor.name} cannot be read: {first_line(error)}") from None
            line = _line(line, None if numbers is None else described([numbers])[0])
        yield line


def _safetensors_lines(file: Path, *, values: bool) -> "Iterator[ParameterLine]":
    from safetensors import safe_open

    from titrant.runtime.backends.torch.safetensors_header import read_header
    from titrant.runtime.inspect.weights import BUFFERS

    try:
        tensors = read_header(file)
    except (ValueError, OSError) as error:
        raise _unreadable(file, f"it cannot be read: {error}") from None
    for tensor in tensors:
        own = tensor.elements if tensor.name.rpartition(".")[2] not in BUFFERS else 0
        line = ParameterLine(
            tensor.name, tensor.shape, tensor.dtype, tensor.size_bytes, tensor.elements, False, parameters=own
        )
        if values:
            with safe_open(file, framework="pt") as opened:  # opened anew: what was read is let go
                line = _line(line, described([opened.get_tensor(tensor.name)])[0])
        yield line


def _holds_script(file: Path) -> bool:
    from titrant.runtime.instruments.subject.subject import holds_script

    return holds_script(file)


def _program_lines(file: Path, *, values: bool) -> "Iterator[ParameterLine]":
    from titrant.runtime.backends.torch.program.original import program_module

    _, module = program_module(file)
    yield from _untrained(module, values=values)


def _script_lines(file: Path, *, values: bool) -> "Iterator[ParameterLine]":
    from titrant.runtime.backends.torch.executed import calls_with_constants
    from titrant.runtime.backends.torch.program.original import read_script

    script = read_script(file)
    yield from _untrained(script, values=values)
    seen: set[int] = set()
    for layer, _, held in calls_with_constants(script.inlined_graph):
        for name, tensor in held.items():
            if tensor.data_ptr() not in seen:  # a frozen script's weights are constants of its code
                seen.add(tensor.data_ptr())
                part = ModulePart(f"{layer}.{name}", tensor, trainable=False, parameter=True)
                yield _part_line(part, described([tensor])[0] if values else None)


def _untrained(module: Any, *, values: bool) -> "Iterator[ParameterLine]":
    """List what a file's module holds: nothing of a file trains."""
    return (replace(line, trainable=False) for line in _module_lines(module, values=values))


def _unreadable(file: Path, problem: str) -> RecipeError:
    return RecipeError(Diagnostic("P080", f"{file}: {problem}", help=f"name a file that is whole ({_FORMS})"))


def _cells(line: ParameterLine) -> tuple[str, ...]:
    statistics = (line.mean, line.deviation, line.minimum, line.maximum)
    numbers = ["–" if number is None else f"{number:.3g}" for number in statistics]
    return (
        line.name,
        "×".join(map(str, line.shape)) or "1",
        line.dtype,
        f"{line.count:,}",
        format_size(line.bytes),
        "yes" if line.trainable else "no",
        *numbers,
        f"tied to {line.tied}" if line.tied else line.verdict,
    )
