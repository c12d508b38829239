"""export.torchscript: one frozen file that answers as the module does, with the same bytes every time."""

import json
import warnings
import zipfile

import numpy as np
import pytest

from titrant.schema.diagnostics.diagnostics import PreconditionError, StepError


def test_answers_any_batch_as_the_module_does(torch_model, rows, apply, answers):
    model = torch_model("TinyNet", 1, 6, 6)
    done = apply("export.torchscript", {"model": model, "example": rows(1, 6, 6)})
    assert done.outputs["parity"]["relative"] < 1e-5
    for count in (1, 5):
        x = rows(1, 6, 6, count=count).inputs["x"]
        np.testing.assert_allclose(answers(done.outputs["model"], x), answers(model, x), atol=1e-5)


def test_gives_the_same_bytes_for_a_second_trace_in_the_process(torch_model, rows, apply):
    inputs = {"model": torch_model("TinyNet", 1, 6, 6), "example": rows(1, 6, 6)}
    first, second = (apply("export.torchscript", inputs).outputs["model"].path.read_bytes() for _ in range(2))
    assert first == second


def test_writes_operators_that_need_a_newer_archive(torch_model, rows, apply, answers):
    inputs = {"model": torch_model("Gelu", 5), "example": rows(5)}
    first, second = (apply("export.torchscript", inputs).outputs["model"] for _ in range(2))
    assert first.path.read_bytes() == second.path.read_bytes()
    x = rows(5, count=3).inputs["x"]
    np.testing.assert_allclose(answers(first, x), answers(inputs["model"], x), atol=1e-6)


def test_says_what_its_inputs_and_outputs_are(torch_model, rows, apply):
    exported = apply("export.torchscript", {"model": torch_model("TinyNet", 1, 6, 6), "example": rows(1, 6, 6)})
    with zipfile.ZipFile(exported.outputs["model"].path) as archive:
        said = json.loads(archive.read("model/extra/titrant.json"))
    assert said == {"inputs": [["x", ["batch", 1, 6, 6], "float32"]], "outputs": ["logits"]}


def test_is_loaded_by_torch_alone(torch_model, rows, apply, answers):
    import torch

    model = torch_model("TinyNet", 1, 6, 6)
    path = apply("export.torchscript", {"model": model, "example": rows(1, 6, 6)}).outputs["model"].path
    x = rows(1, 6, 6, count=3).inputs["x"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = torch.jit.load(str(path))
    np.testing.assert_allclose(loaded(torch.from_numpy(x)).detach().numpy(), answers(model, x), atol=1e-5)


def test_holds_no_path_of_this_machine_and_says_nothing(torch_model, rows, apply, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exported = apply("export.torchscript", {"model": torch_model("TinyNet", 1, 6, 6), "example": rows(1, 6, 6)})
    data = exported.outputs["model"].path.read_bytes()
    assert b"site-packages" not in data
    assert b".py(" not in data
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("form", "outputs"), [("tuple", 2), ("list", 2), ("mapping", 2), ("mapping", 1)])
def test_takes_every_form_of_answer(form, outputs, torch_model, rows, apply):
    from titrant.runtime.backends import backend

    names = ("logits", "other")[:outputs]
    model = torch_model("Answering", 5, outputs=names, form=form)
    exported = apply("export.torchscript", {"model": model, "example": rows(5)}).outputs["model"]
    with backend.get("torch").open(exported, threads=1) as session:
        assert tuple(session.run(rows(5, count=3).inputs)) == names


def test_refuses_a_forward_that_decides_on_values(torch_model, rows, apply):
    with pytest.raises(PreconditionError, match="X206"):
        apply("export.torchscript", {"model": torch_model("Deciding", 5), "example": rows(5)})


def test_refuses_a_forward_that_is_bound_to_the_batch_size_of_the_trace(torch_model, rows, apply):
    with pytest.raises(StepError, match="X208"):
        apply("export.torchscript", {"model": torch_model("BatchBound", 5), "example": rows(5)})


def test_refuses_to_go_without_example_rows(torch_model, rows, apply):
    with pytest.raises(StepError, match="X202: there are no tuning rows"):
        apply("export.torchscript", {"model": torch_model("TinyNet", 1, 6, 6), "example": rows(1, 6, 6, count=0)})
