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


BIAS = {"preset": "bias", "metric": "accuracy", "threshold": 0.85, "min_cases": 20}
KEPT = {"id": "b", **BIAS, "slice": "subgroup site.b", "comparison": "retention", "test": "score_ratio"}
AGAINST = {
    "id": "b/a",
    **BIAS,
    "slice": "subgroup site.b / site.a",
    "comparison": "ratio_at_least",
    "test": "group_ratio",
}


@pytest.fixture
def groups(rows, apply):
    """Measure what gates on site b answer; `wrong` are how many of its cases the original and the candidate miss."""

    def run(cases, wrong, *gates, others=400):
        labels = np.array([0, 1] * ((cases + others) // 2))
        given = rows(count=len(labels), labels=labels)
        at_b = np.arange(len(labels)) < cases
        given = replace(given, subgroups={"site": at_b.astype(np.int64)}, subgroup_values={"site": ("a", "b")})
        old, new = (np.where(np.arange(len(labels)) < missed, 1 - labels, labels) for missed in wrong)
        inputs = {"rows": given, "original": logits(old), "candidate": logits(new), "point": HALF}
        quality = apply("validate.measure", inputs, {**BINARY, "groups": gates}).outputs["quality"]
        canonical_json(quality)
        return quality

    return run


def test_tells_of_a_subgroup_what_is_lost_there_and_whether_chance_explains_it(groups):
    ruined, doubtful, kept = (groups(40, (0, lost), KEPT, AGAINST) for lost in (20, 8, 4))
    assert ruined["retention"] > 0.95
    assert ruined["groups"]["b"] == {"estimate": 0.5, "spent": pytest.approx(0.5 / 0.15), "verdict": "FAIL"}
    assert ruined["groups"]["b/a"] == ruined["groups"]["b"]
    assert (doubtful["groups"]["b"]["verdict"], doubtful["groups"]["b"]["spent"] > 1) == ("INCONCLUSIVE", True)
    assert kept["groups"]["b"]["spent"] == pytest.approx(0.1 / 0.15)
    assert kept["groups"]["b"]["verdict"] != "FAIL"


def test_says_nothing_of_a_subgroup_that_has_too_few_cases_or_that_the_original_fails_itself(groups):
    assert groups(18, (0, 18), KEPT, AGAINST)["groups"] == {}
    assert [*groups(40, (20, 30), KEPT, AGAINST)["groups"]] == ["b"]
    assert "groups" not in groups(40, (0, 20))


def test_bounds_all_subgroups_together(groups):
    """12 of 40 lost are told from .85 by a bound at 95 %, and not by one that holds for twenty gates at once."""
    alone = groups(40, (0, 12), KEPT)["groups"]
    many = groups(40, (0, 12), *({**KEPT, "id": f"b{place}"} for place in range(20)))["groups"]
    assert alone["b"]["verdict"] == "FAIL"
    assert {each["verdict"] for each in many.values()} == {"INCONCLUSIVE"}


@pytest.mark.parametrize("cases", [20, 60])
def test_seldom_fails_a_subgroup_that_keeps_just_what_is_asked(groups, cases):
    """Of 20 cases, as of 60, a group that truly keeps .85 fails in at most one draw of twenty."""
    lost = np.random.default_rng(3).binomial(cases, 0.15, size=200)
    answers = {
        int(count): groups(cases, (0, int(count)), KEPT, others=100)["groups"]["b"]["verdict"] for count in set(lost)
    }
    assert np.mean([answers[count] == "FAIL" for count in lost.tolist()]) <= 0.05


def test_tells_of_a_rise_by_what_it_may_be(groups):
    free = {"preset": "gates", "metric": "accuracy", "slice": "subgroup site.b", "threshold": 0.05, "min_cases": 20}
    drop = {"id": "drop", **free, "comparison": "drop_at_most", "test": "paired_difference"}
    assert groups(40, (0, 1), drop)["groups"]["drop"]["spent"] == pytest.approx(0.5)
    assert groups(40, (0, 4), drop)["groups"]["drop"]["spent"] == pytest.approx(2)
    none = {**drop, "threshold": 0.0}
    assert (
        groups(40, (0, 0), none)["groups"]["drop"]["spent"] <= 1 < groups(40, (0, 1), none)["groups"]["drop"]["spent"]
    )
