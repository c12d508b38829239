"""Operators on what a user holds in memory: a module, the path of a file, arrays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import titrant
from titrant.api.apply import live_model, live_rows
from titrant.schema.diagnostics.diagnostics import RecipeError

torch = pytest.importorskip("torch")


class Net(torch.nn.Module):
    """Two layers, with dropout between them, that answer by name where they are asked to."""

    def __init__(self, form: str = "tensor") -> None:
        super().__init__()
        self.first, self.dropout, self.last = torch.nn.Linear(4, 8), torch.nn.Dropout(), torch.nn.Linear(8, 2)
        self.form = form

    def forward(self, x: torch.Tensor) -> object:
        answer = self.last(self.dropout(torch.relu(self.first(x))))
        return {"tensor": answer, "tuple": (answer, answer), "mapping": {"scores": answer}}[self.form]


X = torch.linspace(-1, 1, 256).reshape(64, 4)


def test_takes_a_live_module_from_export_to_quantization():
    net = Net()
    exported = titrant.apply("export.onnx", {"model": net, "example": {"x": X}}).outputs
    assert exported["parity"]["relative"] < 1e-5
    path = exported["model"].path
    quantized = titrant.apply("quantize.ort_static", {"model": path, "calibration": {"x": X}})
    assert quantized.measurements["quantized_nodes"] == 2
    outputs = [
        titrant.apply("validate.predict", {"model": model, "rows": {"x": X.numpy()}}, {"engine": engine}).outputs
        for model, engine in ((net, "torch"), (quantized.outputs["model"], "onnxruntime"))
    ]
    before, after = (found["outputs"].arrays["output"] for found in outputs)
    assert before.shape == after.shape == (64, 2)
    assert np.abs(before - after).max() < 0.1
    assert net.training  # a module in training mode is copied


def test_says_how_rows_are_handed_over_to_an_operator_that_takes_them():
    net = torch.nn.Sequential(torch.nn.Linear(4, 2)).eval()
    with pytest.raises(RecipeError, match=r'\{"model": module, "example": \{"x": array\}\}'):
        titrant.apply("export.onnx", {"model": net})
    with pytest.raises(RecipeError, match=r'X232: export\.onnx: example is a Tensor.*\{"example": \{"x": array\}\}'):
        titrant.apply("export.onnx", {"model": net, "example": X})
    with pytest.raises(RecipeError, match=r"X232: export\.onnx: model is missing"):
        titrant.apply("export.onnx", {"model": None, "example": {"x": X}})


def test_takes_a_module_with_inputs_beside_it_where_the_operator_takes_no_rows():
    fused = titrant.apply("model.fuse", {"model": (torch.nn.Sequential(torch.nn.Linear(4, 2)).eval(), {"x": X})})
    assert isinstance(fused.outputs["model"].module[0], torch.nn.Linear)
    with pytest.raises(RecipeError, match=r"X232: model\.fuse: nothing shows what the module of model takes"):
        titrant.apply("model.fuse", {"model": Net()})


def test_fits_a_live_module_to_labels():
    labels = (X[:, 0] > 0).long()
    net = Net().eval()
    fitted = titrant.apply("train.fit", {"model": net, "train": ({"x": X}, labels), "tuning": ({"x": X}, labels)},
                           {"epochs": 40, "learning_rate": 0.05})  # fmt: skip
    assert fitted.measurements["tuning_accuracy"] > 0.9


@pytest.mark.parametrize(
    ("form", "names"), [("tensor", ("output",)), ("tuple", ("output_0", "output_1")), ("mapping", ("scores",))]
)
def test_names_outputs_as_inspection_does(form, names):
    assert live_model(Net(form), {"x": X.numpy()}).outputs == names


@given(st.sampled_from([np.float64, np.float16, np.int32, np.uint8, np.bool_]), st.integers(1, 5), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_gives_inputs_the_types_that_models_take_and_keeps_their_numbers(dtype, rows, width):
    given_array = np.arange(rows * max(width, 1)).reshape((rows, width) if width else (rows,)).astype(dtype)
    (array,) = live_rows("rows", {"x": given_array}).inputs.values()
    assert array.dtype == (np.float32 if np.dtype(dtype).kind == "f" else np.int64)
    np.testing.assert_array_equal(array, given_array.astype(array.dtype))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({}, "other numbers of rows: none"),
        ({"x": np.zeros((3, 1)), "y": np.zeros((2, 1))}, "x 3, y 2"),
        (({"x": np.zeros((3, 1))}, np.zeros(2, int)), "2 labels of int64 for 3 rows"),
        (({"x": np.zeros((3, 1))}, np.array(["a", "b", "c"])), "3 labels of <U1"),
    ],
)
def test_refuses_arrays_and_labels_that_do_not_go_together(value, words):
    with pytest.raises(RecipeError, match=words):
        live_rows("rows", value)
