"""Judge the Brier score: its paired rise, or its own value."""

import numpy as np

from titrant.runtime.contract.bounded_mean import METHOD, lower_bound, refutes, upper_bound
from titrant.runtime.contract.clusters import unit_count
from titrant.runtime.contract.crossing import crossing
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.finding import Finding
from titrant.runtime.contract.metrics import brier_of_cases
from titrant.runtime.contract.slices import look
from titrant.runtime.contract.unassessable import Unassessable
from titrant.schema.gate import Gate

# A case's Brier score moves by rounding on every case; what moves by less than this is not called changed.
CHANGED = 1e-3
_LARGEST_RATIO = 1000.0


def judge_brier(gate: Gate, evidence: Evidence) -> Finding:
    """Bound the mean over cases of what is compared; one case's score lies in 0..1."""
    cases = look(evidence, gate.metric, gate.slice)
    old, new = (
        brier_of_cases(answers.probabilities, cases.labels, cases.positive)
        for answers in (cases.original, cases.candidate)
    )
    before, after = float(old.mean()), float(new.mean())
    moved = int((np.abs(new - old) > CHANGED).sum())
    words = f"the Brier score{cases.words} goes from {before:.4f} to {after:.4f} over {len(new)} cases"
    if gate.comparison == "retention":
        estimate, lower, upper = _retention(old, new, cases.units, evidence.confidence)
        units = unit_count(cases.units)
        return Finding(estimate, lower, upper, before, after, len(new), moved, METHOD, words, units=units)
    values, lowest = {
        "rise_at_most": (new - old, -1.0),
        "drop_at_most": (old - new, -1.0),
        "at_most": (new, 0.0),
        "at_least": (new, 0.0),
    }[gate.comparison]
    lower = lower_bound(values, cases.units, evidence.confidence, lowest)
    upper = upper_bound(values, cases.units, evidence.confidence)

    def proves(times: float) -> bool:
        if gate.comparison == "at_least":
            return refutes(-values, cases.units, -gate.threshold, evidence.confidence, highest=-lowest, times=times)
        return refutes(values, cases.units, gate.threshold, evidence.confidence, times=times)

    return Finding(
        float(values.mean()), lower, upper, before, after, len(new), moved, METHOD, words,
        clean="" if moved else "no change", units=unit_count(cases.units), proves_with=proves,
    )  # fmt: skip


def _retention(
    old: np.ndarray, new: np.ndarray, units: np.ndarray, confidence: float
) -> tuple[float, float, float | None]:
    """Return original / candidate (smaller is better) with its bounds, from refuted signs of mean(r · new - old)."""
    if not new.mean():
        raise Unassessable("the candidate's Brier score is 0")
    estimate = float(old.mean() / new.mean())

    def proven_above(ratio: float) -> bool:
        return refutes(ratio * new - old, units, 0.0, confidence, highest=ratio)

    def proven_below(ratio: float) -> bool:
        return refutes(old - ratio * new, units, 0.0, confidence)

    lower = crossing(lambda ratio: 1.0 if proven_above(ratio) else -1.0, 1e-9, estimate) if estimate else 0.0
    if not proven_below(_LARGEST_RATIO):
        return estimate, lower, None
    return estimate, lower, crossing(lambda ratio: -1.0 if proven_below(ratio) else 1.0, estimate, _LARGEST_RATIO)
