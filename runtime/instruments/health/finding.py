"""What is unsound about a layer: which one, by how much, what helps; and its text."""

from collections.abc import Iterator
from textwrap import wrap
from typing import Literal

from titrant.runtime.instruments.health.figures import TensorFigures
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import counted

# fault: no sensible answer comes out of it. warning: it computes, and hardly what was meant. note: sound, and a
# reduction in precision or size would meet with it.
Severity = Literal["fault", "warning", "note"]
# Columns of a line, and the findings of one kind that are shown; more are counted.
_WIDTH, _MOST_NAME = 100, 44
_MOST = 5
SEVERITIES: tuple[Severity, ...] = ("fault", "warning", "note")


@dataclass(frozen=True)
class HealthFinding:
    """One finding about a layer; `kind` names it for programs, `figure` is the number that it rests on.

    `helps` says what would mend it, by the line of a recipe where there is one.
    """

    kind: str
    severity: Severity
    layer: str
    figure: float
    words: str
    helps: str


@dataclass(frozen=True)
class AnswerFigures:
    """What a layer, or an operation inside it, answered on some rows.

    `numbers` counts what was seen. `idle` of its `channels` never moved, `off` were never above zero. `saturated`,
    0..1, is the share of values at the flat ends of a sigmoid, tanh or softmax. `tensor_db` is the signal-to-noise of
    int8 with one scale for all, `spread` the largest range of a channel over the median one.
    """

    layer: str
    operation: str
    numbers: int
    channels: int
    nan: int = 0
    infinite: int = 0
    minimum: float | None = None
    maximum: float | None = None
    idle: int = 0
    off: int = 0
    saturated: float = 0.0
    tensor_db: float | None = None
    spread: float | None = None


@dataclass(frozen=True)
class ModelHealth:
    """The findings, the most severe first, and the figures that they rest on; `answers` only where rows were given."""

    subject: str
    findings: tuple[HealthFinding, ...]
    tensors: tuple[TensorFigures, ...]
    answers: tuple[AnswerFigures, ...] = ()
    rows: int = 0
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is neither a fault nor a warning."""
        return all(finding.severity == "note" for finding in self.findings)

    def count(self, severity: str) -> int:
        """Count the findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def __str__(self) -> str:
        """Write a line a finding, below each what helps."""
        return health_text(self)


def health_text(health: ModelHealth, *, whole: bool = False) -> str:
    """Write the verdict, then each finding and what helps; of one kind the first five unless `whole`."""
    return "\n".join([verdict(health), *_lines(health, whole=whole), *(f"note: {note}" for note in health.notes)])


def verdict(health: ModelHealth) -> str:
    """Say in a sentence what was looked at, and what was found."""
    faults, warnings, notes = (health.count(severity) for severity in ("fault", "warning", "note"))
    parts = [counted(faults, "fault")] * bool(faults) + [counted(warnings, "warning")] * bool(warnings)
    parts += [counted(notes, "note")] * bool(notes)
    looked = [counted(len(health.tensors), "tensor")] * bool(health.tensors)
    if health.answers:
        looked.append(f"{counted(len(health.answers), 'answer')} on {counted(health.rows, 'row')}")
    if not looked and health.rows:
        return "it holds no weights, and no layer or activation whose answers could be broken: nothing to look at"
    if not looked:
        return "it holds no weights to look at: give it rows (--rows 8, or inputs), and its answers are looked at"
    sound = "nothing is broken" if health.ok else ""
    return f"health of {' and '.join(looked)}: {', '.join(filter(None, [*parts, sound]))}"


def _lines(health: ModelHealth, *, whole: bool) -> Iterator[str]:
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
