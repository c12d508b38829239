"""OpenVINO's methods: what is quantized runs so, what is left does not, and what does not suit is refused."""

import numpy as np
import pytest
import torch  # noqa: TID253 - the tests build tiny modules
from torch import nn  # noqa: TID253

from titrant.runtime import catalog
from titrant.runtime.api import apply
from titrant.runtime.backends import backend
from titrant.runtime.inspect.torch import list_layers, model_bytes
from titrant.runtime.operators.export.openvino import int8_bytes
from titrant.runtime.values import OnnxModel, Rows
from titrant.schema.diagnostics.diagnostics import PreconditionError, StepError
from titrant.schema.facts import Hardware, HardwareIdentity, Layer, ModelFacts

PACKAGES = dict.fromkeys(("openvino", "nncf", "onnx", "onnxruntime", "torch"), "1")
WIDTH = 300


class Plain(nn.Module):
    """A convolution, a depthwise one, a table and two products, one of whose sums no power of two divides."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.first = nn.Linear(256, WIDTH)
        self.head = nn.Linear(WIDTH, 4)

    def forward(self, x):
        features = torch.relu(self.depthwise(self.convolution(x)))
        return self.head(torch.relu(self.first(features.flatten(1))))


class Rare(nn.Module):
    """One product of columns, most of which are seldom anything but 0."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 2)

    def forward(self, x):
        return self.head(x)


NAMES = ("convolution.0", "depthwise", "first", "head")


def exported(module, shape, folder):
    torch.manual_seed(0)
    path = folder / "source.onnx"
    torch.onnx.export(
        module.eval(), (torch.zeros(1, *shape),), str(path), dynamo=False, opset_version=17, input_names=["x"],
        output_names=["y"], dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
    )  # fmt: skip
    return OnnxModel(path)


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    return Plain()


@pytest.fixture(scope="module")
def source(module, tmp_path_factory):
    return exported(module, (1, 4, 4), tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def made(source, tmp_path_factory):
    """Every method's file once, made as the recipe would."""

    def make(name, **params):
        scratch = tmp_path_factory.mktemp(name)
        ports = catalog.get(f"quantize.openvino_{name}").inputs
        inputs = {"model": source} | ({"calibration": rows()} if "calibration" in ports else {})
        return apply(f"quantize.openvino_{name}", inputs, params, scratch=scratch)

    kept = {}

    def once(name, **params):
        key = (name, *sorted(params.items()))
        if key not in kept:
            kept[key] = make(name, **params)
        return kept[key]

    return once


def rows(x=None, count=64):
    array = np.random.default_rng(0).normal(size=(count, 1, 4, 4)).astype(np.float32) if x is None else x
    numbers = np.arange(len(array))
    return Rows("calibration", {"x": array}, None, numbers, numbers.astype(np.uint64), ("a", "b"), 1)


def answers(engine, model, given):
    with backend.get(engine).open(model, threads=1) as session:
        return next(iter(session.run(given.inputs).values()))


def precisions(model):
    return {layer.name: layer.precision for layer in backend.get("openvino").executed(model, layers=NAMES)}


CASES = [("ptq", {}), ("ptq", {"preset": "mixed"}), ("weights", {}), ("weights", {"bits": 4}),
         ("weights", {"bits": 4, "symmetric": False})]  # fmt: skip


@pytest.mark.parametrize(("name", "params"), CASES)
def test_answers_nearly_as_before_without_a_word(name, params, made, source, capfd):
    model = made(name, **params).outputs["model"]
    assert capfd.readouterr() == ("", "")
    expected = answers("onnxruntime", source, rows())
    off = np.abs(answers("openvino", model, rows()) - expected).max() / np.abs(expected).max()
    assert 0 < off < (0.3 if params.get("bits") == 4 else 0.08)


def test_runs_activations_in_int8(made):
    ran = precisions(made("ptq").outputs["model"])
    assert {*ran} == {*NAMES}
    assert {name: ran[name] for name in NAMES if name != "depthwise"} == dict.fromkeys(
        ("convolution.0", "first", "head"), "int8"
    )


@pytest.mark.parametrize(("bits", "expected"), [(8, "int8"), (4, "int4")])
def test_unpacks_weights_of_products_in_the_kernel(bits, expected, made):
    ran = precisions(made("weights", bits=bits).outputs["model"])
    assert ran == {"convolution.0": "fp32", "depthwise": "fp32", "first": expected, "head": expected}


def test_gives_every_product_four_bits_whatever_divides_its_sums(made):
    measured = made("weights", bits=4).measurements
    assert (measured["int4_layers"], measured["int8_layers"]) == (2, 2)


@pytest.mark.parametrize(("name", "params"), [("ptq", {}), ("weights", {"bits": 8}), ("weights", {"bits": 4})])
def test_leaves_layers_alone(name, params, made):
    ran = precisions(made(name, **params, leave=("first",)).outputs["model"])
    assert ran["first"] == "fp32"
    assert ran["head"] == ("int4" if params.get("bits") == 4 else "int8")


def test_says_which_layer_to_leave_is_not_there(made):
    with pytest.raises(StepError, match=r"X251: .* pooler"):
        made("weights", leave=("pooler",))


def test_does_not_clip_columns_that_are_seldom_used(tmp_path):
    x = np.zeros((256, 64), np.float32)
    for row in range(256):
        x[row, row % 64] = 1.0 if row % 64 else 8.0
    model, given = exported(Rare(), (64,), tmp_path), rows(x)
    expected = answers("onnxruntime", model, given)
    off = {}
    for estimator in ("minmax", "mean_minmax"):
        scratch = tmp_path / estimator
        scratch.mkdir()
        done = apply(
            "quantize.openvino_ptq", {"model": model, "calibration": given},
            {"range_estimator": estimator, "batch_size": 1}, scratch=scratch,
        )  # fmt: skip
        off[estimator] = np.abs(answers("openvino", done.outputs["model"], given) - expected).max()
    assert off["minmax"] < 0.1
    assert off["mean_minmax"] > 5 * off["minmax"]


@pytest.mark.parametrize(
    ("operator", "params"),
    [("export.openvino", {}), ("quantize.openvino_ptq", {}), ("quantize.openvino_weights", {"bits": 8}),
     ("quantize.openvino_weights", {"bits": 4}), ("quantize.openvino_weights", {"bits": 4, "leave": ("first",)})],
)  # fmt: skip
def test_predicts_the_size_of_the_file(*, operator, params, made, module, source, tmp_path):
    if operator == "export.openvino":
        model = apply(operator, {"model": source, "example": rows()}, scratch=tmp_path).outputs["model"]
    else:
        model = made(operator.removeprefix("quantize.openvino_"), **params).outputs["model"]
    size = sum(path.stat().st_size for path in model.folder.iterdir())
    declared = catalog.get(operator)
    predicted = declared.predict(declared.params(**params), machine(), facts(module)).output_bytes
    assert abs(predicted - size) < max(0.03 * size, 1500)


def facts(module):
    count = sum(tensor.numel() for tensor in module.parameters())
    layers = list_layers(module, {}, ())
    return ModelFacts("factory", "", count, count, model_bytes(module), layers, (), (), 10**6, 10**5)


def machine(instructions=("avx2",), packages=PACKAGES):
    return Hardware(HardwareIdentity("linux", "x86_64", "toy", instructions, 2, 1 << 33, (), "3.11", packages))


@pytest.mark.parametrize("instruction", ["avx512_bf16", "amx_bf16"])
def test_takes_bf16_only_where_the_processor_has_it(instruction):
    declared = catalog.get("quantize.openvino_bf16")
    assert declared.requires(declared.params(), machine((instruction,)), None) == ()
    (lack,) = declared.requires(declared.params(), machine(), None)
    assert instruction in lack.cause
    assert lack.remedy


@pytest.mark.parametrize("name", ["bf16", "ptq", "weights"])
def test_says_which_extra_brings_what_is_missing(name):
    declared = catalog.get(f"quantize.openvino_{name}")
    unmet = declared.requires(declared.params(), machine(("avx512_bf16",), {}), None)
    assert {lack.remedy for lack in unmet} == {"pip install 'titrant[openvino]'"}
    assert {lack.cause for lack in unmet} >= {"openvino is not installed"}


def test_refuses_what_it_has_nothing_to_do_with(tmp_path):
    relu = exported(nn.ReLU(), (4,), tmp_path)
    empty = ModelFacts("factory", "", 0, 0, 0, (Layer("relu", "ReLU", 0, 0),), (), ())
    for name, inputs in (("ptq", {"calibration": rows(np.zeros((4, 4), np.float32))}), ("weights", {})):
        declared = catalog.get(f"quantize.openvino_{name}")
        assert [lack.remedy for lack in declared.requires(declared.params(), machine(), empty)]
        scratch = tmp_path / name
        scratch.mkdir()
        with pytest.raises(PreconditionError, match="X210"):
            apply(f"quantize.openvino_{name}", {"model": relu, **inputs}, scratch=scratch)


@pytest.mark.parametrize("name", ["bf16", "ptq", "weights"])
def test_refuses_what_is_quantized_already(name):
    held = Layer("q", "DequantizeLinear", 16, 16, (4, 4), dtype="int8")
    facts = ModelFacts("onnx", "", 16, 0, 16, (held,), (), ())
    declared = catalog.get(f"quantize.openvino_{name}")
    (lack,) = declared.requires(declared.params(), machine(("avx512_bf16",)), facts)
    assert lack.cause == "1 of its nodes with weights are quantized already (DequantizeLinear)"


def test_refuses_to_quantize_a_loop_and_runs_it_in_bf16():
    layers = (Layer("bag", "EmbeddingBag", 40, 160, (10, 4), dtype="float32"),)
    facts = ModelFacts("factory", "", 40, 40, 160, layers, (), ())
    for name in ("ptq", "weights"):
        declared = catalog.get(f"quantize.openvino_{name}")
        (lack,) = declared.requires(declared.params(), machine(), facts)
        assert lack.cause == "bag (EmbeddingBag) becomes a loop in the graph, which NNCF cannot follow"
    declared = catalog.get("quantize.openvino_bf16")
    assert declared.requires(declared.params(), machine(("avx512_bf16",)), facts) == ()
    assert declared.method.chooses(layers[0])


def test_has_four_bits_for_products_alone(source):
    declared = catalog.get("quantize.openvino_weights")
    convolution = Layer("c", "Conv2d", 144, 576, (16, 1, 3, 3), dtype="float32")
    model = ModelFacts("factory", "", 144, 144, 576, (convolution,), (), ())
    assert [lack.remedy for lack in declared.requires(declared.params(bits=4), machine(), model)] == ["write bits: 8"]
    assert declared.requires(declared.params(bits=8), machine(), model) == ()


def test_refuses_to_calibrate_without_rows(source, tmp_path):
    given = {"model": source, "calibration": rows(count=0)}
    with pytest.raises(PreconditionError, match="X217"):
        apply("quantize.openvino_ptq", given, scratch=tmp_path)


@pytest.mark.parametrize(
    "case",
    [
        ("nncf.ValidationError('there is no sample')", "there is no sample", ""),
        ("ValueError('of a row: 41.5')", "ValueError in nncf/tool.py:1", "of a row: 41.5"),
    ],
    ids=["own", "called"],
)
def test_says_what_nncf_says_and_only_where_what_it_calls_fails(case, source, tmp_path, monkeypatch):
    import nncf

    error, message, said = case
    failing = compile(f"def quantize(*_, **__): raise {error}", str(tmp_path / "nncf" / "tool.py"), "exec")
    exec(failing, scope := {"nncf": nncf})
    monkeypatch.setattr(nncf, "quantize", scope["quantize"])
    with pytest.raises(StepError) as caught:
        apply("quantize.openvino_ptq", {"model": source, "calibration": rows()}, scratch=tmp_path)
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.message, diagnostic.said) == (f"NNCF cannot quantize this graph: {message}", said)


def test_names_the_branch_that_nncf_does_not_follow(tmp_path):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def product(name):
        weight = numpy_helper.from_array(np.eye(64, 3, dtype=np.float32), f"{name}.weight")
        answer = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3])
        return helper.make_graph([helper.make_node("MatMul", ["h", weight.name], [name])], name, [], [answer], [weight])

    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["asked"]),
        helper.make_node("If", ["asked"], ["y"], then_branch=product("then"), else_branch=product("else")),
    ]  # fmt: skip
    held = [numpy_helper.from_array(np.eye(64, dtype=np.float32), "w"), numpy_helper.from_array(np.float32(0), "zero")]
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name, size in (("x", 64), ("y", 3))
    )
    net = helper.make_graph(nodes, "net", [x], [y], held)
    onnx.save(helper.make_model(net, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "net.onnx")
    given = {"model": OnnxModel(tmp_path / "net.onnx"), "calibration": rows(np.zeros((64, 64), np.float32))}
    with pytest.raises(StepError) as caught:
        apply("quantize.openvino_ptq", given, scratch=tmp_path / "made")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.help == "the graph holds If, which NNCF may not follow: use a method of onnxruntime"


def test_lets_the_engine_choose_for_depthwise_layers(module):
    chooses = {name: catalog.get(f"quantize.openvino_{name}").method.chooses for name in ("ptq", "weights", "bf16")}
    layers = {layer.name: layer for layer in facts(module).layers if layer.weight_bytes}
    chosen = {name: [layer for layer in NAMES if asks(layers[layer])] for name, asks in chooses.items()}
    assert chosen == {"ptq": ["depthwise"], "weights": ["convolution.0", "depthwise"], "bf16": []}


def test_counts_both_matrices_of_an_lstm_in_eight_bits():
    def size(inputs):
        parameters = 256 * (inputs + 64 + 2)
        layer = Layer("seen", "LSTM", parameters, 4 * parameters, (256, 64))
        return int8_bytes(ModelFacts("torch", "", parameters, 0, 4 * parameters, (layer,), (), ()), (), ranges=True)

    assert size(80) - size(40) == 256 * 40
