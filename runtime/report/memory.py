"""The report's section of memory after each step, where the recipe asks for it."""

from titrant.runtime.charts.alone import ChartPicture
from titrant.runtime.charts.series import Curve, curve
from titrant.runtime.page.section import PageSection, PageTable, TableCell, TableColumn, number_cell
from titrant.runtime.report.record_view import Record
from titrant.schema.plan import MEMORY
from titrant.schema.record import StepRecord
from titrant.schema.values.units import format_size

_COLUMNS = (
    TableColumn("#", numeric=True),
    TableColumn("step"),
    TableColumn("peak", numeric=True, tip="by how much memory rose at its highest while the step worked"),
    TableColumn("after", numeric=True, tip="resident memory of the worker once the step had ended"),
    TableColumn("grown", numeric=True, tip="by how much that is more than before the step"),
)
_DEVICE = TableColumn("accelerators after", numeric=True, tip="what tensors hold there once the step had ended")
_SENTENCE = (
    "What the worker held when each step had ended and what no later step reads was dropped. A step that was reused "
    "shows what it was when it ran, in the worker of that run."
)
_UNKNOWN = "Results of an earlier version of titrant do not say it: {} ran before it was measured."
_MIB = 2**20


def memory_section(record: Record) -> tuple[PageSection, ...]:
    """Lay out memory after each step that ran; () where the recipe does not ask for it."""
    if MEMORY not in record.plan.profiled:
        return ()
    ran = [step for step in record.run.steps if step.result is not None]
    on_device = any(step.result and step.result.memory and step.result.memory.device_bytes is not None for step in ran)
    rows = tuple(_row(number, step, on_device=on_device) for number, step in enumerate(ran, 1))
    unknown = [step.step for step in ran if step.result is not None and step.result.memory is None]
    notes = (_UNKNOWN.format(", ".join(unknown)),) if unknown else ()
    table = PageTable((*_COLUMNS, *((_DEVICE,) if on_device else ())), rows)
    return (PageSection("memory", "Memory after each step", _SENTENCE, table, _picture(ran), notes=notes),)


def _row(number: int, step: StepRecord, *, on_device: bool) -> tuple[TableCell | str, ...]:
    result = step.result
    memory = None if result is None else result.memory
    # A step that only waited for a child has no peak of its own to show.
    peak = (result.peak_bytes or None) if result is not None else None
    cells: list[TableCell | str] = [number_cell(number), step.step, _size(peak)]
    if memory is None:
        return (*cells, "–", "–", *(["–"] * on_device))
    grown = number_cell(memory.grown_bytes, f"{'+' if memory.grown_bytes > 0 else ''}{format_size(memory.grown_bytes)}")
    return (*cells, _size(memory.held_bytes), grown, *([_size(memory.device_bytes)] * on_device))


def _size(size: int | None) -> TableCell:
    return number_cell(size, None if size is None else format_size(size))


def _picture(ran: list[StepRecord]) -> tuple[ChartPicture, ...]:
    """Draw what was held after each step, counted as in the table; nothing where too little is measured."""
    held = [step.result.memory.held_bytes / _MIB for step in ran if step.result and step.result.memory]
    if len(held) < len(ran) or len(held) < 2:
        return ()
    title = "Resident memory after each step (MiB)"
    return (ChartPicture(curve(Curve(title, {"held": held}, across="step"), "step-memory"), title),)
