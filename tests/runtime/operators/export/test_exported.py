"""export.exported: one torch.export file that answers as the module does, with the same bytes every time."""

import json
import zipfile

import numpy as np
import pytest

from titrant.runtime.api import apply as apply_operator
from titrant.runtime.backends import backend
from titrant.runtime.backends.session import open_session
from titrant.schema.diagnostics.diagnostics import PreconditionError, StepError


def made(apply, model, rows):
    return apply("export.exported", {"model": model, "example": rows}).outputs


@pytest.fixture(scope="module")
def tiny(torch_model, rows, tmp_path_factory):
    """Return a network, rows for it and what became of them."""
    given = {"model": torch_model("TinyNet", 1, 6, 6), "example": rows(1, 6, 6)}
    done = apply_operator("export.exported", given, scratch=tmp_path_factory.mktemp("tiny"))
    return given["model"], given["example"], done.outputs["model"]


def test_gives_the_same_bytes_twice_without_rows_and_paths_and_says_nothing(tiny, apply, capfd):
    model, example, exported = tiny
    first, second = exported.path, made(apply, model, example)["model"].path
    assert first.read_bytes() == second.read_bytes()
    assert capfd.readouterr() == ("", "")
    with zipfile.ZipFile(first) as archive:
        texts = [archive.read(name) for name in archive.namelist()]
        said = json.loads(archive.read("model/extra/titrant.json"))
    assert said == {"inputs": [["x", ["batch", 1, 6, 6], "float32"]], "outputs": ["logits"]}
    assert not any(b".py" in text or example.inputs["x"][0].tobytes() in text for text in texts)


@pytest.mark.parametrize(("form", "outputs"), [("tuple", 2), ("list", 2), ("mapping", 2), ("mapping", 1)])
def test_takes_every_form_of_answer(form, outputs, torch_model, rows, apply):
    names = ("logits", "other")[:outputs]
    exported = made(apply, torch_model("Answering", 5, outputs=names, form=form), rows(5))["model"]
    with backend.get("torch").open(exported, threads=1) as session:
        assert tuple(session.run(rows(5, count=1).inputs)) == names


@pytest.mark.parametrize("net", ["Deciding", "Branching", "ByCount", "Calling"])
def test_says_that_torch_export_follows_no_forward_that_decides_on_values(net, torch_model, rows, apply, capfd):
    with pytest.raises(PreconditionError, match="X280") as refused:
        made(apply, torch_model(net, 5), rows(5))
    assert "torchscript" in refused.value.diagnostics[0].help
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("net", ["BatchBound", "BySize"])
def test_refuses_a_forward_whose_answers_depend_on_the_size_of_the_batch(net, torch_model, rows, apply):
    with pytest.raises(StepError, match="X208"):
        made(apply, torch_model(net, 5), rows(5))


def test_makes_a_file_of_one_row_where_the_model_allows_no_free_batch(torch_model, rows, apply, answers):
    model = torch_model("Counting", 5)
    exported = made(apply, model, rows(5))["model"]
    with backend.get("torch").open(exported, threads=1) as session:
        assert session.fixed_batch == 1
    x = rows(5, count=3).inputs["x"]
    with open_session("torch", exported, threads=1) as session:
        np.testing.assert_allclose(session.run({"x": x})["logits"], answers(model, x), atol=1e-5)


def test_names_the_modules_that_its_layers_were(tiny):
    executed = backend.get("torch").executed(tiny[2], layers=("convolution", "linear"))
    assert [(layer.name, layer.engine_op) for layer in executed] == [("convolution", "conv2d"), ("linear", "linear")]
