"""profile.latency: models timed side by side."""

import dataclasses

import pytest

from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.values.canonical import canonical_json


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


class UpTo:
    """Make a copy of a model whose module refuses batches beyond a size."""

    def __init__(self, size):
        self.size = size

    def __call__(self, model):
        from torch import nn

        inner, size = model.module, self.size

        class Bounded(nn.Module):
            def forward(self, x):
                return inner(x) if len(x) <= size else inner(x[:, :0])

        return dataclasses.replace(model, module=Bounded().eval())


@pytest.mark.parametrize("size", [0, 1])
def test_leaves_out_a_candidate_that_fails_and_times_the_others(models, apply, size):
    given = models["models"] | {"broken": UpTo(size)(models["models"]["original"])}
    params = {"engines": ENGINES | {"broken": "torch"}, "batches": [1, 8], "iterations": 2}
    done = apply("profile.latency", models | {"models": given}, params)
    timings = done.outputs["timings"]
    assert list(timings["broken"]) == ["failed"]
    assert timings["broken"]["failed"]
    assert len(timings["original"]["8"]["samples"]) == len(timings["plain"]["8"]["samples"]) == 2
    assert "broken.latency_p50" not in done.measurements


def test_leaves_out_a_candidate_that_does_not_load(models, apply, tmp_path):
    from titrant.runtime.values import OnnxModel

    (tmp_path / "no.onnx").write_bytes(b"no model")
    given = models["models"] | {"broken": OnnxModel(tmp_path / "no.onnx")}
    params = {"engines": ENGINES | {"broken": "onnxruntime"}, "batches": [1], "iterations": 2}
    timings = apply("profile.latency", models | {"models": given}, params).outputs["timings"]
    assert "cannot load no.onnx" in timings["broken"]["failed"]
    assert "1" in timings["plain"]


@pytest.mark.parametrize(
    ("said", "lasting"),
    [
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes", False),
        ("std::bad_alloc", False),
        ("mat1 and mat2 shapes cannot be multiplied (1x36 and 8x2)", True),
    ],
)
def test_says_what_another_run_may_not_reuse(models, tmp_path, said, lasting):
    """A model that fails would fail again; a machine that was short of memory may have it the next time."""
    from torch import nn

    from titrant.runtime import catalog
    from titrant.runtime.api import PlainContext

    class Failing(nn.Module):
        def forward(self, x):
            raise RuntimeError(said)

    broken = dataclasses.replace(models["models"]["original"], module=Failing().eval())
    found, context = catalog.get("profile.latency"), PlainContext(1, 1, tmp_path)
    params = found.params(engines=ENGINES | {"broken": "torch"}, batches=(1,), iterations=1, threads=1)
    made = found.run(params, context, models=models["models"] | {"broken": broken}, rows=models["rows"])
    failed = made["timings"]["broken"]["failed"]
    assert "RuntimeError (test_latency.py:" in failed
    assert said not in failed  # what a model's own code says may hold rows
    assert [reason.startswith("broken failed") for reason in context.not_reused] == [True] * (not lasting)


def test_fails_with_the_original(models, apply):
    given = models["models"] | {"original": UpTo(0)(models["models"]["original"])}
    with pytest.raises(StepError):
        apply("profile.latency", models | {"models": given}, {"engines": ENGINES, "batches": [1], "iterations": 2})


def test_does_not_know_the_memory_of_more_threads(models, apply):
    params = {"engines": ENGINES, "batches": [1], "iterations": 2, "threads": 2}
    timings = apply("profile.latency", models, params).outputs["timings"]
    assert {figures["peak_bytes"] for figures in timings.values()} == {None}


def test_measures_memory_after_work_on_more_threads(models, apply):
    import torch

    torch.set_num_threads(2)
    try:
        torch.ones(600, 600) @ torch.ones(600, 600)  # the pool is there now, and a forked child has lost it
        given = {"models": {"original": models["models"]["original"]}, "rows": models["rows"]}
        timings = apply("profile.latency", given, {"engines": ENGINES, "batches": [8], "iterations": 2})
    finally:
        torch.set_num_threads(1)
    assert timings.outputs["timings"]["original"]["peak_bytes"] is not None


def test_lets_garbage_be_collected_again_afterwards(models, apply):
    import gc

    apply("profile.latency", models, {"engines": ENGINES, "batches": [1], "iterations": 1})
    assert gc.isenabled()
