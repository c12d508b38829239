"""TorchScript and torch.export files that others made are described and loaded as the original, and nothing else is."""

import json
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from titrant.runtime.backends import backend
from titrant.runtime.inspect.torch_files import describe_exported, describe_script
from titrant.runtime.operators.model.load_exported import ModelLoadExportedParams
from titrant.runtime.operators.model.load_torchscript import ModelLoadTorchscriptParams
from titrant.runtime.values import TorchModel
from titrant.schema.diagnostics.diagnostics import StepError, TitrantError
from titrant.schema.facts import DataFacts, TensorSpec

FORMS = ("exported", "script", "frozen")
IMAGE = TensorSpec("image", ("batch", 1, 6, 6), "float32")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A net's file in every form, and the net."""
    import torch
    from operator_nets import TinyNet

    folder = tmp_path_factory.mktemp("files")
    torch.manual_seed(0)
    net = TinyNet().eval()
    example = (torch.zeros(2, 1, 6, 6),)
    free = ({0: torch.export.Dim.AUTO},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(net, example, dynamic_shapes=free), folder / "exported.pt2")
        torch.jit.save(torch.jit.script(net), str(folder / "script.pt"))
        torch.jit.save(torch.jit.freeze(torch.jit.trace(net, example)), str(folder / "frozen.pt"))
        torch.save(net.state_dict(), folder / "weights.pt")
    return folder, net


def facts_of(path, *specs, data=None):
    file = {"path": str(path), "digest": "d"}
    given = {"inputs": [{"name": spec.name, "shape": list(spec.shape), "dtype": spec.dtype} for spec in specs]}
    known = None if data is None else DataFacts("", 0, (), (), None, data, {})
    if path.suffix == ".pt2":
        params = ModelLoadExportedParams.model_validate_json(json.dumps({"exported": file}))
        return describe_exported(params, known, "multiclass_classification")
    params = ModelLoadTorchscriptParams.model_validate_json(json.dumps({"torchscript": file, **given}))
    return describe_script(params, known, "multiclass_classification")


def path_of(files, form):
    return files[0] / f"{form}.{'pt2' if form == 'exported' else 'pt'}"


@pytest.mark.parametrize("form", FORMS)
def test_counts_layers_parameters_and_flops_and_names_inputs(form, files):
    facts = facts_of(path_of(files, form), data=(IMAGE,))
    products = {layer.type: layer.weight_shape for layer in facts.layers if len(layer.weight_shape) > 1}
    assert products == {"Conv2d": (4, 1, 3, 3), "Linear": (2, 4)}
    # 36 + 8 + 10; freezing folds the normalization into the convolution before it.
    assert facts.parameters == {"exported": 54, "script": 54, "frozen": 50}[form]
    assert facts.flops == 2 * (36 * 16 + 8)
    assert facts.inputs == (IMAGE,)
    assert [spec.shape for spec in facts.outputs] == [("batch", 2)]
    assert facts.is_graph


def test_leaves_the_batch_of_a_program_free_that_keeps_no_rows(tmp_path):
    import torch
    from operator_nets import TinyNet

    from titrant.runtime.backends.torch.program.original import kept_program
    from titrant.runtime.backends.torch.session import Border

    program = torch.export.export(
        TinyNet().eval(), (torch.zeros(3, 1, 6, 6),), dynamic_shapes=({0: torch.export.Dim.AUTO},)
    )
    torch.export.save(program, tmp_path / "three.pt2")
    kept = kept_program(
        tmp_path / "three.pt2", Border((("image", ("batch", 1, 6, 6), "float32"),), ("logits",)), tmp_path
    )
    assert [spec.shape for spec in facts_of(kept.path).outputs] == [("batch", 2)]


@pytest.mark.parametrize("form", FORMS)
def test_loads_a_file_that_answers_as_the_net_did(form, files, apply, answers):
    operator = "model.load_exported" if form == "exported" else "model.load_torchscript"
    key = operator.removeprefix("model.load_")
    params = {
        key: {"path": str(path_of(files, form)), "digest": "d"},
        "inputs": [{"name": "image", "shape": ["batch", 1, 6, 6]}],
        "outputs": [{"name": "logits"}],
    }
    made = [apply(operator, {}, params).outputs["model"] for _ in range(2)]
    assert made[0].kind == key
    assert made[0].path.read_bytes() == made[1].path.read_bytes()
    assert len(backend.get("torch").executed(made[0])) == 2
    x = np.random.default_rng(4).normal(size=(3, 1, 6, 6)).astype(np.float32)
    net = TorchModel(files[1], "m:N", {}, "", (("image", ("batch", 1, 6, 6), "float32"),), ("logits",))
    np.testing.assert_allclose(answers(made[0], x), answers(net, x), atol=1e-5)


def test_takes_several_inputs_of_other_types_and_several_outputs(tmp_path):
    import torch

    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(7, 3)
            self.linear = torch.nn.Linear(4, 3)

        def forward(self, words, wide):
            hidden = self.table(words).sum(1) + self.linear(wide.float())
            return hidden, hidden.sum(1)

    net = Two().eval()
    example = (torch.zeros(2, 5, dtype=torch.int64), torch.zeros(2, 4, dtype=torch.float64))
    free = ({0: torch.export.Dim.AUTO}, {0: torch.export.Dim.AUTO})
    torch.export.save(torch.export.export(net, example, dynamic_shapes=free), tmp_path / "two.pt2")
    facts = facts_of(tmp_path / "two.pt2")
    assert facts.inputs == (
        TensorSpec("words", ("batch", 5), "int64"), TensorSpec("wide", ("batch", 4), "float64"),
    )  # fmt: skip
    assert [spec.shape for spec in facts.outputs] == [("batch", 3), ("batch",)]
    assert {layer.type for layer in facts.layers} == {"Embedding", "Linear"}


def test_refuses_data_of_another_shape_than_the_program_takes(files):
    with pytest.raises(TitrantError, match=r"X126: .*exported.pt2: image is \(batch, 1, 6, 6\) float32"):
        facts_of(path_of(files, "exported"), data=(TensorSpec("image", ("batch", 1, 7, 6), "float32"),))


@pytest.mark.parametrize(
    ("form", "suffix", "said"),
    [
        ("weights.pt", ".pt", "it holds weights and no code"),
        ("weights.pt", ".pt2", "it is a file of weights"),
        ("exported.pt2", ".pt", "it is a torch.export file"),
        ("script.pt", ".pt2", "it is a TorchScript file"),
    ],
)
def test_says_what_a_file_of_another_kind_is(form, suffix, said, files, tmp_path):
    path = tmp_path / f"file{suffix}"
    path.write_bytes((files[0] / form).read_bytes())
    with pytest.raises(StepError, match=f"X212: torch cannot load file{suffix}: {said}"):
        facts_of(path)


class Ran:
    """Unpickling it leaves a mark."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
def test_runs_nothing_of_a_bare_pickle(suffix, tmp_path):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(pickle.dumps(Ran(tmp_path / "mark")))
    with pytest.raises(StepError, match="X212"):
        facts_of(path)
    assert not (tmp_path / "mark").exists()


def test_runs_no_pickle_inside_a_program(files, tmp_path):
    from titrant.runtime.backends.torch.program.export import read_records, write_records

    records = read_records(path_of(files, "exported"))
    config = json.loads(records["data/weights/model_weights_config.json"])
    name, said = next(iter(config["config"].items()))
    said["use_pickle"] = True
    records["data/weights/model_weights_config.json"] = json.dumps(config).encode()
    records[f"data/weights/{said['path_name']}"] = pickle.dumps(Ran(tmp_path / "mark"))
    write_records(records, tmp_path / "file.pt2")
    with pytest.raises(StepError, match=f"X281: file.pt2 keeps {name} as a pickle"):
        facts_of(tmp_path / "file.pt2")
    assert not (tmp_path / "mark").exists()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(form=st.sampled_from(FORMS), share=st.floats(0, 0.999), flipped=st.integers(0, 255))
def test_refuses_a_damaged_file_by_its_name(form, share, flipped, files, tmp_path):
    whole = path_of(files, form).read_bytes()
    path = tmp_path / path_of(files, form).name
    path.write_bytes(whole[: int(share * len(whole))] + bytes([flipped]))
    with pytest.raises(StepError, match=f"X212: torch cannot load {path.name}"):
        facts_of(path)


def test_refuses_nan_among_the_weights(tmp_path):
    import torch

    net = torch.nn.Linear(3, 2)
    with torch.no_grad():
        net.weight[0, 0] = float("nan")
    torch.export.save(torch.export.export(net, (torch.zeros(2, 3),)), tmp_path / "nan.pt2")
    with pytest.raises(StepError, match=r"X155: nan\.pt2: NaN in weight"):
        facts_of(tmp_path / "nan.pt2")


def test_counts_the_flops_of_attention_whose_batch_does_not_stand_first(tmp_path):
    """Its products are of (tokens, batch, width), and then of (tokens * batch, width)."""
    import torch
    from operator_nets import Encoder

    net = Encoder().eval()
    example = (torch.zeros(3, 5, 8),)
    free = ({0: torch.export.Dim.AUTO},)
    torch.export.save(torch.export.export(net, example, dynamic_shapes=free), tmp_path / "encoder.pt2")
    counts = {layer.name: layer.flops for layer in facts_of(tmp_path / "encoder.pt2").layers if layer.flops}
    assert counts == {
        "layer.self_attn": 2 * 5 * 8 * 24, "layer.self_attn.out_proj": 2 * 5 * 8 * 8, "layer.linear1": 2 * 5 * 8 * 16,
        "layer.linear2": 2 * 5 * 16 * 8, "head": 2 * 8 * 2,
    }  # fmt: skip
    assert {layer.type for layer in facts_of(tmp_path / "encoder.pt2").layers if layer.name.endswith("out_proj")} == {
        "Linear"
    }


def test_says_of_a_layer_that_only_a_branch_calls_that_it_is_in_one(tmp_path):
    import torch
    from torch import nn

    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.inner = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            x = self.first(x)
            if bool(x.mean() > 0):
                x = self.inner(x)
            return x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(Branching().eval())
        torch.jit.save(script, str(tmp_path / "script.pt"))
        torch.jit.save(torch.jit.freeze(script), str(tmp_path / "frozen.pt"))
    spec = TensorSpec("x", ("batch", 4), "float32")
    assert [layer.type for layer in facts_of(tmp_path / "script.pt", spec).layers] == ["Linear", "If"]
    assert [layer.type for layer in facts_of(tmp_path / "frozen.pt", spec).layers] == ["Linear", "If"]
