"""validate.predict: a file's answers in its engine."""

from dataclasses import replace

import numpy as np
import pytest

from titrant.schema.diagnostics.diagnostics import StepError


@pytest.fixture
def exported(torch_model, rows, apply):
    model = torch_model("TinyNet", 1, 6, 6)
    return model, apply("export.onnx", {"model": model, "example": rows(1, 6, 6)}).outputs["model"]


@pytest.mark.parametrize("batch", [1, 7, 40, 64])
def test_keeps_the_order_of_the_rows_whatever_the_batch(exported, rows, apply, answers, batch):
    model, file = exported
    given = rows(1, 6, 6)
    expected = answers(model, given.inputs["x"])
    for engine, value in (("torch", model), ("onnxruntime", file)):
        done = apply("validate.predict", {"model": value, "rows": given}, {"engine": engine, "batch": batch})
        found = done.outputs["outputs"].arrays["logits"]
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_names_the_output_and_counts_the_rows_that_are_not_numbers(exported, rows, apply):
    given = rows(1, 6, 6)
    given.inputs["x"][3:5] = np.nan
    with pytest.raises(StepError, match="'logits' is NaN or infinite for 2 of 40 rows"):
        apply("validate.predict", {"model": exported[0], "rows": given}, {"engine": "torch"})


def test_names_the_input_that_the_rows_lack(exported, rows, apply):
    given = replace(rows(1, 6, 6), inputs={"picture": rows(1, 6, 6).inputs["x"]})
    with pytest.raises(StepError, match="takes the input 'x', and the data has: picture"):
        apply("validate.predict", {"model": exported[0], "rows": given}, {"engine": "torch"})


def test_refuses_a_role_without_rows(exported, rows, apply):
    with pytest.raises(StepError, match="no rows to answer"):
        apply("validate.predict", {"model": exported[0], "rows": rows(1, 6, 6, count=0)}, {"engine": "torch"})
