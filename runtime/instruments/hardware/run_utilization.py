"""What the hardware did during a run, by step: as a table and as a page beside the report."""

from dataclasses import replace

from titrant.runtime.charts.alone import ChartPicture
from titrant.runtime.charts.over_time import OverTime, Stretch, over_time
from titrant.runtime.instruments.hardware.sampler import UseSample
from titrant.runtime.instruments.hardware.utilization import (
    Utilization,
    aligned,
    cores_words,
    panels,
    rows,
    share_words,
    size_words,
)
from titrant.runtime.page.section import PageSection, PageTable, TableCell, TableColumn, number_cell
from titrant.runtime.page.write import page_html
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import format_time

TIMED = "not sampled: models are timed"


@dataclass(frozen=True)
class StepStretch:
    """When a step began and ended, in seconds of the watch; `timed` where nothing was sampled in between."""

    step: str
    begin_seconds: float
    end_seconds: float
    timed: bool = False


@dataclass(frozen=True)
class RunUtilization:
    """What was sampled while a run worked, and which step was at work when; steps that were reused are not there."""

    utilization: Utilization
    steps: tuple[StepStretch, ...]

    def of_step(self, step: StepStretch) -> Utilization:
        """Return what was sampled within one step."""
        inside = [s for s in self.utilization.samples if step.begin_seconds < s.seconds <= step.end_seconds + 1e-3]
        return replace(self.utilization, seconds=step.end_seconds - step.begin_seconds, samples=tuple(inside))


def run_text(seen: RunUtilization) -> str:
    """Write it for the console: each step, then the whole."""
    table = [_HEAD, *(_cells(seen, step) for step in seen.steps)]
    steps = aligned(table) if seen.steps else ["no step ran: every one was reused, and so there is nothing to see"]
    notes = (f"note: {note}" for note in seen.utilization.notes)
    return "\n".join(["hardware while the run worked", *steps, "", *aligned(rows(seen.utilization)), *notes])


_SENTENCE = "The time of a step holds what loading libraries took, and writing its results."
_HEAD = ("step", "time", "CPU", "machine", "most memory", "accelerators")


def _cells(seen: RunUtilization, step: StepStretch) -> tuple[str, ...]:
    time = format_time(step.end_seconds - step.begin_seconds)
    if step.timed:
        return step.step, time, TIMED, "", "", ""
    use = seen.of_step(step)
    mean, peak = use.mean, use.peak
    return (
        step.step,
        time,
        cores_words(mean.process_cores),
        share_words(mean.machine_cpu),
        size_words(peak.process_bytes),
        _devices(mean),
    )


def _devices(mean: UseSample) -> str:
    """Write how busy the accelerators were, without those that did nothing."""
    shares = [f"{place}: {share_words(use.utilization)}" for place, use in enumerate(mean.devices) if use.utilization]
    return ", ".join(shares) or "–"


def page(seen: RunUtilization, run: str) -> str:
    """Write a page of its own: the picture with its steps, both tables, and what could not be read."""
    use = seen.utilization
    drawn = panels(use)
    stretches = tuple(
        Stretch(f"{step.step} ({TIMED})" if step.timed else step.step, step.begin_seconds, step.end_seconds)
        for step in seen.steps
    )
    title = "Hardware while the run worked"
    pictures = (ChartPicture(over_time(OverTime(title, drawn, stretches), "hardware"), title),) if drawn else ()
    head, *whole = rows(use)
    sections = (
        PageSection(
            "hardware", "Over time",
            "Shaded stretches are steps, numbered as in the table below; where a line has a gap, models were timed.",
            pictures=pictures, notes=use.notes,
        ),
        PageSection(
            "by-step", "By step", _SENTENCE if seen.steps else "No step ran: every one was reused.",
            table=PageTable(_COLUMNS, tuple(_row(seen, n, step) for n, step in enumerate(seen.steps, 1)))
            if seen.steps else None,
        ),
        PageSection("whole", "In all", table=PageTable(tuple(map(TableColumn, head)), tuple(whole))),
    )  # fmt: skip
    lead = "CPU and memory of the run and what it started, of the machine, and its accelerators. Another run's differ."
    return page_html(f"Hardware of {run}", sections, brand="titrant utilization", lead=lead)


_COLUMNS = (
    TableColumn("#", numeric=True),
    TableColumn("step"),
    TableColumn("time", numeric=True),
    TableColumn("CPU", numeric=True, tip="cores that the run kept busy, on average"),
    TableColumn("machine", numeric=True, tip="share of all logical cores that were busy with anything, on average"),
    TableColumn("most memory", numeric=True, tip="resident memory of the run's processes, at its highest sample"),
    TableColumn("accelerators", tip="share of the time that each was busy, on average"),
)


def _row(seen: RunUtilization, number: int, step: StepStretch) -> tuple[TableCell | str, ...]:
    length = step.end_seconds - step.begin_seconds
    name = f"{step.step} ({TIMED})" if step.timed else step.step
    first = (number_cell(number), name, number_cell(length, format_time(length)))
    if step.timed:
        return (*first, "–", "–", "–", "–")
    use = seen.of_step(step)
    mean, peak = use.mean, use.peak
    return (
        *first,
        number_cell(mean.process_cores, cores_words(mean.process_cores)),
        number_cell(mean.machine_cpu, share_words(mean.machine_cpu), share=mean.machine_cpu),
        number_cell(peak.process_bytes, size_words(peak.process_bytes)),
        _devices(mean),
    )
