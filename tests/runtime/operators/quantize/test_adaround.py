"""quantize.ort_nbits with rounding: adaround: answers nearer to fp32 than those of the nearest numbers."""

import numpy as np
import onnx  # noqa: TID253 - graphs are read and written here
import pytest
from onnx import numpy_helper  # noqa: TID253 - graphs are read and written here

from titrant.runtime.backends.onnxruntime.titration import adaround as trained
from titrant.schema.diagnostics.diagnostics import PreconditionError, RecipeError

ADAROUND = {"rounding": "adaround", "accuracy_level": 1}


@pytest.fixture
def exported(torch_model, rows, apply):
    """Export a model of operator_nets to ONNX."""

    def make(name, *shape, **args):
        inputs = {"model": torch_model(name, *shape, **args), "example": rows(*shape)}
        return apply("export.onnx", inputs).outputs["model"]

    return make


@pytest.fixture
def correlated(rows):
    """Make rows whose columns hang together, as those of real data do: (count, 64)."""
    random = np.random.default_rng(8)
    mixed = random.normal(size=(300, 6)) @ random.normal(size=(6, 64)) + 0.1 * random.normal(size=(300, 64))
    return rows(x=mixed.astype(np.float32))


def lost(plain, made, x, answers):
    return np.square(answers(made, x) - answers(plain, x)).mean()


def test_loses_less_of_the_answers_than_the_nearest_numbers(exported, correlated, apply, answers, monkeypatch):
    monkeypatch.setattr(trained, "_STEPS", 200)
    plain = exported("Stack", 64, widths=[64, 64, 4])
    inputs, x = {"model": plain, "calibration": correlated}, correlated.inputs["x"]
    nearest = apply("quantize.ort_nbits", {"model": plain}, {"accuracy_level": 1})
    made = apply("quantize.ort_nbits", inputs, ADAROUND)
    assert made.measurements["quantized_nodes"] == nearest.measurements["quantized_nodes"]
    assert 0 < made.measurements["rounding_error"] < 0.6
    of_nearest = lost(plain, nearest.outputs["model"], x, answers)
    assert lost(plain, made.outputs["model"], x, answers) < 0.6 * of_nearest
    assert made.outputs["model"].path.stat().st_size == nearest.outputs["model"].path.stat().st_size


def test_gives_the_same_file_twice_and_another_with_another_seed(exported, correlated, apply, monkeypatch):
    monkeypatch.setattr(trained, "_STEPS", 20)
    inputs = {"model": exported("Stack", 64, widths=[64, 64, 4]), "calibration": correlated}
    params = {**ADAROUND, "symmetric": True}
    first, again, other = (
        apply("quantize.ort_nbits", inputs, params, seed=seed).outputs["model"].path.read_bytes() for seed in (1, 1, 2)
    )
    assert first == again != other


def test_rounds_a_weight_that_two_layers_read_once_and_tokens_like_rows(exported, rows, apply, answers, monkeypatch):
    monkeypatch.setattr(trained, "_STEPS", 20)
    plain = exported("SharedSquare", 256)
    made = apply("quantize.ort_nbits", {"model": plain, "calibration": rows(256)}, ADAROUND)
    assert made.measurements["quantized_nodes"] == 3
    x = rows(256).inputs["x"]
    assert np.abs(answers(made.outputs["model"], x) - answers(plain, x)).max() < 0.3


def test_keeps_the_nearest_numbers_where_training_does_not_help(exported, correlated, apply, monkeypatch):
    monkeypatch.setattr(trained, "_STEPS", 0)
    plain = exported("Stack", 64, widths=[64, 128, 4])
    nearest = apply("quantize.ort_nbits", {"model": plain}, {"accuracy_level": 1}).outputs["model"]
    made = apply("quantize.ort_nbits", {"model": plain, "calibration": correlated}, ADAROUND)
    assert made.measurements["rounding_error"] == 1
    assert made.outputs["model"].path.read_bytes() == nearest.path.read_bytes()


def test_counts_a_weight_that_is_rounded_without_error_as_left_as_it_was(exported, correlated, apply, monkeypatch):
    monkeypatch.setattr(trained, "_STEPS", 20)
    plain = exported("Stack", 64, widths=[64, 4])
    graph = onnx.load(plain.path)
    for tensor in graph.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(np.zeros(tensor.dims, np.float32), tensor.name))
    onnx.save(graph, plain.path)
    made = apply("quantize.ort_nbits", {"model": plain, "calibration": correlated}, ADAROUND)
    assert made.measurements["rounding_error"] == 1


def test_refuses_to_train_without_rows(exported, rows, apply):
    plain = exported("Stack", 64, widths=[64, 4])
    with pytest.raises(PreconditionError, match=r"X217.*adaround is trained on calibration rows"):
        apply("quantize.ort_nbits", {"model": plain}, ADAROUND)
    with pytest.raises(PreconditionError, match="X217: 0 calibration rows"):
        apply("quantize.ort_nbits", {"model": plain, "calibration": rows(64, count=0)}, ADAROUND)


@pytest.mark.parametrize("other", [{"bits": 8}, {"algorithm": "hqq"}])
def test_refuses_what_it_does_not_round(other, exported, correlated, apply):
    inputs = {"model": exported("Stack", 64, widths=[64, 4]), "calibration": correlated}
    with pytest.raises(RecipeError, match=r"X231.*weights of 4 bits on the scales of algorithm: rtn"):
        apply("quantize.ort_nbits", inputs, {**ADAROUND, **other})
