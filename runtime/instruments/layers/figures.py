"""What each layer of a model takes in an engine, and what of it is counted, for one batch."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from titrant.runtime.backends.profile import LayerSpan
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import counted, format_size, format_time

if TYPE_CHECKING:
    from pathlib import Path

    from titrant.runtime.charts.alone import ChartPicture
    from titrant.schema.facts import Bench

OTHER = "(no layer)"
_MOST_NAME, _MOST_KIND = 30, 14
# Beyond this share of the whole, times of layers do not add up to it.
_APART = 0.1
# A batch that waited for longer than it computed was timed on a busy machine.
_BUSY = 1.3


@dataclass(frozen=True)
class LayerFigures:
    """One layer of the original, as an engine runs it in one batch; `name` is "" for all that is no layer.

    `seconds` are by the wall clock and `cpu_seconds` CPU time, None where an engine does not tell; `share` is that of
    all rows, 0..1. `parameter_bytes` are those of the weights as they are kept, saved buffers included;
    `activation_bytes` those of what it answers, `moved_bytes` all that it must at least read and write. FLOPs are two
    per multiply-add, None where an operation has no known count. `precision` is what is executed. `joined` are layers
    of the original that run inside it.
    """

    name: str
    kind: str
    block: str  # the part of the model that it stands in, "" for none
    seconds: float
    cpu_seconds: float | None
    share: float
    calls: int
    parameters: int
    parameter_bytes: int
    activation_bytes: int | None
    moved_bytes: int | None
    flops: int | None
    precision: str
    engine_op: str
    joined: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Its name, and how many layers run inside it."""
        more = f" +{len(self.joined)}" if self.joined else ""
        return (self.name or OTHER) + more

    @property
    def intensity(self) -> float | None:
        """FLOPs for each byte that it must move; None where either is not known, or nothing is multiplied."""
        return self.flops / self.moved_bytes if self.flops and self.moved_bytes else None


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
        if self._by_cpu:
            return sum(_seconds(layer) for layer in self.layers) / max(self.cpu_seconds, 1e-12)
        return sum(layer.seconds for layer in self.layers) / max(self.seconds, 1e-12)

    @property
    def _by_cpu(self) -> bool:
        return self.device == "cpu" and self.threads == 1

    @property
    def busy(self) -> bool:
        """Whether others took the processor while it was timed, as far as that can be told."""
        return self._by_cpu and self.seconds > _BUSY * self.cpu_seconds

    def time_of(self, layer: LayerFigures) -> float:
        """Return the seconds that stand for a layer: CPU time where one thread computes and the engine tells it."""
        return _seconds(layer) if self._by_cpu else layer.seconds

    def slowest(self, count: int) -> tuple[LayerFigures, ...]:
        """Return the layers that take longest, the slowest first; what is no layer is none of them."""
        named = [layer for layer in self.layers if layer.name]
        return tuple(sorted(named, key=lambda layer: -layer.share)[:count])

    def picture(self) -> "ChartPicture":
        """Draw what each layer takes as bars, of many layers by block."""
        from titrant.runtime.instruments.layers.bars import bars_picture

        return bars_picture(self)

    def roofline(self, bench: "Bench | None") -> "ChartPicture":
        """Draw each layer's FLOP/s over its FLOPs a byte, below what the machine was measured to reach.

        `bench` is what `titrant hardware --bench` measured: `titrant.detect(...).bench`. RecipeError X682 without it.
        """
        from titrant.runtime.instruments.layers.roofline import roofline_picture

        return roofline_picture(self, bench)

    def save_trace(self, file: "Path | str") -> "Path":
        """Write one batch as a timeline in Chrome's trace format, which Perfetto opens, and return the path.

        RecipeError X683 for a path that cannot be written.
        """
        from titrant.runtime.instruments.layers.trace import save_trace

        return save_trace(self, file)

    def warnings(self) -> Iterator[str]:
        """Say where the figures are not to be trusted."""
        if self.busy:
            taken, computed = format_time(self.seconds), format_time(self.cpu_seconds)
            yield f"the machine was busy: a batch took {taken} and computed for {computed} of them; compare CPU time"
        if abs(self.added_up - 1) > _APART:
            yield f"the rows add up to {self.added_up:.0%} of a batch: ask for more `seconds`, or a larger batch"
        if not self.told_when:
            yield f"{self.engine} tells how long an operation takes and not when: the timeline has them in their order"
        yield from self.notes

    def __str__(self) -> str:
        """Write the table, a line a layer, at most 100 columns wide, and below it what it is of."""
        cells = [table_head(), *(table_cells(self, layer) for layer in self.layers)]
        widths = [max(len(row[place]) for row in cells) for place in range(len(_COLUMNS))]
        set_cells = (map(_set, row, widths, _COLUMNS) for row in cells)
        lines = ["  ".join(row).rstrip() for row in set_cells]
        return "\n".join([*lines, *self.below(), *self.warnings()])

    def below(self) -> Iterator[str]:
        """Say what the table is of, and what a whole batch takes."""
        flops = "unknown FLOPs" if self.flops is None else f"{_short(self.flops)}FLOPs"
        what = f"{counted(self.batch, 'row')} a batch, {counted(self.threads, 'thread')} on {self.device}"
        yield f"{self.engine}, {what}: {self.parameters:,} parameters, {flops}"
        whole = f"{format_time(self.seconds)}, of CPU time {format_time(self.cpu_seconds)}"
        yield (
            f"a batch without a profile: {whole}; rows add up to {self.added_up:.0%}; "
            f"the profile adds {format_time(self.overhead_seconds)}"
        )


def _seconds(layer: LayerFigures) -> float:
    return layer.seconds if layer.cpu_seconds is None else layer.cpu_seconds


@dataclass(frozen=True)
class _Column:
    head: str
    cell: Callable[[LayerProfile, LayerFigures], str]
    numeric: bool = True


def _set(cell: str, width: int, column: _Column) -> str:
    return cell.rjust(width) if column.numeric else cell.ljust(width)


def shortened_name(label: str, most: int = _MOST_NAME) -> str:
    """Shorten a name in its middle: its beginning says where it stands, its end what it is."""
    if len(label) <= most:
        return label
    kept = most - 1
    return f"{label[: kept - kept * 2 // 3]}…{label[-(kept * 2 // 3) :]}"


def short_number(number: float | None) -> str:
    """Write a count with a unit: 12.3 M; "–" for None, and for nothing."""
    return "–" if not number else _short(number).strip()


def _short(number: float) -> str:
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size * 0.9995:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g} "


_COLUMNS = (
    _Column("layer", lambda _, row: shortened_name(row.label), numeric=False),
    _Column("kind", lambda _, row: shortened_name(row.kind, _MOST_KIND), numeric=False),
    _Column("time", lambda profile, row: format_time(profile.time_of(row))),
    _Column("share", lambda _, row: f"{row.share:.1%}"),
    _Column("parameters", lambda _, row: f"{row.parameters:,}" if row.parameters else "–"),
    _Column("answer", lambda _, row: "–" if not row.activation_bytes else format_size(row.activation_bytes)),
    _Column("FLOPs", lambda _, row: "unknown" if row.flops is None else short_number(row.flops)),
    _Column("runs as", lambda _, row: row.precision or "–", numeric=False),
)


def table_head() -> tuple[str, ...]:
    """Return the head of the table of a profile."""
    return tuple(column.head for column in _COLUMNS)


def table_cells(profile: LayerProfile, layer: LayerFigures) -> tuple[str, ...]:
    """Return a layer's cells in that table."""
    return tuple(column.cell(profile, layer) for column in _COLUMNS)


_NUMBERED = re.compile(r"\d+")


def block_of(name: str) -> str:
    """Return the block that a layer stands in: up to the first number in its name, else its first part; "" for none.

    Such as `layer1.0` of `layer1.0.conv1`, `encoder.layers.3` of `encoder.layers.3.attn.out`.
    """
    parts = _parts(name)
    for place, part in enumerate(parts[:-1]):
        if _NUMBERED.fullmatch(part):
            return ".".join(parts[: place + 1])
    return parts[0] if len(parts) > 1 else ""


def _parts(name: str) -> Sequence[str]:
    """Split a module's name, or that of a node, whose path repeats what holds a number: /layer1/layer1.0/conv1/Conv."""
    if not name.startswith("/"):
        return name.split(".")
    way = name[1:].split("/")
    kept = [part for part, after in zip(way, (*way[1:], ""), strict=True) if not after.startswith(f"{part}.")]
    return ".".join(kept[:-1]).split(".") + kept[-1:]
