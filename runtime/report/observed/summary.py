"""The table of the parameters of the original and of what is released."""

from collections.abc import Mapping
from typing import Any

from titrant.runtime.charts.section import Section, SectionTable
from titrant.schema.values.units import format_size

_HEAD = ("Parameter", "Shape", "Type", "Count", "Bytes", "Trains", "Mean", "Deviation", "Least", "Most", "Values")
_NUMBERS = frozenset({3, 4, 6, 7, 8, 9})


def summary_section(seen: Mapping[str, Any]) -> Section:
    """List every parameter by model, and what they add up to; those that are not sound stand first."""
    tables = tuple(_table(name, summary) for name, summary in seen.items())
    sentence = "Statistics are over the finite values of each parameter; tied weights are counted once."
    return Section("parameters", "Parameters", sentence, tables)


def _table(name: str, summary: Mapping[str, Any]) -> SectionTable:
    counts, lines = summary["counts"], summary["lines"]
    total = f"{counts['total']:,} parameters, {counts['trainable']:,} trainable, {format_size(counts['bytes'])}"
    bad = sum(_is_bad(line) for line in lines)
    caption = f"{name}: {total}" + (f"; {bad} with NaN or infinity" if bad else "")
    rows = tuple(map(_row, sorted(lines, key=lambda line: not _is_bad(line))))
    return SectionTable(_HEAD, rows, caption, _NUMBERS)


def _is_bad(line: Mapping[str, Any]) -> bool:
    return bool(line["nan"] or line["infinite"])


def _row(line: Mapping[str, Any]) -> tuple[str, ...]:
    statistics = (line["mean"], line["deviation"], line["minimum"], line["maximum"])
    faults = [f"{line[key]:,} {word}" for key, word in (("nan", "NaN"), ("infinite", "infinite")) if line[key]]
    verdict = f"tied to {line['tied']}" if line["tied"] else f"✕ {', '.join(faults)}" if faults else "✓ finite"
    return (
        line["name"],
        " × ".join(map(str, line["shape"])) or "1",
        line["dtype"],
        f"{line['count']:,}",
        format_size(line["bytes"]),
        "yes" if line["trainable"] else "no",
        *("–" if value is None else f"{value:.3g}" for value in statistics),
        verdict,
    )
