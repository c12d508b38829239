"""All figures of two models on the same rows; they choose, they prove nothing."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.judge_candidate import gather
from titrant.runtime.contract.metrics import METRICS, calibration_edges, calibration_error
from titrant.runtime.contract.reading import Reading
from titrant.runtime.values import Outputs, Rows


def quality(
    reading: Reading, rows: Rows, original: Outputs, candidate: Outputs, point: Mapping[str, Any]
) -> dict[str, Any]:
    """Return {"rows", "original", "candidate", "agreement", "retention"}; see `validate.measure`."""
    evidence = gather(reading, rows, original, candidate, point)
    agreement = float(evidence.alike.mean()) if len(rows) else 0.0
    if evidence.original is None or evidence.candidate is None:
        return {"rows": len(rows), "original": {}, "candidate": {}, "agreement": agreement, "retention": agreement}
    edges = calibration_edges(evidence.original.probabilities)
    before, after = (_figures(answers, rows, edges) for answers in (evidence.original, evidence.candidate))
    main = before["accuracy"]
    return {
        "rows": len(rows),
        "original": before,
        "candidate": after,
        "agreement": agreement,
        "retention": after["accuracy"] / main if main and after["accuracy"] is not None else None,
    }


def _figures(answers: Answers, rows: Rows, edges: np.ndarray) -> dict[str, float | None]:
    assert rows.labels is not None
    figures = {name: metric(answers, rows.labels, rows.positive) for name, metric in METRICS.items()}
    return {**figures, "calibration_error": calibration_error(answers.probabilities, rows.labels, edges)}
