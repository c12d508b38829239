"""validate.repeats: a model that answers at random, or by who shares its batch as in training, is refused."""

import random
from dataclasses import replace

import numpy as np
import onnx  # noqa: TID253 - the tests build tiny graphs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253

from titrant.runtime.api import apply as apply_operator
from titrant.runtime.values import OnnxModel
from titrant.schema.diagnostics.diagnostics import StepError

torch = pytest.importorskip("torch")


class Net(torch.nn.Module):
    """Two linear layers with something between: (batch, 8) → (batch, 3)."""

    def __init__(self, between):
        super().__init__()
        self.first, self.second = torch.nn.Linear(8, 16), torch.nn.Linear(16, 3)
        self.norm, self.between = torch.nn.BatchNorm1d(16), between

    def forward(self, x):
        return self.second(self.between(self, torch.relu(self.first(x))))


def noise_of_numpy(net, h):
    return h + torch.from_numpy(np.random.normal(size=h.shape).astype("float32"))


def own_generator(net, h):
    net.__dict__.setdefault("drawn", torch.Generator().manual_seed(5))
    return h + torch.randn(h.shape, generator=net.__dict__["drawn"])


def training_by_itself(net, h):
    net.train()
    return net.norm(h)


def counts_calls(net, h):
    net.__dict__["calls"] = net.__dict__.get("calls", 0) + 1
    return h * net.__dict__["calls"]


def seeds_itself(net, h):
    torch.manual_seed(0)
    return h + torch.randn_like(h)


def fixed_projection(net, h):
    torch.manual_seed(0)
    return h @ torch.randn(16, 16)


def per_case(net, h):
    return torch.nn.functional.instance_norm(h[:, None])[:, 0]


RANDOM = {
    "dropout left on": lambda net, h: torch.nn.functional.dropout(h, 0.5),
    "a little dropout": lambda net, h: torch.nn.functional.dropout(h, 0.02),
    "dropout of channels": lambda net, h: torch.nn.functional.dropout1d(h[:, :, None], 0.3)[:, :, 0],
    "a sample": lambda net, h: torch.bernoulli(torch.sigmoid(h)),
    "noise": lambda net, h: h + 0.01 * torch.randn_like(h),
    "noise of NumPy": noise_of_numpy,
    "noise of Python": lambda net, h: h * random.random(),
    "a generator of its own": own_generator,
    "a count of its calls": counts_calls,
}
TRAINING = {
    "batch normalization without figures": lambda net, h: torch.nn.functional.batch_norm(h, None, None, training=True),
    "batch normalization in training mode": lambda net, h: torch.nn.functional.batch_norm(
        h, torch.zeros(16), torch.ones(16), training=True
    ),
    "training in forward": training_by_itself,
}
STEADY = {
    "nothing": lambda net, h: h,
    "batch normalization": lambda net, h: net.norm(h),
    "dropout that is off": lambda net, h: torch.nn.functional.dropout(h, 0.5, training=net.training),
    "dropout of nothing": lambda net, h: torch.nn.functional.dropout(h, 0.0),
    "a projection that is drawn alike every time": fixed_projection,
    "normalization of each case": per_case,
    # Depends on the batch, and neither random nor training: another question.
    "a scale of the batch": lambda net, h: torch.round(h / h.abs().max() * 20) / 20,
}


@pytest.fixture
def ask(torch_model, rows, tmp_path):
    """Ask a TorchModel, the same as TorchScript, or an ONNX file."""

    def asked(model, engine="torch", count=40):
        given = {"model": model, "rows": rows(8, count=count)}
        return apply_operator("validate.repeats", given, {"engine": engine}, scratch=tmp_path).outputs["repeats"]

    return asked


@pytest.fixture
def net(torch_model):
    """Make a TorchModel with something between its layers."""

    def made(between):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            module = Net(between).eval()
        return replace(torch_model("TinyNet", 8), module=module)

    return made


@pytest.mark.parametrize("between", RANDOM.values(), ids=list(RANDOM))
def test_refuses_a_module_that_answers_at_random(net, ask, between):
    with pytest.raises(StepError, match=r"X421.*does not answer the same twice.*: asked again for the same 40 rows"):
        ask(net(between))


@pytest.mark.parametrize("between", TRAINING.values(), ids=list(TRAINING))
def test_refuses_a_module_that_normalizes_by_its_batch_as_in_training(net, ask, between):
    with pytest.raises(StepError, match=r"X42[12].*"):
        ask(net(between))


def test_names_the_layer_and_says_that_it_is_in_training_mode(net, ask):
    with pytest.raises(
        StepError, match=r"X422: the model is in training mode .normalizing by the batch: batch_norm.: it answ"
    ):
        ask(net(TRAINING["batch normalization without figures"]))
    with pytest.raises(StepError, match=r"X421.*drawn by .*dropout"):
        ask(net(RANDOM["dropout left on"]))


def test_refuses_noise_that_is_drawn_from_one_seed_for_the_whole_batch(net, ask):
    with pytest.raises(StepError, match="X422: the model draws numbers that depend on the batch"):
        ask(net(seeds_itself))


@pytest.mark.parametrize("between", STEADY.values(), ids=list(STEADY))
def test_lets_a_module_be_that_answers_the_same(net, ask, between):
    assert ask(net(between))["difference"] == 0


def test_leaves_no_trace_in_the_model_that_it_asks(net, ask):
    model = net(counts_calls)
    with pytest.raises(StepError):
        ask(model)
    assert "calls" not in model.module.__dict__


def test_measures_how_a_row_alone_differs_from_one_in_a_batch(net, ask):
    assert ask(net(STEADY["a scale of the batch"]))["alone"] > 1e-3
    assert ask(net(STEADY["nothing"]))["alone"] < 1e-5


def test_says_that_no_single_row_is_answered(net, ask):
    assert ask(net(lambda net, h: torch.stack(list(h), 0) if len(h) > 1 else h[:, :3]))["alone"] is None


def test_refuses_a_torchscript_file_with_dropout(net, ask, apply, rows, tmp_path):
    from titrant.runtime.values import TorchScriptModel

    scripted = apply("export.torchscript", {"model": net(STEADY["nothing"]), "example": rows(8)}).outputs["model"]
    extra = {"titrant.json": ""}
    torch.jit.load(str(scripted.path), _extra_files=extra)

    def forward(x):
        return torch.nn.functional.dropout(x, 0.5, True)[:, :3]

    path = tmp_path / "random.pt"
    torch.jit.save(torch.jit.trace(forward, torch.ones(2, 8), check_trace=False), str(path), _extra_files=extra)
    with pytest.raises(StepError, match="X421"):
        ask(TorchScriptModel(path))
    assert ask(scripted)["difference"] == 0


def onnx_file(path, nodes, weights=(), opset=17):
    """Save a graph from x (batch, 8) to y (batch, 8)."""
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 8])], list(weights),
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), path)
    return OnnxModel(path)


def number(name, value):
    return numpy_helper.from_array(np.array(value), name)


DRAWN = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Dropout")


def random_nodes(operator, seed):
    """Return nodes that add something drawn to x, and the stored tensors that they read."""
    options = {} if seed is None else {"seed": float(seed) if operator != "Dropout" else int(seed)}
    if operator in ("RandomNormal", "RandomUniform"):
        drawing = helper.make_node(operator, [], ["r"], shape=[8], **options)
    elif operator == "Bernoulli":
        drawing = helper.make_node(operator, ["p"], ["r"], **options)
    elif operator == "Dropout":
        drawing = helper.make_node(operator, ["x", "ratio", "on"], ["r"], **options)
    else:
        drawing = helper.make_node(operator, ["x"], ["r"], **options)
    nodes = [helper.make_node("Sigmoid", ["x"], ["p"]), drawing, helper.make_node("Add", ["x", "r"], ["y"])]
    return nodes, [number("ratio", np.float32(0.4)), number("on", True)]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operator=st.sampled_from(DRAWN), seed=st.none() | st.integers(0, 9), count=st.integers(8, 70))
def test_refuses_a_file_with_a_random_node_whatever_its_seed(ask, tmp_path, operator, seed, count):
    file = onnx_file(tmp_path / "random.onnx", *random_nodes(operator, seed))
    with pytest.raises(StepError, match="X421"):
        ask(file, "onnxruntime", count)


def test_refuses_a_file_whose_batch_normalization_is_in_training_mode(ask, tmp_path):
    figures = [numpy_helper.from_array(np.full(8, value, np.float32), name) for name, value in
               (("s", 1), ("b", 0), ("m", 0), ("v", 1))]  # fmt: skip
    nodes = [
        helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y", "m2", "v2"], "bn", training_mode=1)
    ]
    with pytest.raises(StepError, match=r"X422: the model is in training mode .normalizing by the batch: bn."):
        ask(onnx_file(tmp_path / "training.onnx", nodes, figures), "onnxruntime")
    nodes = [helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], "bn")]
    assert ask(onnx_file(tmp_path / "served.onnx", nodes, figures), "onnxruntime")["alone"] == 0


def test_lets_a_file_be_whose_scales_depend_on_the_batch(ask, tmp_path):
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Dropout", ["d", "ratio", "off"], ["y"]),
    ]
    weights = [number("ratio", np.float32(0.4)), number("off", False)]
    repeats = ask(onnx_file(tmp_path / "dynamic.onnx", nodes, weights), "onnxruntime")
    assert repeats["difference"] == 0
    assert repeats["alone"] > 1e-4
