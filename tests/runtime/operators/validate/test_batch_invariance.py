"""validate.batch_invariance: an answer that depends on who shares the batch is seen, whatever finds the scale."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx  # noqa: TID253 - the tests build tiny graphs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253

from titrant.runtime.api import apply as apply_operator
from titrant.runtime.contract.company import read_invariance
from titrant.runtime.values import OnnxModel, Outputs, Rows

torch = pytest.importorskip("torch")

CLASSES = 3
POINT = {"kind": "argmax", "threshold": None, "source": ""}


def cases(features=8, count=70, dtype="float32", seed=0):
    """Make rows of one input that differ widely, so that a scale of the batch moves answers."""
    drawn = np.random.default_rng(seed).normal(size=(count, features)) * np.linspace(0.2, 3, count)[:, None]
    inputs = {"x": drawn.astype(dtype) if dtype == "float32" else np.abs(drawn * 3).astype(dtype) % 10}
    numbers = np.arange(count)
    return Rows("tuning", inputs, numbers % CLASSES, numbers, numbers.astype(np.uint64), ("a", "b", "c"))


class Net(torch.nn.Module):
    """Two linear layers with something between: (batch, 8) → (batch, 3)."""

    def __init__(self, between):
        super().__init__()
        torch.manual_seed(3)
        self.first, self.second = torch.nn.Linear(8, 16), torch.nn.Linear(16, CLASSES)
        self.between = between

    def forward(self, x):
        return self.second(self.between(torch.relu(self.first(x))))


def scale_of_the_batch(h):
    scale = h.abs().max() / 7
    return torch.round(h / scale) * scale


def scale_of_each_case(h):
    scale = h.abs().amax(dim=1, keepdim=True) / 7
    return torch.round(h / scale) * scale


def mean_of_the_batch(h):
    return h - h.mean(dim=0, keepdim=True)


def nothing(h):
    return h


MIXING = {"a scale": scale_of_the_batch, "a mean": mean_of_the_batch}
STEADY = {"nothing": nothing, "a scale of each case": scale_of_each_case}


@pytest.fixture
def folder(tmp_path):
    """Make a fresh folder for an operator's files."""
    return lambda: Path(tempfile.mkdtemp(dir=tmp_path))


@pytest.fixture
def ask(folder):
    """Ask a model of any kind again, given the answers that it has in batches of `batch`."""

    def asked(model, cases, engine, batch=16, **params):
        reading = {"task": "multiclass_classification"} | params
        given = {"model": model, "rows": cases}
        where = {"engine": engine, "batch": batch}
        outputs = apply_operator("validate.predict", given, where, scratch=folder()).outputs["outputs"]
        given |= {"outputs": outputs, "point": POINT}
        made = apply_operator("validate.batch_invariance", given, {**reading, **where}, scratch=folder())
        return made.outputs["invariance"]

    return asked


@pytest.fixture
def live(torch_model):
    """Make a TorchModel of a module of ours."""

    def made(module):
        return replace(torch_model("TinyNet", 8), module=module.eval())

    return made


@pytest.fixture
def kinds(live, folder):
    """Make a model of each kind, and name the engine that runs it."""

    def made(module, kind, rows):
        model = live(module)
        if kind == "torch":
            return model, "torch"
        operator = {"onnx": "export.onnx", "torchscript": "export.torchscript"}[kind]
        made = apply_operator(operator, {"model": model, "example": rows}, {}, scratch=folder())
        return made.outputs["model"], "onnxruntime" if kind == "onnx" else "torch"

    return made


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mixing=st.sampled_from(sorted(MIXING)),
    kind=st.sampled_from(["torch", "onnx", "torchscript"]),
    sizes=st.tuples(st.sampled_from([8, 16, 64]), st.integers(17, 80)),
)
def test_sees_that_a_case_is_answered_by_who_shares_its_batch(ask, kinds, mixing, kind, sizes):
    batch, count = sizes
    rows = cases(count=count)
    model, engine = kinds(Net(MIXING[mixing]), kind, rows)
    seen = read_invariance(ask(model, rows, engine, batch))
    assert seen.depends
    assert not seen.identical
    assert seen.company.apart > 1e-3
    assert seen.alone.apart > 1e-3


@settings(max_examples=9, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steady=st.sampled_from(sorted(STEADY)),
    kind=st.sampled_from(["torch", "onnx", "torchscript"]),
    sizes=st.tuples(st.sampled_from([8, 16, 64]), st.integers(17, 80)),
)
def test_says_nothing_of_a_model_that_looks_at_each_case_alone(ask, kinds, steady, kind, sizes):
    batch, count = sizes
    rows = cases(count=count)
    model, engine = kinds(Net(STEADY[steady]), kind, rows)
    answer = ask(model, rows, engine, batch)
    seen = read_invariance(answer)
    assert not seen.depends
    assert not seen.scales
    assert answer["dependent"] == []
    assert (seen.alone.differ, seen.company.differ, seen.outlier.differ) == (0, 0, 0)
    assert answer["tried"] == list(range(count))
    assert seen.batch == batch


@pytest.mark.parametrize(("operator", "kind"), [("quantize.ort_dynamic", "onnx"), ("quantize.torch_dynamic", "torch")])
def test_names_scales_that_a_quantized_layer_finds_from_the_batch(ask, kinds, folder, operator, kind):
    rows = cases()
    model, engine = kinds(Net(nothing), kind, rows)
    given = {"model": model} | ({"example": rows} if kind == "torch" else {})
    quantized = apply_operator(operator, given, {}, scratch=folder()).outputs["model"]
    seen = read_invariance(ask(quantized, rows, engine))
    assert seen.scales
    assert seen.depends
    assert seen.outlier.apart > seen.company.apart


def test_finds_no_scale_in_a_file_whose_scales_are_fixed(ask, kinds, folder):
    rows = cases()
    model, engine = kinds(Net(nothing), "onnx", rows)
    given = {"model": model, "calibration": rows}
    quantized = apply_operator("quantize.ort_static", given, {}, scratch=folder()).outputs["model"]
    seen = read_invariance(ask(quantized, rows, engine))
    assert not seen.scales
    assert not seen.depends


def test_counts_whole_numbers_in_company_and_has_no_outlier_of_them(ask, live):
    table = torch.nn.Embedding(10, 4)

    class Words(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.last = table, torch.nn.Linear(4, CLASSES)

        def forward(self, x):
            return self.last(scale_of_the_batch(self.table(x).mean(dim=1)))

    model = replace(live(Words()), inputs=(("x", ("batch", 8), "int64"),))
    seen = read_invariance(ask(model, cases(dtype="int64"), "torch"))
    assert seen.outlier is None
    assert seen.depends


def test_judges_company_alone_where_the_model_answers_no_single_row(ask, live):
    def needs_two(h):
        if len(h) < 2:
            raise ValueError("two rows at least")
        return h

    seen = read_invariance(ask(live(Net(needs_two)), cases(count=64), "torch"))
    assert seen.alone is None
    assert not seen.depends


def test_takes_what_is_no_number_beside_an_outlier_for_another_answer(ask, live):
    def overflows(h):
        return h + torch.where(h.abs().max() > 60, torch.tensor(float("inf")), torch.tensor(0.0))

    seen = read_invariance(ask(live(Net(overflows)), cases(), "torch"))
    assert seen.outlier.differ > 0
    assert seen.outlier.apart is None
    assert seen.depends


def test_compares_outputs_without_labels_as_they_are_read(ask, live):
    seen = ask(live(Net(scale_of_the_batch)), cases(), "torch", task="unlabeled")
    assert seen["company"]["differ"] > 0
    assert set(seen["dependent"]) <= set(seen["tried"])


def test_tries_as_many_rows_as_are_asked_for(ask, live):
    answer = ask(live(Net(nothing)), cases(), "torch", rows=20)
    assert answer["rows"] == len(answer["tried"]) == len(set(answer["tried"])) == 20


def test_fills_the_batch_of_a_file_that_insists_on_one(ask, tmp_path):
    weight = np.random.default_rng(0).normal(size=(8, CLASSES)).astype("float32")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "fixed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, CLASSES])],
        [numpy_helper.from_array(weight, "w")],
    )
    path = tmp_path / "fixed.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    seen = read_invariance(ask(OnnxModel(path), cases(), "onnxruntime"))
    assert seen.alone is not None
    assert not seen.depends


def test_needs_the_answers_that_were_judged(ask, live, tmp_path):
    rows = cases()
    model = live(Net(nothing))
    wrong = Outputs("tuning", {"logits": np.zeros((len(rows), CLASSES), "float32")})
    given = {"model": model, "rows": rows, "outputs": wrong, "point": POINT}
    params = {"task": "multiclass_classification", "engine": "torch"}
    answer = apply_operator("validate.batch_invariance", given, params, scratch=tmp_path).outputs["invariance"]
    assert answer["alone"]["differ"] > 0
