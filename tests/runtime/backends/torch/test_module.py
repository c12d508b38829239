"""The kind `torch`: a model comes back from its folder as it was, or not at all."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from titrant.runtime.backends import kinds
from titrant.schema.diagnostics.diagnostics import StepError


@pytest.fixture
def kept(tmp_path):
    """Save a model in a fresh folder and load it again."""

    def keep(model):
        folder = tmp_path / f"kept{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        kinds.save("torch", model, folder)
        return folder, kinds.load("torch", folder)

    return keep


def description(folder):
    """Read what the file says of its module."""
    with safe_open(folder / "model.safetensors", framework="np") as file:
        return json.loads(file.metadata()["titrant"])


def describe(folder, said):
    """Write another description before the same tensors."""
    file = folder / "model.safetensors"
    save_file(load_file(file), file, metadata={"titrant": json.dumps(said)} if said else None)


def test_comes_back_with_everything_it_had(torch_model, kept, answers, rows):
    model = torch_model("TinyNet", 1, 6, 6, classes=3)
    _, loaded = kept(model)
    x = rows(1, 6, 6).inputs["x"]
    np.testing.assert_array_equal(answers(loaded, x), answers(model, x))
    assert (loaded.factory, loaded.args, loaded.inputs, loaded.outputs, loaded.rewrites, loaded.source_digest) == (
        model.factory, model.args, model.inputs, model.outputs, model.rewrites, model.source_digest,
    )  # fmt: skip
    assert not loaded.module.training
    assert all(one.requires_grad for one in loaded.module.parameters())


@pytest.mark.parametrize("operators", [("model.fuse",), ("model.cast",), ("model.fuse", "model.cast")])
def test_replays_what_operators_rewrote(*, operators, torch_model, kept, answers, rows, apply):
    model = torch_model("TinyNet", 1, 6, 6)
    for name in operators:
        model = apply(name, {"model": model}, {"emulated": True} if name == "model.cast" else {}).outputs["model"]
    _, loaded = kept(model)
    x = rows(1, 6, 6).inputs["x"]
    np.testing.assert_array_equal(answers(loaded, x), answers(model, x))
    assert tuple(one.operator for one in loaded.rewrites) == operators


def test_writes_the_same_bytes_again(torch_model, kept):
    folder, loaded = kept(torch_model("TinyNet", 1, 6, 6))
    again, _ = kept(loaded)
    assert [file.name for file in folder.iterdir()] == ["model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()


def test_keeps_tied_weights_tied_and_writes_them_once(torch_model, kept):
    folder, loaded = kept(torch_model("Tied", 5))
    assert loaded.module.first.weight is loaded.module.second.weight
    assert description(folder)["tied"] == {"second.weight": "first.weight"}
    assert loaded.module.part.tolist() == [2.0, 3.0]


def test_draws_no_random_numbers_when_it_loads(torch_model, kept):
    import torch

    model = torch_model("TinyNet", 1, 6, 6)
    before = torch.random.get_rng_state()
    kept(model)
    assert torch.equal(before, torch.random.get_rng_state())


def test_refuses_a_model_whose_source_has_changed(torch_model, kept, tmp_path, monkeypatch):
    from titrant.runtime.backends.torch.factory import build, source_digest
    from titrant.runtime.values import TorchModel

    source = tmp_path / "changing_net.py"
    source.write_text("import torch\ndef net():\n    return torch.nn.Linear(2, 2)\n")
    monkeypatch.syspath_prepend(tmp_path)
    factory = "changing_net:net"
    model = TorchModel(
        build(factory, {}), factory, {}, source_digest(factory), (("x", ("batch", 2), "float32"),), ("y",)
    )
    folder, _ = kept(model)
    source.write_text("import torch\ndef net():\n    return torch.nn.Linear(2, 2)  # another\n")
    with pytest.raises(StepError, match=r"X214: the source of changing_net:net is not what it was"):
        kinds.load("torch", folder)


def test_refuses_tensors_of_another_shape(torch_model, kept):
    folder, _ = kept(torch_model("TinyNet", 1, 6, 6))
    describe(folder, {**description(folder), "args": {"classes": 5}})
    with pytest.raises(StepError, match=r"X214: the tensors do not fit.*linear"):
        kinds.load("torch", folder)


def test_refuses_tensors_that_say_nothing_of_their_module(torch_model, kept):
    folder, _ = kept(torch_model("TinyNet", 1, 6, 6))
    describe(folder, None)
    with pytest.raises(StepError, match=r"X214: model.safetensors does not say how its module is built"):
        kinds.load("torch", folder)


def test_refuses_a_rewrite_of_another_version(torch_model, kept, apply):
    folder, _ = kept(apply("model.fuse", {"model": torch_model("TinyNet", 1, 6, 6)}).outputs["model"])
    said = description(folder)
    describe(folder, {**said, "rewrites": [{**said["rewrites"][0], "version": 0}]})
    with pytest.raises(StepError, match=r"X214: the model was rewritten by model.fuse version 0, which has version 1"):
        kinds.load("torch", folder)


def test_refuses_state_that_is_no_tensor(torch_model, kept):
    with pytest.raises(StepError, match=r"X215: the model keeps _extra_state as dict"):
        kept(torch_model("Remembering", 5))


@pytest.mark.parametrize(("operator", "kind"), [("export.onnx", "onnx"), ("export.torchscript", "torchscript")])
def test_keeps_files_under_fixed_names(*, operator, kind, torch_model, rows, apply, tmp_path, answers):
    inputs = {"model": torch_model("TinyNet", 1, 6, 6), "example": rows(1, 6, 6)}
    value = apply(operator, inputs).outputs["model"]
    folder = tmp_path / "kept"
    folder.mkdir()
    kinds.save(kind, value, folder)
    loaded = kinds.load(kind, folder)
    assert [Path(one).name for one in folder.iterdir()] == [value.path.name]
    x = rows(1, 6, 6).inputs["x"]
    np.testing.assert_array_equal(answers(loaded, x), answers(value, x))
