"""Read a run's record as tables of figures that can be compared by name."""

from collections.abc import Mapping
from typing import Any

from titrant.schema.record import RunRecord

# A candidate, and whether the figures below it are timings.
Owner = tuple[str, bool]

_TIMED = ("latency", "throughput", "peak_memory")


def measurements(record: RunRecord) -> dict[str, dict[str, float]]:
    """Return what each step measured: step → name → value."""
    return {
        step.step: {measured.name: measured.value for measured in step.result.measurements}
        for step in record.steps
        if step.result is not None
    }


def candidate_figures(record: RunRecord) -> dict[Owner, dict[str, Any]]:
    """Return each candidate's figures and size: timings apart from what is the same in every run."""
    found: dict[Owner, dict[str, Any]] = {}
    for one in record.candidates:
        for timed in (False, True):
            figures = {name: value for name, value in one.figures.items() if is_timed(name) == timed}
            found[one.candidate, timed] = figures if timed or one.size is None else {"size": one.size, **figures}
    return found


def gate_answers(record: RunRecord) -> dict[tuple[str, str], dict[str, Any]]:
    """Return how candidates answered: (candidate, gate) → verdict, estimate and bounds; those judged only."""
    return {
        (one.candidate, result.gate): {
            name: getattr(result, name) for name in ("verdict", "estimate", "lower", "upper")
        }
        for one in record.candidates
        for result in (one.judgement.results if one.judgement is not None else ())
    }


def outcome(record: RunRecord) -> Mapping[str, Any]:
    """Return what came of a run: the verdict, what was released, and what became of each candidate."""
    candidates = {f"candidate {one.candidate}": one.status for one in record.candidates}
    return {"verdict": record.verdict, "released": list(record.released), "exit": record.exit, **candidates}


def measured_units(record: RunRecord) -> dict[str, str]:
    """Return the unit of every measurement, by "step.name"."""
    return {
        f"{step.step}.{measured.name}": measured.unit
        for step in record.steps
        if step.result is not None
        for measured in step.result.measurements
    }


def unit_of(figure: str) -> str:
    """Return the unit of one of a candidate's figures."""
    if figure.startswith("latency"):
        return "s"
    return {"throughput": "cases/s", "peak_memory": "B", "size": "B"}.get(figure, "")


def is_timed(name: str) -> bool:
    """Whether a metric, or the gate named after it, is read from timings."""
    return name.startswith(_TIMED)
