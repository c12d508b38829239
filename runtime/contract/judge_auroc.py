"""Judge the area under the ROC curve by paired DeLong."""

from titrant.runtime.contract.auroc import (
    LEAST_DISCORDANT,
    LEAST_POSITIVE,
    METHOD,
    Areas,
    difference_bounds,
    paired_areas,
    ratio_bounds,
)
from titrant.runtime.contract.clusters import unit_count
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.finding import Finding
from titrant.runtime.contract.slices import Slice, look
from titrant.runtime.contract.unassessable import Unassessable
from titrant.schema.gate import Gate

# comparison → the factor of the original's area in candidate - factor · original
_FACTORS = {"at_least": 0.0, "at_most": 0.0, "rise_at_most": 1.0, "drop_at_most": 1.0}


def judge_auroc(gate: Gate, evidence: Evidence) -> Finding:
    """Bound the area, its difference or its ratio; too few positive or discordant cases leave it open."""
    cases = look(evidence, gate.metric, gate.slice)
    if cases.positive is None:
        raise Unassessable("the ROC curve needs a class: name data.positive, or use the slice `class X`")
    positive = cases.labels == cases.positive
    if not positive.any() or positive.all():
        raise Unassessable(f"all cases{cases.words} are of one kind, and there is no ROC curve")
    scores = [answers.probabilities[:, cases.positive] for answers in (cases.original, cases.candidate)]
    areas = paired_areas(scores[0], scores[1], positive, cases.units)
    estimate, lower, upper = _bounds(gate, areas, evidence.confidence)
    count = min(unit_count(cases.units[positive]), unit_count(cases.units[~positive]))
    decides = areas.misranked if gate.comparison in ("at_least", "at_most") else areas.discordant
    return Finding(
        estimate, lower, upper, areas.original, areas.candidate, len(positive), decides, METHOD, _words(cases, areas),
        missing=_too_few(count, decides, cases), units=unit_count(cases.units),
    )  # fmt: skip


def _bounds(gate: Gate, areas: Areas, confidence: float) -> tuple[float, float, float]:
    if gate.comparison == "retention":
        if not areas.original:
            raise Unassessable("the original's area is 0")
        return (areas.candidate / areas.original, *ratio_bounds(areas, confidence))
    factor = _FACTORS[gate.comparison]
    lower, upper = difference_bounds(areas, factor, confidence)
    estimate = areas.candidate - factor * areas.original
    return (-estimate, -upper, -lower) if gate.comparison == "drop_at_most" else (estimate, lower, upper)


def _words(cases: Slice, areas: Areas) -> str:
    return f"AUROC{cases.words} {areas.original:.4f} → {areas.candidate:.4f}"


def _too_few(count: int, decides: int, cases: Slice) -> str:
    if count < LEAST_POSITIVE:
        return f"{count} cases on the smaller side of {cases.positive_name}, and at least {LEAST_POSITIVE} are needed"
    if decides < LEAST_DISCORDANT:
        return f"{decides} cases decide the test, and at least {LEAST_DISCORDANT} are needed"
    return ""
