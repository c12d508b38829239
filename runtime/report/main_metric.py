"""What quality means in a run: the metric that its contract is about first, and what is asked of it on tuning rows."""

from dataclasses import dataclass

from titrant.runtime.report.record_view import Quality, Record, quantity
from titrant.schema.gate import (
    CALIBRATION_INTERCEPT,
    CALIBRATION_SLOPE,
    LESS_IS_BETTER,
    SHARES,
    Contract,
    Gate,
)
from titrant.schema.recipe.tasks import TASKS

_KEPT = "retention"


@dataclass(frozen=True)
class MainMetric:
    """What quality means in a run: a metric, or the share that is kept of the original's where only that is known.

    `asked` is the threshold of `gate` in these terms on tuning rows, None where there is none; `less` says that less is
    better.
    """

    name: str
    key: str
    gate: Gate | None
    asked: float | None
    unit: str = ""
    less: bool = False

    def of(self, quality: Quality | None) -> float | None:
        """Return a candidate's value."""
        if quality is None:
            return None
        if self.is_share:
            value: float | None = getattr(quality, self.key)
            return value
        return quality.candidate.get(self.key)

    def of_original(self, quality: Quality | None) -> float | None:
        """Return the original's value; of a share that is kept, the whole where anything was measured."""
        if quality is None:
            return None
        return 1.0 if self.is_share else quality.original.get(self.key)

    @property
    def is_kept(self) -> bool:
        """Whether it is the share that is kept of the original's quality."""
        return self.key == _KEPT

    @property
    def is_share(self) -> bool:
        """Whether it compares with the original, whose own value is 1."""
        return self.key in (_KEPT, "agreement")

    def words(self, value: float | None) -> str:
        """Write a value in the metric's unit."""
        return quantity(value, self.unit)


def main_gate(contract: Contract) -> Gate | None:
    """Return the gate that says what quality is: what all cases must retain, else the first about all cases."""
    whole = [gate for gate in contract.gates if gate.slice == "all" and not gate.of_original]
    whole = [gate for gate in whole if gate.preset not in ("target", "executed", "fine_tuned", "batch_invariance")]
    for preset in ("retention", "gates", "clinical_relevance", "safety", "calibration"):
        for gate in whole:
            if gate.preset == preset and gate.test != "not_assessable":
                return gate
    return None


# Of recalibration no side is better: the metric → where it is right.
_RIGHT = {CALIBRATION_SLOPE: 1.0, CALIBRATION_INTERCEPT: 0.0}


def worsening(gate: Gate, before: float, after: float) -> float:
    """Return by how much a gate's metric became worse, below zero where it became better."""
    if gate.metric in _RIGHT:
        right = _RIGHT[gate.metric]
        return abs(after - right) - abs(before - right)
    return after - before if is_less_better(gate) else before - after


def is_less_better(gate: Gate) -> bool:
    """Whether less of a gate's metric is better, as a metric of the user's own declares."""
    if gate.own is not None:
        return gate.own.better == "lower"
    return gate.metric in LESS_IS_BETTER or gate.comparison in ("at_most", "rise_at_most")


def main_metric(record: Record) -> MainMetric:
    """Say what the quality of this run's candidates is measured by, on tuning rows."""
    qualities = list(record.values.quality.values())
    gate = main_gate(record.plan.contract)
    task = TASKS.get(record.plan.task)
    name = gate.metric if gate is not None else "accuracy" if task is None else task.main
    original = next((value for each in qualities if (value := each.original.get(name)) is not None), None)
    unit = "" if gate is None else gate.unit
    if name not in SHARES and original is not None:
        less = name in LESS_IS_BETTER if gate is None else is_less_better(gate)
        asked = None if gate is None else _asked(gate, original, less=less)
        return MainMetric(_title(name), name, gate, asked, unit, less)
    asked = gate.threshold if gate is not None and gate.comparison in ("retention", "at_least") and unit == "" else None
    if name not in SHARES and any(each.retention is not None for each in qualities):
        return MainMetric(f"kept of the original’s {_title(name)}", _KEPT, gate, asked)
    return MainMetric("agreement with the original", "agreement", gate, asked if name in SHARES else None)


# Abbreviations as people write them.
_TITLES = {"auroc": "AUROC", "mae": "MAE", "rmse": "RMSE", "r2": "R²", "f1": "F1", "iou": "IoU", "brier": "Brier score"}


def _title(metric: str) -> str:
    return _TITLES.get(metric, metric.replace("_", " "))


def _asked(gate: Gate, original: float, *, less: bool) -> float | None:
    if gate.comparison in ("at_least", "at_most"):
        return gate.threshold
    if gate.comparison == "retention":
        return original / gate.threshold if less else original * gate.threshold
    if gate.comparison == "drop_at_most":
        return original - gate.threshold
    return original + gate.threshold if gate.comparison == "rise_at_most" else None
