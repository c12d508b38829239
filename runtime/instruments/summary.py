"""Summarize a live module by parameter: counts, shapes, bytes, statistics, and whether the values are sound."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from titrant.schema.values.units import format_size

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Counts:
    """How many parameters a module has, how many of them train, and the bytes that all of them take."""

    total: int
    trainable: int
    bytes: int


def count_parameters(module: "torch.nn.Module") -> Counts:
    """Count every parameter of a module once, however many layers share it; buffers are not parameters.

    Works on any device, the meta device included; nothing is read or moved.
    """
    parameters = list(module.parameters())
    return Counts(
        total=sum(parameter.numel() for parameter in parameters),
        trainable=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        bytes=sum(parameter.numel() * parameter.element_size() for parameter in parameters),
    )


@dataclass(frozen=True)
class ParameterLine:
    """One parameter or saved buffer; the statistics are over its finite values, None where it has none.

    `tied` names the parameter that holds the same values and was listed before it. `nan` and `infinite` count values.
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
    """All parameters in the order in which they are registered, then the saved buffers, and what they add up to."""

    lines: tuple[ParameterLine, ...]
    counts: Counts

    @property
    def ok(self) -> bool:
        """Whether every value of the module is finite."""
        return all(line.ok for line in self.lines)

    def __str__(self) -> str:
        """Write the table, one line a parameter, and the totals."""
        head = ("name", "shape", "dtype", "count", "bytes", "trains", "mean", "std", "min", "max", "values")
        rows = [head, *(_cells(line) for line in self.lines)]
        widths = [max(len(row[place]) for row in rows) for place in range(len(head))]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        counts = self.counts
        total = f"{counts.total:,} parameters, {counts.trainable:,} trainable, {format_size(counts.bytes)}"
        return "\n".join([*table, f"{total}; tied weights counted once"])


def summary(module: "torch.nn.Module") -> Summary:
    """List each parameter of a module with its statistics, and whether it holds NaN or infinity.

    The statistics are computed in float32 (float64 stays), one parameter at a time, on its own device: peak memory is
    one copy of the largest. On the meta device there are no values, and so no statistics.
    """
    return Summary(tuple(_lines(module)), count_parameters(module))


def _lines(module: "torch.nn.Module") -> Iterator[ParameterLine]:
    seen: dict[int, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        first = seen.setdefault(id(parameter), name)
        yield _line(name, parameter, trainable=parameter.requires_grad, tied="" if first == name else first)
    saved = module.state_dict(keep_vars=True)
    for name, buffer in module.named_buffers():
        if name in saved:
            yield _line(name, buffer, trainable=False, tied="")


def _line(name: str, tensor: "torch.Tensor", *, trainable: bool, tied: str) -> ParameterLine:
    import torch

    bytes_, dtype = tensor.numel() * tensor.element_size(), str(tensor.dtype).removeprefix("torch.")
    shape, count = tuple(tensor.shape), tensor.numel()
    if tied or tensor.is_meta or not count or tensor.is_complex():
        return ParameterLine(name, shape, dtype, bytes_, count, trainable, tied)
    values = tensor.detach()
    values = values if values.dtype == torch.float64 else values.float()
    finite = values[torch.isfinite(values)]
    nan = int(torch.isnan(values).sum())
    bad = count - finite.numel()
    if not finite.numel():
        return ParameterLine(name, shape, dtype, bytes_, count, trainable, nan=nan, infinite=bad - nan)
    deviation = float(finite.std(correction=0))
    return ParameterLine(
        name, shape, dtype, bytes_, count, trainable, "", float(finite.mean()), deviation, float(finite.min()),
        float(finite.max()), nan, bad - nan,
    )  # fmt: skip


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
