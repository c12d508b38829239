"""Operators on what a user holds in memory: a module, the path of a file, arrays."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import titrant
from titrant.api.live.values import live_model, live_rows
from titrant.schema.diagnostics.diagnostics import InfeasibleError, RecipeError

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


def test_takes_a_live_module_from_export_to_quantization_and_leaves_no_folder(monkeypatch):
    ended = []
    at_end = SimpleNamespace(register=lambda *call: ended.append(call))
    monkeypatch.setattr("titrant.runtime.api.atexit", at_end)
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
    folders = [folder for _, folder, _ in ended]
    assert len(folders) == 4
    assert path.is_file()
    assert folders[0] in path.parents
    for remove, *arguments in ended:
        remove(*arguments)
    assert not any(folder.exists() for folder in folders)


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


def test_judges_each_epoch_on_the_same_rows_where_a_forward_writes_into_them():
    class Writing(Net):
        def forward(self, x):
            return super().forward(x.mul_(2))

    rows = ({"x": X}, (X[:, 0] > 0).long())
    given = {"model": Writing().eval(), "train": rows, "tuning": rows}
    fitted = titrant.apply("train.fit", given, {"epochs": 3, "learning_rate": 1e-30, "weight_decay": 0.0})
    assert len({*fitted.outputs["curves"]["tuning_loss"]}) == 1


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


def test_takes_a_model_alone_and_says_what_converted_it():
    net = Net()
    done = titrant.apply("quantize.ort_static", net, rows={"x": X})
    assert done.measurements["quantized_nodes"] == 2
    assert done.converted == {"model": ("export.onnx",)}
    executed = titrant.apply("validate.executed", done.outputs["model"].path, {"engine": "onnxruntime"})
    assert executed.converted == {"model": ("model.load_onnx",)}
    assert net.training


@pytest.mark.parametrize(("kind", "ways"), [
    ("onnx", ("model.load_onnx",)),
    ("program", ("model.load_exported", "export.onnx")),
    ("script", ("model.load_torchscript", "export.onnx")),
])  # fmt: skip
def test_takes_a_graph_that_is_held_in_memory(kind, ways):
    net = Net().eval()
    if kind == "onnx":
        onnx = pytest.importorskip("onnx")
        graph = onnx.load(titrant.apply("export.onnx", net, rows={"x": X}).outputs["model"].path)
    elif kind == "program":
        graph = torch.export.export(net, (torch.zeros(3, 4),), dynamic_shapes={"x": {0: torch.export.Dim.AUTO}})
    else:
        graph = torch.jit.trace(net, torch.zeros(3, 4))
    done = titrant.apply("quantize.ort_dynamic", graph, rows={"x": X})
    assert done.converted == {"model": ways}
    assert done.measurements["quantized_nodes"] == 2


def test_takes_an_openvino_file():
    pytest.importorskip("openvino")
    made = titrant.apply("export.openvino", Net().eval(), rows={"x": X}).outputs["model"]
    answers = titrant.apply("validate.predict", made.path, {"engine": "openvino"}, rows={"x": X}).outputs["outputs"]
    assert answers.arrays["output"].shape == (64, 2)


def test_converts_a_model_to_what_the_engine_runs():
    asked = {"engines": {"live": "torch", "file": "onnxruntime"}, "batches": [1], "iterations": 3}
    net = Net().eval()
    timed = titrant.apply("profile.latency", {"models": {"live": net, "file": net}}, asked, rows={"x": X})
    assert timed.converted == {"models": ("export.onnx",)}


def test_keeps_what_an_operator_would_consume():
    net = Net().eval()
    before = net.first.weight.clone()
    rows = ({"x": X}, (X[:, 0] > 0).long())
    fitted = titrant.apply("train.fit", {"model": net, "train": rows, "tuning": rows}, {"epochs": 1})
    assert fitted.outputs["model"].module is not net
    assert torch.equal(net.first.weight, before)


def stream():
    yield X


@pytest.mark.parametrize(("model", "rows", "words"), [
    (Net(), stream(), r"the rows are a generator, .*all rows at once: \{\"x\": np\.concatenate"),
    (Net(), {"x": stream()}, "x is a generator, and no array of numbers"),
    (Net(), {"x": [[1.0], [2.0, 3.0]]}, "x: a list is no array of numbers"),
    (Net(), {"x": X.numpy().astype(complex)}, "x is complex128"),
    (Net(), {"x": ["a"]}, "x is an array of <U1"),
    (Net(), {"x": np.ma.masked_greater(X.numpy(), 0)}, "x: 128 of 256 values are masked .fill them"),
    (torch.nn.Linear, {"x": X}, "is of type type .give a module"),
    (b"bytes", {"x": X}, "is of type bytes .give a module"),
    (None, {"x": X}, "model is missing"),
])  # fmt: skip
def test_says_what_it_takes_in_place_of_what_it_was_given(model, rows, words):
    with pytest.raises(RecipeError, match=f"X232: .*{words}"):
        titrant.apply("quantize.ort_static", model, rows=rows)


def test_takes_read_only_and_strided_arrays_and_tensors_of_any_float_type():
    read_only = X.numpy().copy()
    read_only.flags.writeable = False
    answers = [
        titrant.apply("validate.predict", torch.nn.Linear(4, 2).eval(), {"engine": "torch"}, rows={"input": rows})
        for rows in (read_only, X.T.contiguous().T, X.bfloat16().requires_grad_())
    ]
    assert {answer.outputs["outputs"].arrays["output"].shape for answer in answers} == {(64, 2)}


def test_names_the_operator_the_engine_and_the_port_that_were_meant():
    net = Net().eval()
    with pytest.raises(RecipeError, match=r"X230: .*did you mean quantize.ort_static"):
        titrant.apply("quantize.ort_statik", net)
    with pytest.raises(RecipeError, match=r"X231: .*no engine onnxruntim .did you mean onnxruntime"):
        titrant.apply("validate.predict", net, {"engine": "onnxruntim"}, rows={"x": X})
    with pytest.raises(RecipeError, match=r"X232: .*train or tuning, which are not the same rows"):
        titrant.apply("train.fit", net, rows=({"x": X}, torch.zeros(64).long()))
    with pytest.raises(RecipeError, match=r"X232: .*takes no rows"):
        titrant.apply("quantize.allocate", {"sensitivity": {}, "prices": {}}, rows={"x": X})
    made = titrant.apply("export.onnx", net, rows={"x": X}).outputs["model"]
    with pytest.raises(RecipeError, match=r"X232: .*takes a torch module, and is an ONNX file .nothing makes"):
        titrant.apply("prune.magnitude", made)


def test_refuses_what_an_operator_lacks_before_anything_is_converted(tmp_path):
    flat = torch.nn.Sequential(torch.nn.ReLU()).eval()
    with pytest.raises(InfeasibleError, match=r"X373: .*no convolution and no matrix product") as refused:
        titrant.apply("quantize.ort_static", flat, rows={"input": X}, scratch=tmp_path)
    assert refused.value.exit_code == 3
    assert not [*tmp_path.iterdir()]
