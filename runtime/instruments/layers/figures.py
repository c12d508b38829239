"""A model layer by layer in an engine, for one batch: the table, and what is drawn and written of it."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from titrant.runtime.backends.profile import LayerSpan
from titrant.runtime.instruments.layers.bars import bars_picture
from titrant.runtime.instruments.layers.layer import LayerFigures, short_number, shortened_name
from titrant.runtime.instruments.layers.roofline import machine_limits, roofline_picture
from titrant.runtime.instruments.layers.trace import save_trace
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import counted, format_size, format_time

if TYPE_CHECKING:
    from pathlib import Path

    from titrant.runtime.charts.alone import ChartPicture
    from titrant.schema.facts import Bench

_MOST_KIND = 12
# Beyond this share of the whole, times of layers do not add up to it.
_APART = 0.1
# A batch that waited for longer than it computed was timed on a busy machine.
_BUSY = 1.3


@dataclass(frozen=True)
class LayerProfile:
    """The layers of a model in an engine for batches of `batch` rows, in the order in which they run, the rest last.

    `seconds` and `cpu_seconds` are those of a whole batch without a profile, `overhead_seconds` what the profile adds
    to one: it is in no other figure. `runs` were timed each way, in turns.
    """

    model: str
    engine: str
    device: str
    threads: int
    batch: int
    layers: tuple[LayerFigures, ...]
    seconds: float
    cpu_seconds: float
    overhead_seconds: float
    runs: int
    spans: tuple[LayerSpan, ...]
    told_when: bool = True
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Parameters of all layers, shared ones once."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def flops(self) -> int | None:
        """FLOPs of a batch; None where those of a layer are not known."""
        every = [layer.flops for layer in self.layers]
        return None if None in every else sum(flops or 0 for flops in every)

    @property
    def added_up(self) -> float:
        """What all rows take, as a share of a whole batch: about 1.

        By CPU time where one thread of the processor computes: nobody else's work is in it.
        """
        whole = self.cpu_seconds if self._by_cpu else self.seconds
        return sum(layer.time for layer in self.layers) / max(whole, 1e-12)

    @property
    def _by_cpu(self) -> bool:
        return self.device == "cpu" and self.threads == 1

    @property
    def busy(self) -> bool:
        """Whether a batch took much longer than it computed: others had the processor, or the model itself waits."""
        return self._by_cpu and self.seconds > _BUSY * self.cpu_seconds

    def slowest(self, count: int) -> tuple[LayerFigures, ...]:
        """Return the layers that take longest, the slowest first; what is no layer is none of them."""
        named = [layer for layer in self.layers if layer.name]
        return tuple(sorted(named, key=lambda layer: -layer.share)[:count])

    @property
    def subject(self) -> str:
        """What was timed, in words."""
        return f"{self.model} in {self.engine}"

    def plot(self, name: str = "layers") -> "ChartPicture":
        """Draw what each layer takes as bars, of many layers by block; `name` keeps its ids apart on a page."""
        return bars_picture(self.layers, self.subject, name)

    def roofline(self, bench: "Bench | None", name: str = "roofline") -> "ChartPicture":
        """Draw each layer's FLOP/s over its FLOPs a byte, below what the machine was measured to reach.

        `bench` is what `titrant hardware --bench` measured, as `titrant.detect(home).bench`. RecipeError X710 without
        it, X712 where no layer multiplies.
        """
        return roofline_picture(self.layers, self.subject, machine_limits(bench, self.device), name)

    def save_trace(self, file: "Path | str") -> "Path":
        """Write one batch as a timeline in Chrome's trace format, which Perfetto opens, and return the path.

        RecipeError X711 for a path that cannot be written.
        """
        about: dict[str, str | int] = {
            "model": self.model,
            "engine": self.engine,
            "device": self.device,
            "threads": self.threads,
            "batch": self.batch,
            "times": "measured" if self.told_when else "durations are measured, and placed one behind another",
        }
        return save_trace(file, self.spans, self.layers, about)

    def warnings(self) -> Iterator[str]:
        """Say where the figures are not to be trusted."""
        if self.busy:
            taken, computed = format_time(self.seconds), format_time(self.cpu_seconds)
            yield f"a batch took {taken} and computed for {computed} of them: the machine was busy, or the model waits"
        if abs(self.added_up - 1) > _APART:
            yield f"the rows add up to {self.added_up:.0%} of a batch: ask for more `seconds`, or a larger batch"
        if not self.told_when:
            yield f"{self.engine} tells how long an operation takes and not when: the timeline has them in their order"
        yield from self.notes

    def __str__(self) -> str:
        """Write the table, a line a layer, at most 100 columns wide, and below it what it is of."""
        cells = [table_head(), *(table_cells(layer) for layer in self.layers)]
        widths = [max(len(row[place]) for row in cells) for place in range(len(_COLUMNS))]
        set_cells = (map(_set, row, widths, _COLUMNS) for row in cells)
        lines = ["  ".join(row).rstrip() for row in set_cells]
        return "\n".join([*lines, *self.below(), *self.warnings()])

    def below(self) -> Iterator[str]:
        """Say what the table is of, and what a whole batch takes."""
        flops = "unknown FLOPs" if self.flops is None else f"{short_number(self.flops)} FLOPs"
        what = f"{counted(self.batch, 'row')} a batch, {counted(self.threads, 'thread')} on {self.device}"
        yield f"{self.engine}, {what}: {self.parameters:,} parameters, {flops}"
        whole = f"{format_time(self.seconds)}, of CPU time {format_time(self.cpu_seconds)}"
        yield (
            f"a batch without a profile: {whole}; rows add up to {self.added_up:.0%}; "
            f"the profile adds {format_time(self.overhead_seconds)}"
        )


@dataclass(frozen=True)
class _Column:
    head: str
    cell: Callable[[LayerFigures], str]
    numeric: bool = True


def _set(cell: str, width: int, column: _Column) -> str:
    return cell.rjust(width) if column.numeric else cell.ljust(width)


_COLUMNS = (
    _Column("layer", lambda row: shortened_name(row.label), numeric=False),
    _Column("kind", lambda row: shortened_name(row.kind, _MOST_KIND), numeric=False),
    _Column("time", lambda row: format_time(row.time)),
    _Column("share", lambda row: f"{row.share:.1%}"),
    _Column("parameters", lambda row: f"{row.parameters:,}" if row.parameters else "–"),
    _Column("answer", lambda row: "–" if not row.activation_bytes else format_size(row.activation_bytes)),
    _Column("FLOPs", lambda row: "unknown" if row.flops is None else short_number(row.flops)),
    _Column("runs as", lambda row: row.precision or "–", numeric=False),
)


def table_head() -> tuple[str, ...]:
    """Return the head of the table of a profile."""
    return tuple(column.head for column in _COLUMNS)


def table_cells(layer: LayerFigures) -> tuple[str, ...]:
    """Return a layer's cells in that table."""
    return tuple(column.cell(layer) for column in _COLUMNS)
