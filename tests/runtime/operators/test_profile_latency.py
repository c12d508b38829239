"""profile.latency: models timed side by side."""

import pytest

from titrant.schema.canonical import canonical_json
from titrant.schema.diagnostics import StepError


@pytest.fixture
def models(torch_model, rows, apply):
    model = torch_model("TinyNet", 1, 6, 6)
    file = apply("export.onnx", {"model": model, "example": rows(1, 6, 6)}).outputs["model"]
    return {"models": {"original": model, "plain": file}, "rows": rows(1, 6, 6, count=5)}


ENGINES = {"original": "torch", "plain": "onnxruntime"}


def test_times_every_model_at_every_batch_even_beyond_the_rows(models, apply):
    params = {"engines": ENGINES, "batches": [1, 8], "iterations": 4}
    done = apply("profile.latency", models, params)
    timings = done.outputs["timings"]
    assert set(timings) == {"original", "plain"}
    for figures in timings.values():
        for batch in ("1", "8"):
            timing = figures[batch]
            assert len(timing["samples"]) == 4
            assert timing["samples"] == sorted(timing["samples"])
            assert 0 < timing["p50"] <= timing["p95"] <= timing["p99"] <= timing["samples"][-1]
            assert timing["throughput"] == pytest.approx(int(batch) / timing["p50"])
        assert figures["peak_bytes"] is None or figures["peak_bytes"] >= 0
    assert done.measurements["plain.latency_p50"] == timings["plain"]["1"]["p50"]
    canonical_json(timings)


def test_runs_often_enough_to_bound_the_95th_percentile(models, apply):
    timings = apply("profile.latency", models, {"engines": ENGINES, "batches": [1], "seconds": 1e-6}).outputs["timings"]
    assert {len(figures["1"]["samples"]) for figures in timings.values()} == {59}


def test_names_a_model_without_an_engine(models, apply):
    with pytest.raises(StepError, match="no engine is named for plain"):
        apply("profile.latency", models, {"engines": {"original": "torch"}})


def test_lets_garbage_be_collected_again_afterwards(models, apply):
    import gc

    apply("profile.latency", models, {"engines": ENGINES, "batches": [1], "iterations": 1})
    assert gc.isenabled()
