"""Both engines: the same small interface, and errors that say what to do."""

import warnings

import numpy as np
import pytest

from titrant.runtime.backends import backend
from titrant.runtime.backends.session import insisted_batch
from titrant.runtime.values import OnnxModel, TorchScriptModel
from titrant.schema.diagnostics.diagnostics import StepError


@pytest.fixture(params=["torch", "torchscript", "onnx"])
def session(request, torch_model, rows, apply):
    """A session of the same model in each kind of file."""
    value = torch_model("TinyNet", 1, 6, 6)
    if request.param != "torch":
        value = apply(f"export.{request.param}", {"model": value, "example": rows(1, 6, 6)}).outputs["model"]
    name = backend.engines_of(request.param)[0]
    with backend.get(name).open(value, threads=1) as opened:
        yield opened


def test_answers_by_name(session, rows):
    assert (session.input_names, session.output_names, session.fixed_batch) == (("x",), ("logits",), None)
    answer = session.run(rows(1, 6, 6, count=3).inputs)
    assert {name: (array.shape, array.dtype.name) for name, array in answer.items()} == {"logits": ((3, 2), "float32")}


def test_leaves_arrays_alone_that_the_model_does_not_take(session, rows):
    inputs = dict(rows(1, 6, 6, count=3).inputs)
    assert session.run(inputs | {"other": np.zeros(3)}).keys() == {"logits"}


def test_takes_read_only_arrays(session, rows):
    x = rows(1, 6, 6, count=3).inputs["x"]
    expected = session.run({"x": x})["logits"]
    x.flags.writeable = False
    np.testing.assert_array_equal(session.run({"x": x})["logits"], expected)


@pytest.mark.parametrize("kind", ["torch", "torchscript"])
def test_leaves_rows_as_they_are_where_the_forward_writes_into_them(kind, torch_model, rows, apply):
    value = torch_model("Writing", 1, 6, 6)
    given = rows(1, 6, 6, count=3)
    before = given.inputs["x"].copy()
    if kind == "torchscript":
        value = apply("export.torchscript", {"model": value, "example": given}).outputs["model"]
    with backend.get("torch").open(value, threads=1) as opened:
        call = opened.prepared(given.inputs)
        answers = [opened.run(given.inputs), call(), call(), opened.run(given.inputs)]
    assert len({answer["logits"].tobytes() for answer in answers}) == 1
    np.testing.assert_array_equal(given.inputs["x"], before)


def test_shares_the_rows_of_a_prepared_call_where_the_forward_only_reads(torch_model, rows):
    value = torch_model("TinyNet", 1, 6, 6)
    with backend.get("torch").open(value, threads=1) as opened:
        seen = []
        value.module.register_forward_pre_hook(lambda _, given: seen.append(given[0].data_ptr()))
        call = opened.prepared(rows(1, 6, 6, count=3).inputs)
        call()
        call()
    assert seen[1] == seen[2] != seen[0]


def test_names_both_shapes_of_a_misfit(session):
    with pytest.raises(StepError) as caught:
        session.run({"x": np.zeros((3, 1, 6, 7), np.float32)})
    assert caught.value.diagnostics[0].message == (
        "input x: the model takes (batch, 1, 6, 6) float32, and the rows have (3, 1, 6, 7) float32"
    )


def test_converts_no_dtype(session):
    with pytest.raises(StepError, match=r"X201.*float64 \(give the input as float32\)"):
        session.run({"x": np.zeros((3, 1, 6, 6))})


def test_names_an_input_that_is_not_there(session):
    with pytest.raises(StepError, match=r"X201: the model takes an input x, and the rows have y"):
        session.run({"y": np.zeros((3, 1, 6, 6), np.float32)})


def test_sets_the_threads_that_it_was_opened_with(torch_model, rows):
    import torch

    before = torch.get_num_threads()
    model = torch_model("TinyNet", 1, 6, 6)
    with backend.get("torch").open(model, threads=2) as two, backend.get("torch").open(model, threads=1) as one:
        two.run(rows(1, 6, 6).inputs)
        assert torch.get_num_threads() == 2
        one.run(rows(1, 6, 6).inputs)
        assert torch.get_num_threads() == 1
    torch.set_num_threads(before)


def test_gives_onnxruntime_sleeping_threads():
    from titrant.runtime.backends.onnxruntime.session import options as session_options

    options = session_options(3)
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.parametrize(("name", "kind"), [("onnxruntime", OnnxModel), ("torch", TorchScriptModel)])
@pytest.mark.parametrize("content", [b"not a model", None], ids=["damaged", "missing"])
def test_says_that_a_file_cannot_be_loaded(name, kind, content, tmp_path):
    path = tmp_path / "model.file"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StepError, match=f"X212: {name} cannot load model.file") as caught:
        backend.get(name).open(kind(path), threads=1)
    assert "\n" not in str(caught.value)


def test_refuses_torchscript_that_does_not_name_its_inputs(tmp_path):
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(tmp_path / "model.pt"))
    with pytest.raises(StepError, match=r"X212: model.pt does not say"):
        backend.get("torch").open(TorchScriptModel(tmp_path / "model.pt"), threads=1)


@pytest.mark.parametrize("device", ["cuda:99", "mps:3"])
def test_refuses_a_device_that_is_not_there(device, torch_model, rows, apply):
    model = torch_model("TinyNet", 1, 6, 6)
    exported = apply("export.onnx", {"model": model, "example": rows(1, 6, 6)}).outputs["model"]
    with pytest.raises(StepError, match=f"X220: torch sees no device {device}"):
        backend.get("torch").open(model, threads=1, device=device)
    if device.startswith("mps"):
        with pytest.raises(StepError, match=r"X220: this onnxruntime does not run on mps"):
            backend.get("onnxruntime").open(exported, threads=1, device=device)


def test_reads_the_batch_that_a_file_insists_on():
    assert insisted_batch((("x", ("batch", 3), "float32"),)) is None
    assert insisted_batch((("x", (4, 3), "float32"), ("y", ("batch",), "int64"))) == 4
