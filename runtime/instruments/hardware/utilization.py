"""What hardware did while something ran: samples, their mean and peak, as a table, a picture or a file."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from titrant.runtime.charts.alone import ChartPicture
from titrant.runtime.charts.over_time import OverTime, Panel, over_time
from titrant.runtime.instruments.hardware.accelerators import AcceleratorUse
from titrant.runtime.instruments.hardware.sampler import UseSample
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.canonical import plain
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import os_reason
from titrant.schema.values.units import counted, format_size, format_time

# A sample of less than this share of the interval is too short to be called a peak: a tick of the clock fills it.
_SHORT = 0.5
_TICKS_SECONDS = 0.1
# Two samples that lie further apart than the later one covers have a gap between them; times are rounded.
_GAP_SECONDS = 0.05


@dataclass(frozen=True)
class WatchedDevice:
    """An accelerator that was sampled, and the bytes of its memory; None where it shares the machine's."""

    name: str
    total_bytes: int | None = None


@dataclass(frozen=True)
class Utilization:
    """Hardware while something ran for `seconds`; `interval` is what was asked for between two samples.

    `result` is what the callable returned, and is in no file. `notes` says what could not be read.
    """

    seconds: float
    interval: float
    samples: tuple[UseSample, ...]
    devices: tuple[WatchedDevice, ...] = ()
    logical_cores: int | None = None
    machine_total_bytes: int | None = None
    notes: tuple[str, ...] = ()
    result: Any = None

    @property
    def mean(self) -> UseSample:
        """The mean over the time that was sampled: `span_seconds` in all, until `seconds` after the beginning."""
        return self._summed(self._mean_of)

    def _mean_of(self, numbers: Sequence[float | None]) -> float | None:
        """Return the mean of one number of each sample, None where no sample has it."""
        pairs = [(n, sample.span_seconds) for n, sample in zip(numbers, self.samples, strict=True) if n is not None]
        whole = sum(length for _, length in pairs)
        if not whole:
            return pairs[-1][0] if pairs else None
        return sum(number * length for number, length in pairs) / whole

    @property
    def peak(self) -> UseSample:
        """The highest of each, and never below the mean.

        A sample that is cut short, as the last one is, counts for CPU where it is the only one.
        """
        long = [sample.span_seconds >= _SHORT * self.interval for sample in self.samples]

        def highest(numbers: Sequence[float | None]) -> float | None:
            given = [number for number in numbers if number is not None]
            whole = [n for n, is_long in zip(numbers, long, strict=True) if is_long and n is not None]
            mean = self._mean_of(numbers)
            return None if mean is None else max(*(whole or given), mean)

        def highest_bytes(numbers: Sequence[float | None]) -> float | None:
            return max((number for number in numbers if number is not None), default=None)

        return self._summed(highest, highest_bytes)

    def _summed(self, cpu: "_Summed", memory: "_Summed | None" = None) -> UseSample:
        memory = memory or cpu
        samples = self.samples

        def size(numbers: Sequence[float | None]) -> int | None:
            summed = memory(numbers)
            return None if summed is None else round(summed)

        by_device = [[sample.devices[place] for sample in samples] for place in range(len(self.devices))]
        count = max((len(sample.cores) for sample in samples), default=0)
        by_core = [[each.cores[place] if each.cores else None for each in samples] for place in range(count)]
        return UseSample(
            seconds=samples[-1].seconds if samples else 0.0,
            span_seconds=sum(sample.span_seconds for sample in samples),
            process_cores=cpu([sample.process_cores for sample in samples]),
            machine_cpu=cpu([sample.machine_cpu for sample in samples]),
            process_bytes=size([sample.process_bytes for sample in samples]),
            machine_bytes=size([sample.machine_bytes for sample in samples]),
            devices=tuple(
                AcceleratorUse(cpu([use.utilization for use in uses]), size([use.memory_bytes for use in uses]))
                for uses in by_device
            ),
            cores=tuple(cpu(core) or 0.0 for core in by_core),
        )

    def __str__(self) -> str:
        """Write it as a table: mean and peak of each, and what could not be read."""
        return "\n".join([self._headline(), *aligned(rows(self)), *(f"note: {note}" for note in self.notes)])

    def _headline(self) -> str:
        until = self.samples[-1].seconds if self.samples else 0.0
        rare = self.seconds - until > 1.5 * self.interval
        part = f"the first {format_time(until)} of {format_time(self.seconds)}" if rare else format_time(self.seconds)
        samples = counted(len(self.samples), "sample")
        return (
            f"{part}: {samples}, one every {format_time(self.interval)}"
            if len(self.samples) > 1
            else f"{part}: {samples}"
        )

    def plot(self) -> ChartPicture:
        """Draw CPU, memory and accelerators over time."""
        title = "Hardware over time"
        return ChartPicture(over_time(OverTime(title, panels(self)), "hardware"), title)

    def save(self, file: Path | str) -> Path:
        """Write the samples to a file, .json or .csv, and return its path; without the callable's result.

        Raises RecipeError X700 for any other name, or where it cannot be written.
        """
        path = Path(file)
        writers: dict[str, Callable[[], str]] = {".json": self._json, ".csv": self._csv}
        if path.suffix.lower() not in writers:
            message, advice = f"samples cannot be saved as {path.name}", "give it a name that ends in .json or .csv"
            raise RecipeError(Diagnostic("X700", message, help=advice))
        try:
            path.write_text(writers[path.suffix.lower()](), encoding="utf-8", newline="\n")
        except OSError as error:
            message = f"samples cannot be saved as {path}: {os_reason(error)}"
            raise RecipeError(Diagnostic("X700", message, help="name a file in a folder that can be written")) from None
        return path

    def _json(self) -> str:
        value = {name: each for name, each in plain(self.without_result()).items() if name != "result"}
        summary = {"mean": plain(self.mean), "peak": plain(self.peak)}
        return json.dumps({**value, **summary}, indent=1, ensure_ascii=False) + "\n"

    def _csv(self) -> str:
        text = io.StringIO()
        cores = max((len(sample.cores) for sample in self.samples), default=0)
        names = ["seconds", "span_seconds", "process_cores", "machine_cpu", "process_bytes", "machine_bytes"]
        names += [f"core_{core}" for core in range(cores)]
        names += [f"device_{n}_{what}" for n in range(len(self.devices)) for what in ("utilization", "memory_bytes")]
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(names)
        for each in self.samples:
            gpus = [number for use in each.devices for number in (use.utilization, use.memory_bytes)]
            cpu = (each.seconds, each.span_seconds, each.process_cores, each.machine_cpu)
            numbers = (*cpu, each.process_bytes, each.machine_bytes, *each.cores, *gpus)
            writer.writerow(["" if number is None else number for number in numbers])
        return text.getvalue()

    def without_result(self) -> "Utilization":
        """Return this without what the callable returned."""
        kept = {name: getattr(self, name) for name in ("seconds", "interval", "samples", "devices")}
        return Utilization(**kept, logical_cores=self.logical_cores, machine_total_bytes=self.machine_total_bytes,
                           notes=self.notes)  # fmt: skip


_Summed = Callable[[Sequence[float | None]], float | None]


def rows(use: Utilization) -> list[tuple[str, ...]]:
    """Return the table of mean and peak, its head first; accelerators that did nothing share a row."""
    mean, peak = use.mean, use.peak
    of_all = f" of {use.logical_cores}" if use.logical_cores else ""
    total = "" if use.machine_total_bytes is None else f" of {format_size(use.machine_total_bytes)}"
    table: list[tuple[str, ...]] = [
        ("", "mean", "peak"),
        ("CPU, process", cores_words(mean.process_cores), cores_words(peak.process_cores)),
        ("CPU, machine", share_words(mean.machine_cpu), share_words(peak.machine_cpu) + (of_all and f"{of_all} cores")),
        ("memory, process", size_words(mean.process_bytes), size_words(peak.process_bytes)),
        ("memory, machine", size_words(mean.machine_bytes), size_words(peak.machine_bytes) + total),
    ]
    table += [(f"core {n}", share_words(mean.cores[n]), share_words(peak.cores[n])) for n in range(len(mean.cores))]
    idle = [place for place in range(len(use.devices)) if _is_idle(use, place)]
    for place, device in enumerate(use.devices):
        if place in idle and len(idle) > 1:
            continue
        whole = "" if device.total_bytes is None else f" of {format_size(device.total_bytes)}"
        low, high = mean.devices[place], peak.devices[place]
        table.append((device.name, share_words(low.utilization), share_words(high.utilization)))
        table.append(("  its memory", size_words(low.memory_bytes), size_words(high.memory_bytes) + whole))
    if len(idle) > 1:
        table.append((f"{len(idle)} accelerators", "idle", "idle"))
    return table


def _is_idle(use: Utilization, place: int) -> bool:
    uses = [sample.devices[place] for sample in use.samples]
    return all(each.utilization == 0 for each in uses) and len({each.memory_bytes for each in uses}) < 2


def cores_words(cores: float | None) -> str:
    """Write how many cores were busy: "1.50 cores"; "–" for what could not be read."""
    return "–" if cores is None else f"{cores:.2f} cores"


def share_words(share: float | None) -> str:
    """Write a share for a person: "83 %"."""
    return "–" if share is None else f"{share:.0%}"


def size_words(size: float | None) -> str:
    """Write bytes for a person."""
    return "–" if size is None else format_size(size)


def aligned(table: Sequence[tuple[str, ...]]) -> list[str]:
    """Set a table in columns."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def panels(use: Utilization) -> tuple[Panel, ...]:
    """Return what a picture shows, one panel a unit; what was never read is in none."""
    samples = use.samples

    def series(read: Callable[[UseSample], float | None], least_span: float = 0.0) -> list[tuple[float, float | None]]:
        points: list[tuple[float, float | None]] = []
        for before, sample in zip((None, *samples), samples, strict=False):
            if before is not None and sample.seconds - sample.span_seconds > before.seconds + _GAP_SECONDS:
                points.append((sample.seconds, None))  # nothing was sampled between the two
            if (number := read(sample)) is not None and sample.span_seconds >= least_span:
                points.append((sample.seconds, number))
        return points

    cores, ticks = use.logical_cores or 1, [sample.span_seconds for sample in samples]
    # Of a shorter sample the kernel's clock, which counts in hundredths of a second, says little.
    least = min(_TICKS_SECONDS, max(ticks, default=0.0))
    drawn = [
        Panel("Cores busy", {
            "process": series(lambda sample: sample.process_cores, least),
            "machine": series(lambda sample: None if sample.machine_cpu is None else sample.machine_cpu * cores, least),
        }, highest=float(cores)),
        _memory("Memory, process", "process", series(lambda sample: sample.process_bytes), None),
        _memory("Memory, machine", "machine", series(lambda sample: sample.machine_bytes), use.machine_total_bytes),
    ]  # fmt: skip
    for place, device in enumerate(use.devices):
        if use.samples and _is_idle(use, place) and len(use.devices) > 1:
            continue
        busy = series(lambda sample, place=place: sample.devices[place].utilization)  # type: ignore[misc]
        held = series(lambda sample, place=place: sample.devices[place].memory_bytes)  # type: ignore[misc]
        drawn.append(Panel(f"{device.name}: share of the time busy", {"busy": busy}, highest=1.0))
        drawn.append(_memory(f"{device.name}: memory", "memory", held, device.total_bytes))
    return tuple(panel for panel in drawn if any(y is not None for line in panel.series.values() for _, y in line))


def _memory(title: str, label: str, points: Sequence[tuple[float, float | None]], highest: int | None) -> Panel:
    """Draw bytes in the unit that fits the largest of them."""
    largest = max((y for _, y in points if y is not None), default=0.0)
    unit, size = ("GiB", 2**30) if largest >= 2**30 else ("MiB", 2**20)
    scaled = [(x, None if y is None else y / size) for x, y in points]
    return Panel(f"{title} ({unit})", {label: scaled}, highest=None if highest is None else highest / size)
