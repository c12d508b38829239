"""train.quantization_aware: it keeps in int8 what fine-tuning and calibration lose, and imitates what is shipped."""

import copy
import dataclasses

import numpy as np
import pytest
import torch  # noqa: TID253 - its very subject
from pydantic import ValidationError

from titrant.runtime.operators.train.quantization_aware import QuantizationAwareParams
from titrant.schema.diagnostics.diagnostics import StepError

HARD = {"learning_rate": 0.005, "epochs": 5, "early_stop": False, "metric": "tuning accuracy"}


@pytest.fixture
def given(rows):
    def make(count, role):
        x = np.random.default_rng(count).normal(size=(count, 8)).astype(np.float32)
        return rows(x=x, role=role, labels=(x[:, 0] * x[:, 1] > 0) + 2 * (x[:, 2] + x[:, 3] > 0))

    roles = {"train": 1500, "tuning": 400, "calibration": 200, "evaluation": 1000}
    return {role: make(count, role) for role, count in roles.items()}


def some(given, *roles):
    return {role: given[role] for role in roles}


@pytest.fixture
def coarse(torch_model, given, apply):
    """A network whose channels lie 300 to 1 apart, undone by the next layer: its weights round coarsely by rows."""
    model = torch_model("Stack", 8, widths=[8, 32, 32, 4])
    params = {"learning_rate": 0.01, "epochs": 12, "early_stop": False}
    fitted = apply("train.fit", {"model": model, **some(given, "train", "tuning")}, params).outputs["model"]
    layers = fitted.module.layers
    with torch.no_grad():
        for place in (0, 2):
            layers[place].weight[0] /= 300
            layers[place].bias[0] /= 300
            layers[place + 2].weight[:, 0] *= 300
    return fitted


def test_keeps_in_int8_what_the_same_training_without_rounding_loses(coarse, given, apply, answers):
    def copied():
        return dataclasses.replace(coarse, module=copy.deepcopy(coarse.module))

    def right(model):
        rows = given["evaluation"]
        return float((answers(model, rows.inputs["x"]).argmax(1) == rows.labels).mean())

    def int8(model):
        file = apply("export.onnx", {"model": model, "example": given["tuning"]}).outputs["model"]
        inputs = {"model": file, "calibration": given["calibration"]}
        return apply("quantize.ort_static", inputs, {"reduce_range": False}).outputs["model"]

    rounded = apply(
        "train.quantization_aware", {"model": copied(), **some(given, "train", "tuning", "calibration")}, HARD
    )
    plain = apply("train.fit", {"model": copied(), **some(given, "train", "tuning")}, HARD).outputs["model"]
    figures = [right(coarse), right(int8(coarse)), right(int8(plain)), right(int8(rounded.outputs["model"]))]
    print(figures)
    whole, calibrated, fine_tuned, aware = figures
    assert max(calibrated, fine_tuned) < whole - 0.08
    assert aware > whole - 0.04
    assert rounded.measurements["rounded_layers"] == 3
    assert rounded.measurements["unrounded_layers"] == 0
    assert list(rounded.outputs["model"].module.state_dict()) == list(coarse.module.state_dict())
    # What was judged in training is what the file answers.
    tuning = given["tuning"]
    shipped = (answers(int8(rounded.outputs["model"]), tuning.inputs["x"]).argmax(1) == tuning.labels).mean()
    assert shipped == pytest.approx(rounded.measurements["tuning_accuracy"], abs=0.02)


def test_needs_calibration_rows_and_one_process(torch_model, given, apply):
    none = dataclasses.replace(
        given["calibration"], inputs={"x": np.zeros((0, 8), np.float32)}, ids=np.zeros(0, np.uint64)
    )
    model = torch_model("Stack", 8, widths=[8, 4])
    with pytest.raises(StepError, match="X404: the role calibration has no rows"):
        apply("train.quantization_aware", {"model": model, **some(given, "train", "tuning"), "calibration": none})
    with pytest.raises(ValidationError, match="found in one process"):
        QuantizationAwareParams(processes=2)
