"""Write what was timed side by side: as text of at most 100 columns, as Markdown, as a page with pictures, as JSON."""

import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from titrant.runtime.instruments.measure.figures import BatchTimes, BoundedFigure, ModelTimes, SideBySide
from titrant.runtime.instruments.measure.picture import picture_of
from titrant.runtime.page.section import PageSection, PageTable, TableCell, TableColumn
from titrant.runtime.page.write import page_html
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.canonical import plain
from titrant.schema.values.text import os_reason
from titrant.schema.values.units import counted, format_size

_WIDTH = 100
_MOST_NAME, _MOST_PATH, _MOST_FORM = 22, 32, 16
_SHORT_DIGEST = 8
_UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9))
_UNKNOWN = "–"

_Rows = list[tuple[str, ...]]


def text_of(result: SideBySide) -> str:
    """Return the figures as text: what was timed, then a table for each batch size, then what to bear in mind."""
    parts = [
        "\n".join(_wrapped(line, "") for line in _headline(result).splitlines()),
        _laid_out(_artifacts(result), left=(0, 1, 2, 3)),
    ]
    for place, batch in enumerate(result.batches):
        parts.append(f"batch {batch}\n{_fitted(_times(result, place))}")
    if notes := _all_notes(result):
        parts.append("\n".join(_wrapped(note, "  ") for note in notes))
    return "\n\n".join(parts)


def markdown_of(result: SideBySide) -> str:
    """Return the figures as Markdown."""
    parts = ["# What was timed", _headline(result), _piped(_artifacts(result))]
    for place, batch in enumerate(result.batches):
        parts += [f"## Batch {batch}", _piped(_times(result, place))]
    parts += [f"- {note}" for note in _all_notes(result)]
    return "\n\n".join(parts) + "\n"


def json_of(result: SideBySide) -> str:
    """Return every figure and sample as JSON."""
    return json.dumps(plain(result), indent=1, ensure_ascii=False) + "\n"


def page_of(result: SideBySide) -> str:
    """Return an HTML page with the picture and the tables, which needs no network."""
    first, *rest = _headline(result).splitlines()
    sizes = [(*[None] * 4, model.size_bytes, model.peak_bytes) for model in result.models]
    artifacts = PageSection("timed", "What was timed", "", _page_table(_artifacts(result), sizes), notes=(first, *rest))
    picture = PageSection("picture", "Time of a run", pictures=(picture_of(result),))
    batches = tuple(
        PageSection(
            f"batch-{batch}", f"Batch {batch}", "", _page_table(_times(result, place), _sorted_by(result, place))
        )
        for place, batch in enumerate(result.batches)
    )
    notes = _all_notes(result)
    mind = (PageSection("notes", "To bear in mind", notes=tuple(notes)),) if notes else ()
    lead = f"{counted(len(result.models), 'model')} at {counted(len(result.batches), 'batch size')}"
    return page_html("Side by side", (artifacts, picture, *batches, *mind), brand="titrant bench", lead=lead)


def _sorted_by(result: SideBySide, place: int) -> list[tuple[float | None, ...]]:
    """Return the numbers that stand behind the cells of a batch size's rows; None for a cell that is none."""
    numbers: list[tuple[float | None, ...]] = []
    for model in result.models:
        each = model.times[place]
        cpu = None if each.cpu_p50 is None else each.cpu_p50.estimate
        speed = 1.0 if each.against_first is None else each.against_first.factor
        times = (each.p50.estimate, each.p95.estimate, each.p99.estimate, each.mean, cpu)
        numbers.append((None, *times, each.cases_per_second.estimate, speed))
    return numbers


def _page_table(rows: Sequence[tuple[str, ...]], numbers: Sequence[tuple[float | None, ...]]) -> PageTable:
    kinds = [any(number is not None for number in column) for column in zip(*numbers, strict=True)]
    columns = tuple(TableColumn(name, numeric) for name, numeric in zip(rows[0], kinds, strict=False))
    cells = tuple(
        tuple(TableCell(words, number) for words, number in zip(row, behind, strict=False))
        for row, behind in zip(rows[1:], numbers, strict=True)
    )
    return PageTable(columns, cells)


_Writer = Callable[[SideBySide], str]


def _alone(result: SideBySide) -> str:
    return picture_of(result).alone()


_WRITERS: Mapping[str, _Writer] = {".html": page_of, ".svg": _alone, ".md": markdown_of, ".json": json_of}


def refuse_ending(file: Path) -> None:
    """Raise RecipeError X676 for a file whose ending says no form that figures are written in."""
    if file.suffix.lower() not in _WRITERS:
        advice = f"give it a name that ends in {', '.join(list(_WRITERS)[:-1])} or {list(_WRITERS)[-1]}"
        raise RecipeError(Diagnostic("X676", f"no figures are written as {file.name}", help=advice))


def save(result: SideBySide, file: Path | str) -> Path:
    """Write the figures to a file, by its ending: .html with pictures, .svg the picture, .md or .json.

    RecipeError X676 for another ending, and for a file that cannot be written.
    """
    path = Path(file)
    refuse_ending(path)
    try:
        path.write_text(_WRITERS[path.suffix.lower()](result), encoding="utf-8", newline="\n")
    except OSError as error:
        message = f"{path} cannot be written: {os_reason(error)}"
        raise RecipeError(Diagnostic("X676", message, help="name a file in a folder that you may write to")) from None
    return path


def _headline(result: SideBySide) -> str:
    settings = result.settings
    inputs = ", ".join(f"{each.name} {_shape(each.shape)} {each.dtype}" for each in result.inputs) or "none"
    where = f"{counted(settings.threads, 'thread')} of {settings.device or 'the CPU'}"
    parts = [
        f"inputs: {inputs}; {result.source}",
        f"{counted(settings.iterations, 'run')} of each after {settings.warmup} to warm up, in turns, {where}"
        + (f" ({result.processor})" if result.processor else ""),
        "percentiles of the wall clock with 95 % intervals, CPU the median of the process's CPU time"
        + ("; speed against the first, run for run" if len(result.models) > 1 else ""),
    ]
    return "\n".join(parts)


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(('batch', *map(str, shape[1:])))})" if shape else "()"


def _artifacts(result: SideBySide) -> _Rows:
    head = ("model", "what was timed", "digest", "form", "size", "memory")
    return [head, *(_artifact(model) for model in result.models)]


def _artifact(model: ModelTimes) -> tuple[str, ...]:
    return (
        _shortened(model.name, _MOST_NAME),
        _shortened(model.artifact, _MOST_PATH),
        model.digest[:_SHORT_DIGEST] or _UNKNOWN,
        _shortened(model.engine or model.form, _MOST_FORM),
        _size(model.size_bytes),
        _size(model.peak_bytes),
    )


def _size(size: int | None) -> str:
    return _UNKNOWN if size is None else format_size(size)


def _times(result: SideBySide, place: int) -> _Rows:
    times = [model.times[place] for model in result.models]
    largest = max(each.p50.estimate for each in times)
    unit, scale = next((each for each in _UNITS if largest >= each[1]), _UNITS[-1])
    several = len(times) > 1
    head = ("model", f"p50 {unit}", f"p95 {unit}", f"p99 {unit}", f"mean {unit}", f"CPU {unit}", "cases/s")
    rows: _Rows = [head + (("speed",) if several else ())]
    for model, each in zip(result.models, times, strict=True):
        cpu = _UNKNOWN if each.cpu_p50 is None else _number(each.cpu_p50.estimate / scale)
        cells = (
            *(_bounded(figure, scale) for figure in (each.p50, each.p95, each.p99)),
            _number(each.mean / scale),
            cpu,
            _number(each.cases_per_second.estimate),
        )
        rows.append((_shortened(model.name, _MOST_NAME), *cells, *((_speed(each),) if several else ())))
    return rows


def _bounded(figure: BoundedFigure, scale: float) -> str:
    lower, upper = ("…" if bound is None else _number(bound / scale) for bound in (figure.lower, figure.upper))
    return f"{_number(figure.estimate / scale)} ({lower}–{upper})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _speed(times: BatchTimes) -> str:
    against = times.against_first
    if against is None:
        return "1"
    doubt = "?" if against.verdict == "unknown" else ""
    return f"{against.factor:.2f}× ({against.lower:.2f}–{against.upper:.2f}){doubt}"


def _all_notes(result: SideBySide) -> list[str]:
    notes = [f"{model.name}: {note}" for model in result.models for note in model.notes]
    every = [each for model in result.models for each in model.times]
    if any(each.p99.upper is None for each in every):
        runs = min(each.runs for each in every)
        notes.append(f"…: {counted(runs, 'run')} cannot bound it; 500 bound a 99th percentile")
    compared = [each.against_first for each in every if each.against_first is not None]
    if any(each.clock == "cpu" for each in compared):
        notes.append("speed by CPU time where the machine kept runs waiting")
    if any(each.verdict == "unknown" for each in compared):
        notes.append("?: these runs do not tell which is faster")
    return [*notes, *result.notes]


def _wrapped(line: str, indent: str) -> str:
    return textwrap.fill(line, _WIDTH, initial_indent=indent, subsequent_indent=indent + "  ", break_on_hyphens=False)


def _shortened(name: str, most: int) -> str:
    return name if len(name) <= most else f"…{name[1 - most :]}"


def _laid_out(rows: Sequence[tuple[str, ...]], left: tuple[int, ...]) -> str:
    """Line up cells: those in the places `left` at the left, numbers at the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)


def _fitted(rows: _Rows) -> str:
    """Lay out times in one table, or in two below each other where one would be too wide."""
    whole = _laid_out(rows, left=(0,))
    if max(map(len, whole.splitlines())) <= _WIDTH:
        return whole
    return "\n".join(
        _laid_out(part, left=(0,)) for part in ([row[:4] for row in rows], [(row[0], *row[4:]) for row in rows])
    )


def _piped(rows: Sequence[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
