"""Inspection: facts of models and data, found by the same code that the plan's steps run."""

import json
import sys

import numpy as np
import onnx  # noqa: TID253 - the tests build tiny graphs
import pytest
import torch  # noqa: TID253 - the tests save weights
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253
from safetensors.torch import save_file

from titrant.runtime.inspect.inspect import inspect
from titrant.schema.diagnostics.diagnostics import RecipeError, StepError

ROLES = {
    "train": {"source": 0.5},
    "tuning": {"source": 0.1},
    "calibration": {"source": 0.1},
    "evaluation": {"source": 0.3},
}
DATA = {
    "data.load": {"sources": {"source": {"sklearn": "breast_cancer"}}, "label": "target"},
    "data.split": {"roles": ROLES, "label": "target"},
    "data.transform": {
        "task": "binary_classification",
        "label": "target",
        "positive": "malignant",
        "transforms": [{"name": "standardize"}],
        "subgroups": {"size": {"column": "mean radius", "bins": [12, 16]}},
    },
}
TABULAR = {"factory": "titrant.recipes.models:TabularNet", "args": {"features": "auto", "classes": "auto"}}


def facts(model, **changed):
    steps = DATA | {"model.load": model} | changed
    answer = inspect({"seed": 42, "steps": steps})
    json.dumps(answer)
    return answer


@pytest.fixture
def user(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    (tmp_path / "odd_nets.py").write_text(
        "import torch\nfrom torch import nn\n"
        "class Reads(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.l = nn.Linear(30, 2)\n"
        "        self.bias = float(self.l.weight.abs().max())\n"
        "    def forward(self, x):\n"
        "        return self.l(x) + (1 if x.sum().item() > 0 else self.bias)\n"
        "class Several(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.l = nn.Linear(30, 2)\n"
        "        self.m = nn.Linear(30, 2)\n        self.m.weight = self.l.weight\n"
        "    def forward(self, x):\n        return {'class': self.l(x), 'risk': self.m(x)[:, :1]}\n"
        "class Flat(Several):\n"
        "    def forward(self, x):\n        return self.l(x).sum()\n"
        "class Huge(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.l = nn.Linear(30, 1 << 40, bias=False)\n"
        "    def forward(self, x):\n        return self.l(x) if x.sum().item() > 0 else x\n"
        "class Narrow(nn.Sequential):\n"
        "    def __init__(self):\n        super().__init__(nn.Linear(7, 2))\n"
    )
    yield "odd_nets"
    for name in set(sys.modules) - before:
        if name == "odd_nets":
            del sys.modules[name]


def test_counts_parameters_flops_and_layers():
    model = facts(TABULAR)["model"]
    assert model["parameters"] == model["trainable"] == 30 * 128 + 128 + 128 * 64 + 64 + 64 * 2 + 2
    assert model["weight_bytes"] == 4 * model["parameters"]
    assert model["flops"] == 2 * (30 * 128 + 128 * 64 + 64 * 2)
    linear = [layer for layer in model["layers"] if layer["type"] == "Linear"]
    assert [layer["flops"] for layer in linear] == [7680, 16384, 256]
    assert linear[0]["weight_shape"] == [128, 30]
    assert model["inputs"] == [{"name": "features", "shape": ["batch", 30], "dtype": "float32"}]
    assert model["outputs"] == [{"name": "logits", "shape": ["batch", 2], "dtype": "float32"}]
    assert model["activation_bytes"] == 2 * 128 * 4


def test_counts_rows_classes_subgroups_and_positives():
    data = facts(TABULAR)["data"]
    evaluation = data["roles"]["evaluation"]
    assert data["classes"] == ["malignant", "benign"]
    assert data["positive"] == "malignant"
    assert evaluation["rows"] == evaluation["units"] == 171
    assert evaluation["classes"] == {"malignant": 64, "benign": 107}
    assert sum(evaluation["subgroups"]["size"].values()) == 171
    assert sum(evaluation["positives"]["size"].values()) == 64
    assert data["columns"][0]["distinct"] == 456
    assert data["columns"][0]["name"] == "mean radius"


def test_answers_the_same_twice_and_notices_other_data():
    first, again = facts(TABULAR), facts(TABULAR)
    taken = [found["data"].pop("seconds") for found in (first, again)]
    assert first == again
    assert all(set(seconds) == {"load", "split", "transform"} and min(seconds.values()) > 0 for seconds in taken)
    other = facts(TABULAR, **{"data.load": {"sources": {"source": {"sklearn": "wine"}}, "label": "target"},
                              "data.transform": {"task": "multiclass_classification", "label": "target"}})  # fmt: skip
    assert other["data"]["digest"] != first["data"]["digest"]
    assert other["model"]["digest"] != first["model"]["digest"]


def test_names_the_files_that_the_answer_rests_on(user, tmp_path):
    torch.save(torch.nn.Sequential(torch.nn.Linear(30, 2)).state_dict(), tmp_path / "w.pt")
    answer = facts({"factory": f"{user}:Several"})
    assert [file["path"].rpartition("/")[2] for file in answer["dependencies"]] == ["odd_nets.py"]


def test_falls_back_to_real_tensors_for_code_that_reads_values(user):
    model = facts({"factory": f"{user}:Reads"})["model"]
    assert model["parameters"] == 62
    assert model["outputs"][0]["shape"] == ["batch", 2]


def test_counts_tied_weights_once_and_names_several_outputs(user):
    model = facts({"factory": f"{user}:Several"})["model"]
    assert model["parameters"] == 60 + 2 + 2
    assert model["weight_bytes"] == 4 * 64
    assert [output["name"] for output in model["outputs"]] == ["class", "risk"]


@pytest.mark.parametrize(("name", "message"), [("Narrow", "raised RuntimeError"), ("Flat", "of shape")])
def test_says_that_a_model_cannot_answer_the_data(user, name, message):
    with pytest.raises(StepError, match=message) as caught:
        facts({"factory": f"{user}:{name}"})
    assert caught.value.diagnostics[0].code == "X156"


def test_compares_the_weights_already_now(tmp_path):
    torch.save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "w.pt")
    with pytest.raises(StepError, match="none of its 2 names is one of the model's 6"):
        facts(TABULAR | {"weights": {"path": str(tmp_path / "w.pt"), "digest": "0"}})


@pytest.mark.parametrize("key", ["student", "teacher"])
def test_names_the_key_of_another_model_that_does_not_fit(user, tmp_path, key):
    """Which model is meant: the original has weights and a factory too."""
    torch.save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "w.pt")
    weights = TABULAR | {"weights": {"path": str(tmp_path / "w.pt"), "digest": "0"}}
    for other, code, place in (({"factory": f"{user}:Narrow"}, "X156", ""), (weights, "X154", ".weights")):
        with pytest.raises(StepError) as caught:
            inspect({"seed": 42, "steps": DATA | {"model.load": TABULAR}, "others": {key: other}})
        (said,) = caught.value.diagnostics
        assert (said.code, said.key) == (code, f"reduction.distillation.{key}{place}")


def test_refuses_auto_where_the_data_does_not_say():
    with pytest.raises(RecipeError, match="vocabulary is auto"):
        facts(TABULAR | {"args": {"features": 30, "classes": 2, "vocabulary": "auto"}})


def write_graph(path, batch="n"):
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["y"], transB=1),
    ]
    weights = [numpy_helper.from_array(np.ones(s, np.float32), n) for n, s in (("k", (4, 1, 3, 3)), ("w", (5, 4)))]
    sizes = (("x", (1, "h", "w")), ("y", (5,)))
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *size]) for name, size in sizes)
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, path)
    return {"onnx": {"path": str(path), "digest": "d"}}


def onnx_facts(model, name="x", size=8):
    spec = {"name": name, "shape": ["batch", 1, size, size], "dtype": "float32"}
    steps = {
        "data.load": {"random": [spec], "random_rows": 8},
        "data.split": {"roles": {"calibration": {"source": 0.5}, "evaluation": {"source": 0.5}}},
        "data.transform": {"task": "unlabeled", "model_inputs": [spec]},
        "model.load_onnx": model,
    }
    return inspect({"seed": 0, "steps": steps})["model"]


def test_reads_an_onnx_graph(tmp_path):
    model = onnx_facts(write_graph(tmp_path / "m.onnx"))
    assert model["parameters"] == 36 + 20
    assert model["inputs"] == [{"name": "x", "shape": ["batch", 1, 8, 8], "dtype": "float32"}]
    assert model["outputs"] == [{"name": "y", "shape": ["batch", 5], "dtype": "float32"}]
    flops = {layer["type"]: layer["flops"] for layer in model["layers"] if layer["flops"]}
    assert flops == {"Conv": 2 * 4 * 64 * 9, "Gemm": 2 * 5 * 4}
    assert model["activation_bytes"] == 2 * 4 * 64 * 4
    assert onnx_facts(write_graph(tmp_path / "one.onnx", batch=1))["inputs"][0]["shape"][0] == 1


def test_gives_a_lone_array_the_name_of_the_files_lone_input(tmp_path):
    assert onnx_facts(write_graph(tmp_path / "m.onnx"), name="picture")["inputs"][0]["name"] == "x"


def test_compares_large_weights_by_their_header_only(tmp_path):
    sizes = {"layers.0": (128, 30), "layers.2": (64, 128), "layers.4": (2, 64)}
    shapes = {f"{name}.weight": size for name, size in sizes.items()}
    shapes |= {f"{name}.bias": size[:1] for name, size in sizes.items()}
    save_file({name: torch.full(shape, float("nan")) for name, shape in shapes.items()}, tmp_path / "w.safetensors")
    weights = {"path": str(tmp_path / "w.safetensors"), "digest": "header-1"}
    answer = facts(TABULAR | {"weights": weights})
    assert answer["model"]["weights"]["values_read"] is False
    assert weights["path"] not in [file["path"] for file in answer["dependencies"]]
    with pytest.raises(StepError, match="NaN"):
        facts(TABULAR | {"weights": weights | {"digest": "1"}})
    save_file({"layers.0.weight": torch.zeros(3, 3)}, tmp_path / "w.safetensors")
    with pytest.raises(StepError, match=r"is \(3, 3\) in the file and \(128, 30\) in the model"):
        facts(TABULAR | {"weights": weights})


def test_says_that_a_model_was_built_for_real(user):
    model = facts({"factory": f"{user}:Reads"})["model"]
    assert model["reads_values"]
    assert "built with its values" in model["notes"][0]
    assert not facts(TABULAR)["model"]["reads_values"]


def test_builds_nothing_for_real_that_memory_does_not_hold(user):
    with pytest.raises(StepError, match="do not fit into memory"):
        facts({"factory": f"{user}:Huge"})


def test_looks_at_a_model_alone(user):
    answer = inspect({"seed": 0, "steps": {"model.load": {"factory": f"{user}:Several"}}})
    assert answer["data"] is None
    assert (answer["model"]["parameters"], answer["model"]["flops"]) == (64, None)
    layers = answer["model"]["layers"]
    assert [(layer["trainable"], layer["dtype"], layer["custom"]) for layer in layers] == [
        (62, "float32", False), (2, "float32", False),
    ]  # fmt: skip


def test_reads_no_weights_that_stand_beside_a_graph(tmp_path):
    parameters = write_graph(tmp_path / "m.onnx")
    whole = inspect({"seed": 0, "steps": {"model.load_onnx": parameters}})
    onnx.save(onnx.load(tmp_path / "m.onnx"), tmp_path / "m.onnx", save_as_external_data=True, location="w.bin",
              size_threshold=0)  # fmt: skip
    (tmp_path / "w.bin").write_bytes(b"\xff" * (tmp_path / "w.bin").stat().st_size)
    apart = inspect({"seed": 0, "steps": {"model.load_onnx": parameters}})
    assert (whole["parts"], apart["parts"]) == ([], ["w.bin"])
    assert apart["model"]["layers"] == whole["model"]["layers"]
    (tmp_path / "w.bin").write_bytes(b"")
    with pytest.raises(StepError, match="keeps weights in a file that cannot be read"):
        inspect({"seed": 0, "steps": {"model.load_onnx": parameters}})


def test_notes_how_rows_without_labels_were_read_apart_from_the_others(tmp_path):
    (tmp_path / "rows.csv").write_text(
        "a,y,sex\n" + "".join(f"{row}.5,{row % 2},{'fm'[row % 2]}\n" for row in range(40))
    )
    (tmp_path / "more.csv").write_text("a;sex\n" + "".join(f"{row},5;{'fx'[row % 2]}\n" for row in range(30, 60)))
    groups = {"sex": {"column": "sex", "values": ["f", "m"]}}
    csv = {name: {"csv": {"path": str(tmp_path / f"{name}.csv"), "digest": ""}} for name in ("rows", "more")}
    steps = {
        "data.load": {"sources": {"source": csv["rows"]}, "inputs": ["a", "sex"], "label": "y"},
        "data.split": {"roles": ROLES, "label": "y", "inputs": ["a", "sex"]},
        "data.transform": {
            "task": "binary_classification",
            "inputs": ["a", "sex"],
            "label": "y",
            "transforms": [{"name": "one_hot"}],
            "subgroups": groups,
        },
        "data.unlabeled": {"source": csv["more"], "overlap": "drop", "subgroups": groups},
    }
    notes = facts(TABULAR, **steps)["data"]["notes"]
    assert "data.unlabeled: sex of 15 rows has a value that one_hot has no input for" in notes
    assert "data.unlabeled: 15 rows belong to no value of subgroup sex" in notes
    assert "data.unlabeled: more.csv is read as separator semicolon, decimal comma" in notes
    assert "data.unlabeled: 5 rows have a role and are left out" in notes
    assert not any("rows.csv" in note for note in notes)
