"""Write the health of a model as text of at most 100 columns."""

from collections.abc import Iterator
from textwrap import wrap
from typing import TYPE_CHECKING

from titrant.schema.values.units import counted

if TYPE_CHECKING:
    from titrant.runtime.instruments.health.finding import HealthFinding, ModelHealth

_WIDTH, _MOST_NAME = 100, 44
# More findings of one kind than this are counted.
_MOST = 5


def health_text(health: "ModelHealth", *, whole: bool = False) -> str:
    """Write the verdict, then each finding and what helps; of one kind the first five unless `whole`."""
    return "\n".join([verdict(health), *_lines(health, whole=whole), *(f"note: {note}" for note in health.notes)])


def verdict(health: "ModelHealth") -> str:
    """Say in a sentence what was looked at, and what was found."""
    faults, warnings, notes = (health.count(severity) for severity in ("fault", "warning", "note"))
    parts = [counted(faults, "fault")] * bool(faults) + [counted(warnings, "warning")] * bool(warnings)
    parts += [counted(notes, "note")] * bool(notes)
    looked = counted(len(health.tensors), "tensor")
    if health.answers:
        looked += f" and {counted(len(health.answers), 'answer')} on {counted(health.rows, 'row')}"
    sound = "nothing is broken" if health.ok else ""
    return f"health of {looked}: {', '.join(filter(None, [*parts, sound]))}"


def _lines(health: "ModelHealth", *, whole: bool) -> Iterator[str]:
    by_kind: dict[str, list[HealthFinding]] = {}
    for finding in health.findings:
        by_kind.setdefault(finding.kind, []).append(finding)
    for findings in by_kind.values():
        shown = findings if whole else findings[:_MOST]
        for finding in shown:
            yield from _wrapped(f"{finding.severity}: {_short(finding.layer)}: {finding.words}", "  ", "      ")
        if len(findings) > len(shown):
            yield f"  … {len(findings) - len(shown):,} more like these (-v shows them)"
        helps = shown[0].helps
        yield from _wrapped(f"helps: {helps}", "    ", "      ")


def _short(name: str) -> str:
    return name if len(name) <= _MOST_NAME else f"…{name[1 - _MOST_NAME :]}"


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return wrap(text, _WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)
