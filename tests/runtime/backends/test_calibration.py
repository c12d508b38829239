"""Ranges of activations: bounded memory, least errors, infinite and constant values."""

from types import SimpleNamespace

import numpy as np
import onnx  # noqa: TID253 - its very subject
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253

from titrant.runtime.backends.onnxruntime.calibration import Histograms, least_error
from titrant.runtime.values import OnnxModel, Rows

SETTINGS = SimpleNamespace(
    method="percentile", symmetric=False, num_bins=64, num_quantized_bins=16, percentile=99.0, scenario="same"
)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.sampled_from([0.0, 1e-12, 1e-3, 1.0, 7.0, 1e9]), min_size=1, max_size=6),
    seed=st.integers(0, 99),
    infinite=st.booleans(),
)
def test_counts_every_finite_value_in_no_more_bins_than_at_first(sizes, seed, infinite):
    generator = np.random.default_rng(seed)
    batches = [(generator.normal(size=(3, 5)) * size).astype(np.float32) for size in sizes]
    histograms = Histograms(SETTINGS, smallest_error=False)
    for batch in batches:
        histograms.collect({"a": [batch]})
    if infinite:
        histograms.collect({"a": [np.array([[-np.inf, 0, np.inf]], np.float32)]})
    counts, edges, low, high, threshold = histograms.histogram_dict["a"]
    values = np.concatenate([np.ravel(batch) for batch in batches])
    assert len(counts) == 64
    assert counts.sum() == values.size + infinite
    assert low == min(values.min(), 0 if infinite else np.inf)
    assert threshold >= np.abs(values).max()
    assert edges[-1] == pytest.approx(threshold or 0.5)  # numpy's own range where all are zero
    found = histograms.compute_collection_result()["a"]
    assert np.isfinite(found[:2]).all() != infinite
    if not infinite:
        assert low <= found[0] <= found[1] <= high


@settings(max_examples=30, deadline=None)
@given(
    spread=st.sampled_from(["normal", "relu", "heavy", "one outlier", "constant", "zero"]),
    shift=st.sampled_from([0.0, 3.0, -3.0]),
    seed=st.integers(0, 400),
)
def test_the_range_of_least_error_is_no_worse_than_the_whole_by_real_rounding(spread, shift, seed):
    generator = np.random.default_rng(seed)
    values = generator.normal(size=4000)
    if spread == "relu":
        values = np.maximum(values, 0)
    elif spread == "heavy":
        values = generator.standard_t(2, size=4000)
    elif spread == "one outlier":
        values[7] = 1000
    elif spread in ("constant", "zero"):
        values[:] = spread == "constant"
    values = values + (0 if spread == "zero" else shift)
    threshold = np.abs(values).max()
    counts, edges = np.histogram(values, 2048, range=(-threshold, threshold))
    low, high = least_error(counts, edges, values.min(), values.max())

    def lost(low, high):
        low, high = min(low, 0.0), max(high, 0.0)
        step = (high - low) / 255 or 1.0
        return np.mean(
            (np.clip(np.round(values / step), np.round(low / step), np.round(high / step)) * step - values) ** 2
        )

    # Many equal values may fall on a step by luck: what the whole range loses is then a twelfth of its squared step.
    step = (max(values.max(), 0) - min(values.min(), 0)) / 255
    whole = max(lost(values.min(), values.max()), step**2 / 12)
    assert low <= 0 <= high
    assert lost(float(low), float(high)) <= 1.05 * whole + 1e-12


def test_the_range_of_least_error_clips_outliers():
    values = np.concatenate([np.random.default_rng(0).normal(size=1_000_000), [40.0]])
    counts, edges = np.histogram(values, 2048, range=(-40, 40))
    low, high = least_error(counts, edges, values.min(), values.max())
    assert 3 < high < 20
    assert low < -1


def masked(*, fill=-np.inf, zero=False):
    """Write a product, a mask that is added, a softmax, and a product by weights that may be all zero or constant."""
    generator = np.random.default_rng(0)
    first = generator.normal(size=(8, 6)).astype(np.float32)
    second = generator.normal(size=(6, 6)).astype(np.float32)
    if zero:
        first[:, 1], second[:] = 0, 0
    mask = np.zeros((6,), np.float32)
    mask[4:] = fill
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"], "one"),
        helper.make_node("Add", ["a", "mask"], ["b"], "masking"),
        helper.make_node("Reshape", ["b", "shape"], ["c"], "moving"),
        helper.make_node("Softmax", ["c"], ["d"], "softmax", axis=-1),
        helper.make_node("MatMul", ["d", "second"], ["e"], "two"),
        helper.make_node("Relu", ["e"], ["y"], "relu"),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 6])],
        [numpy_helper.from_array(array, name) for name, array in (
            ("first", first), ("second", second), ("mask", mask), ("shape", np.array([-1, 6])))],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("calibration", ["minmax", "percentile", "entropy", "mse"])
@pytest.mark.parametrize("case", ["infinite mask", "zero weights", "constant rows", "one row repeated"])
def test_answers_stay_finite_and_near(calibration, case, apply, answers, tmp_path):
    file = tmp_path / "masked.onnx"
    onnx.save(masked(fill=-np.inf if case == "infinite mask" else -9.0, zero=case == "zero weights"), file)
    x = np.random.default_rng(1).normal(size=(64, 8)).astype(np.float32)
    if case == "constant rows":
        x[:] = 0.0
    elif case == "one row repeated":
        x[:] = x[0]
    places = np.arange(64)
    rows = Rows("calibration", {"x": x}, None, places, places.astype(np.uint64))
    plain = OnnxModel(file)
    done = apply("quantize.ort_static", {"model": plain, "calibration": rows}, {"calibration": calibration})
    before, after = answers(plain, x), answers(done.outputs["model"], x)
    assert np.isfinite(after).all()
    assert np.abs(after - before).max() <= 0.1 * max(np.abs(before).max(), 1)
