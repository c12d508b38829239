"""validate.measure: both models' figures on tuning rows."""

from dataclasses import replace

import numpy as np
import pytest

from titrant.runtime.values import Outputs
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.values.canonical import canonical_json

BINARY = {"task": "binary_classification"}
HALF = {"kind": "threshold", "threshold": 0.5, "source": "asked for"}


def logits(decisions):
    return Outputs("tuning", {"y": np.where(np.eye(2)[decisions] == 1, 2.0, -2.0).astype(np.float32)})


def test_measures_both_models_their_agreement_and_the_retention(rows, apply):
    labels = np.array([0, 1] * 10)
    original, candidate = labels.copy(), labels.copy()
    original[0], candidate[:3] = 1, 1 - labels[:3]
    given = {"rows": rows(count=20, labels=labels), "original": logits(original), "candidate": logits(candidate)}
    done = apply("validate.measure", {**given, "point": HALF}, BINARY)
    quality = done.outputs["quality"]
    assert (quality["rows"], quality["agreement"]) == (20, 0.9)
    assert (quality["original"]["accuracy"], quality["candidate"]["accuracy"]) == (0.95, 0.85)
    assert quality["retention"] == pytest.approx(0.85 / 0.95)
    assert quality["candidate"]["sensitivity"] == 0.9
    assert done.measurements["retention"] == quality["retention"]
    canonical_json(quality)


def test_measures_agreement_only_without_labels(rows, apply):
    given = replace(rows(count=4), labels=None, classes=(), positive=None)
    old, new = logits([0, 1, 1, 0]), logits([0, 1, 1, 1])
    inputs = {"rows": given, "original": old, "candidate": new, "point": {"kind": "argmax", "threshold": None}}
    quality = apply("validate.measure", inputs, {"task": "unlabeled", "kinds": {"y": "logits"}}).outputs["quality"]
    counts = {"both": 3, "lost": 1, "gained": 0, "neither": 0}
    none = {"original": {}, "candidate": {}}
    assert quality == {"rows": 4, **none, "agreement": 0.75, "retention": 0.75, "pairs": counts}


def test_refuses_outputs_that_do_not_fit_the_rows(rows, apply):
    inputs = {"rows": rows(count=3, labels=[0, 1, 0]), "original": logits([0, 1]), "candidate": logits([0, 1])}
    with pytest.raises(StepError, match="X420"):
        apply("validate.measure", {**inputs, "point": HALF}, BINARY)
