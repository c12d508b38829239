"""What is unsound about a layer: which one, by how much, and what helps."""

from typing import Literal

from titrant.runtime.instruments.health.figures import TensorFigures
from titrant.schema.values.frozen import dataclass

# fault: no sensible answer comes out of it. warning: it computes, and hardly what was meant. note: sound, and a
# reduction in precision or size would meet with it.
Severity = Literal["fault", "warning", "note"]
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
class LayerAnswers:
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
    answers: tuple[LayerAnswers, ...] = ()
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
        from titrant.runtime.instruments.health.words import health_text

        return health_text(self)
