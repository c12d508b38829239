"""validate.contract: one candidate against every gate."""

import numpy as np
import pytest

from titrant.runtime.values import OnnxModel, Outputs
from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.gate import Gate, criteria
from titrant.schema.values.canonical import canonical_json

HALF = {"kind": "threshold", "threshold": 0.5, "source": "asked for"}
LABELS = np.array([1] * 63 + [0] * 108)


def gate(name, test, metric, comparison, threshold, **more):
    where, origin = more.pop("slice", "all"), more.pop("origin", "x.yaml:3:1")
    return Gate(name, "gates", metric, where, comparison, threshold, test, origin, **more)


@pytest.fixture
def judged(rows, apply, tmp_path):
    """Judge a candidate of which some decisions are turned round."""

    def judge(gates, *turned, require="evidence", **inputs):
        decisions = LABELS.copy()
        decisions[list(turned)] = 1 - decisions[list(turned)]
        old, new = (Outputs("evaluation", {"y": (4.0 * one - 2.0).astype(np.float32)}) for one in (LABELS, decisions))
        path = tmp_path / "model.onnx"
        path.write_bytes(b"x" * 1000)
        given = {"rows": rows(count=171, labels=LABELS), "original": old, "candidate": new, "point": HALF}
        params = {
            "task": "binary_classification", "candidate": "static", "require": require,
            "gates": [criteria(one) for one in gates],
        }  # fmt: skip
        return apply("validate.contract", {**given, "model": OnnxModel(path), **inputs}, params).outputs

    return judge


RETENTION = gate("retention", "score_ratio", "accuracy", "retention", 0.97)
KEPT = gate("safety.kept", "exact_binomial", "kept", "at_least", 0.99, slice="class b")
SIZE = gate("size", "counted", "size", "at_most", 1000.0, unit="B")
LATENCY = gate("latency.p95", "order_statistic", "latency_p95", "at_most", 0.01, unit="s")


def test_releases_and_proves_what_passes_every_gate(judged):
    judgement = judged([RETENTION, SIZE])["judgement"]
    assert (judgement["candidate"], judgement["verdict"]) == ("static", "PASS")
    assert judgement["released"]
    assert judgement["proven"]
    assert [result["gate"] for result in judgement["results"]] == ["retention", "size"]
    canonical_json(judgement)


def test_weighs_a_live_module_by_the_file_that_is_kept_of_it(judged, tmp_path):
    from titrant.runtime.backends.torch.module import save_torch
    from titrant.runtime.operators.model.load import ModelLoadParams, load_torch

    params = ModelLoadParams(factory="titrant.recipes.models:TabularNet", args={"features": 4, "classes": 2})
    model, _ = load_torch(params, seed=0)
    save_torch(model, tmp_path)
    (result,) = judged([SIZE], model=model)["judgement"]["results"]
    assert result["estimate"] == (tmp_path / "model.safetensors").stat().st_size


def test_lets_a_good_estimate_through_unless_proof_is_required(judged):
    for require, released in (("evidence", True), ("proof", False)):
        judgement = judged([RETENTION, KEPT], require=require)["judgement"]
        assert (judgement["verdict"], judgement["released"], judgement["proven"]) == ("INCONCLUSIVE", released, False)
        assert judgement["results"][1]["needed_cases"] == 299


def test_lets_through_what_is_not_assessable_only_if_the_level_asks_for_it(judged):
    for origin, released in (("level balanced", True), ("x.yaml:3:1", False)):
        row = gate("kept", "not_assessable", "kept", "at_least", 0.99, assumption="no positive", origin=origin)
        assert judged([RETENTION, row])["judgement"]["released"] is released


def test_releases_nothing_that_fails_a_gate(judged):
    judgement = judged([RETENTION, SIZE], *range(40))["judgement"]
    assert (judgement["verdict"], judgement["released"]) == ("FAIL", False)


def test_reads_the_candidates_own_timing(judged):
    fast, slow = ([seconds] * 60 for seconds in (0.001, 0.1))
    timings = {
        name: {"1": {"p50": runs[0], "p95": runs[0], "p99": runs[0], "samples": runs, "throughput": 1 / runs[0]}}
        for name, runs in (("original", slow), ("static", fast))
    }
    result = judged([LATENCY], timings=timings)["judgement"]["results"][0]
    assert (result["verdict"], result["candidate"], result["original"]) == ("PASS", 0.001, 0.1)
    assert judged([LATENCY])["judgement"]["released"] is False


def test_counts_the_decisions_of_both_models_by_class(judged):
    answers = judged([RETENTION], 0, 1, 170)["answers"]
    assert answers["cases"] == 171
    assert answers["lost"] == [1, 2]


def test_refuses_a_slice_that_it_cannot_read(judged):
    with pytest.raises(RecipeError, match="`everything` is not `all`"):
        judged([gate("g", "score_ratio", "accuracy", "retention", 0.9, slice="everything")])
