"""Ten small networks, each written as one exporter writes it: inspected rightly, and quantized by both methods."""

import numpy as np
import onnx  # noqa: TID253 - its very subject
import onnx_graphs
import pytest
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253 - its very subject

from titrant.runtime.api import apply
from titrant.runtime.data.parameters import File
from titrant.runtime.inspect.onnx import describe_onnx
from titrant.runtime.operators.model.load_onnx import ModelLoadOnnxParams, load_onnx
from titrant.runtime.values import Rows

ROWS = onnx_graphs.ROWS
STYLES = {}


class Graph:
    """Gathers what a style writes."""

    def __init__(self, seed=0):
        self.random = np.random.default_rng(seed)
        self.nodes, self.held, self.notes = [], [], []

    def node(self, kind, inputs, outputs, name=None, **settings):
        """Add a node from space-separated names."""
        split = "|" if "|" in inputs + outputs else " "
        title = outputs if name is None else name
        self.nodes.append(helper.make_node(kind, inputs.split(split), outputs.split(split), title, **settings))

    def weight(self, name, *shape):
        values = self.random.normal(size=shape) / np.sqrt(max(1, np.prod(shape[1:])))
        self.held.append(numpy_helper.from_array(values.astype(np.float32), name))

    def numbers(self, name, values, dtype=np.int64):
        self.held.append(numpy_helper.from_array(np.array(values, dtype), name))

    def model(self, given, answer, opset=17, *, domains=(), functions=(), ir_version=8):
        name, shape, element = given
        ends = helper.make_tensor_value_info(name, element, ["batch", *shape])
        outs = [helper.make_tensor_value_info(key, TensorProto.FLOAT, ["batch", *sizes]) for key, sizes in answer]
        graph = helper.make_graph(self.nodes, "graph", [ends], outs, self.held, value_info=self.notes)
        opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(*domain) for domain in domains)]
        return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=ir_version)


def style(*, layers, static=None, dynamic):
    """Register a style: its layers with weights as inspected, and how many of them each method takes."""

    def register(make):
        STYLES[make.__name__] = (make, layers, {"static": static or layers, "dynamic": dynamic})
        return make

    return register


@style(layers=3, dynamic=1)
def tf2onnx(graph):
    """NHWC in, transposed around each convolution, names with slashes and colons, biases as Add."""
    graph.weight("model/conv/kernel:0", 3, 3, 3, 8)
    graph.node("Transpose", "image:0", "t0", perm=[0, 3, 1, 2])
    graph.node("Transpose", "model/conv/kernel:0", "k", perm=[3, 2, 0, 1])
    graph.node("Conv", "t0 k", "c0", "model/conv/Conv2D", pads=[1] * 4)
    graph.weight("bias", 1, 8, 1, 1)
    graph.node("Add", "c0 bias", "c1", "model/conv/BiasAdd")
    graph.node("Relu", "c1", "c2", "model/conv/Relu")
    graph.weight("depthwise", 8, 1, 3, 3)
    graph.node("Conv", "c2 depthwise", "c3", "model/depthwise", group=8, pads=[1] * 4)
    graph.node("Transpose", "c3", "t1", perm=[0, 2, 3, 1])
    graph.node("ReduceMean", "t1", "m", axes=[1, 2], keepdims=0)
    graph.weight("dense/kernel:0", 8, 3)
    graph.node("MatMul", "m dense/kernel:0", "d", "model/dense/MatMul")
    graph.weight("dense/bias:0", 3)
    graph.node("Add", "d dense/bias:0", "Identity:0", "model/dense/BiasAdd")
    return graph.model(("image:0", (6, 6, 3), TensorProto.FLOAT), [("Identity:0", (3,))], 13)


@style(layers=2, dynamic=2)
def jax(graph):
    """Products as Einsum-free MatMul with (1, N) biases, a maximum with 0 for the activation, constants as nodes."""
    graph.weight("p0", 16, 24)
    graph.node("MatMul", "x p0", "v0", "")
    graph.weight("p1", 1, 24)
    graph.node("Add", "v0 p1", "v1", "")
    graph.nodes.append(helper.make_node("Constant", [], ["zero"], value=numpy_helper.from_array(np.float32(0), "zero")))
    graph.node("Max", "v1 zero", "v2", "")
    graph.weight("p2", 24, 3)
    graph.node("MatMul", "v2 p2", "v3", "")
    graph.weight("p3", 1, 3)
    graph.node("Add", "v3 p3", "y", "")
    return graph.model(("x", (16,), TensorProto.FLOAT), [("y", (3,))], 18)


@style(layers=2, dynamic=1)
def paddle(graph):
    """Weights held by Constant nodes, batch norm apart, a Reshape with the batch as 0, Identity at the end."""
    weight = graph.random.normal(size=(8, 3, 3, 3)).astype(np.float32) / 5
    graph.nodes.append(helper.make_node("Constant", [], ["conv2d_0.w_0"], value=numpy_helper.from_array(weight, "w")))
    graph.node("Conv", "x conv2d_0.w_0", "conv2d_0.tmp_0", "Conv.0", strides=[2, 2])
    for name in ("w_1", "b_1", "mean"):
        graph.weight(f"batch_norm2d_0.{name}", 8)
    graph.numbers("batch_norm2d_0.var", np.linspace(0.5, 2, 8), np.float32)
    graph.node("BatchNormalization", "conv2d_0.tmp_0 batch_norm2d_0.w_1 batch_norm2d_0.b_1 batch_norm2d_0.mean "
               "batch_norm2d_0.var", "bn", "BatchNormalization.0")  # fmt: skip
    graph.node("HardSwish", "bn", "act", "HardSwish.0")
    graph.numbers("shape", [0, -1])
    graph.node("Reshape", "act shape", "flat", "Reshape.0")
    graph.weight("linear_0.w_0", 72, 3)
    graph.node("MatMul", "flat linear_0.w_0", "linear_0.tmp_0", "MatMul.0")
    graph.weight("linear_0.b_0", 3)
    graph.node("Add", "linear_0.tmp_0 linear_0.b_0", "linear_0.tmp_1", "Add.0")
    graph.node("Identity", "linear_0.tmp_1", "fetch", "Identity.0")
    return graph.model(("x", (3, 8, 8), TensorProto.FLOAT), [("fetch", (3,))], 14)


@style(layers=2, dynamic=2)
def skl2onnx(graph):
    """A Scaler of ai.onnx.ml in front, biases of (1, N), and notes of shapes; two outputs would be label and scores."""
    graph.node("Scaler", "X", "variable", "Scaler", domain="ai.onnx.ml", offset=[0.5] * 16, scale=[2.0] * 16)
    graph.weight("coefficient", 16, 12)
    graph.weight("intercepts", 1, 12)
    graph.weight("coefficient1", 12, 3)
    graph.weight("intercepts1", 1, 3)
    graph.node("MatMul", "variable coefficient", "mul_result")
    graph.node("Add", "mul_result intercepts", "add_result")
    graph.node("Relu", "add_result", "next_activations")
    graph.node("MatMul", "next_activations coefficient1", "mul_result1")
    graph.node("Add", "mul_result1 intercepts1", "add_result1")
    graph.node("Softmax", "add_result1", "probabilities", axis=1)
    graph.notes = [helper.make_tensor_value_info("variable", TensorProto.FLOAT, [None, 16])]
    return graph.model(("X", (16,), TensorProto.FLOAT), [("probabilities", (3,))], 17, domains=[("ai.onnx.ml", 1)])


@style(layers=2, dynamic=1)
def coremltools(graph):
    """A normalization as Mul and Add in front, symmetric padding as a Pad node, an inner product as Conv 1 × 1."""
    graph.numbers("scale", [[[[0.5]]]], np.float32)
    graph.numbers("shift", np.full((1, 3, 1, 1), -0.25), np.float32)
    graph.node("Mul", "image scale", "image_scaled_")
    graph.node("Add", "image_scaled_ shift", "image_biased_")
    graph.numbers("pads", [0, 0, 1, 1, 0, 0, 1, 1])
    graph.node("Pad", "image_biased_ pads", "image_padded_")
    graph.weight("conv_W", 8, 3, 3, 3)
    graph.weight("conv_B", 8)
    graph.node("Conv", "image_padded_ conv_W conv_B", "conv_Y", "conv")
    graph.node("LeakyRelu", "conv_Y", "relu", alpha=0.1)
    graph.node("GlobalAveragePool", "relu", "pool")
    graph.node("Flatten", "pool", "flat", axis=-3)
    graph.weight("fc_W", 3, 8)
    graph.weight("fc_B", 3)
    graph.node("Gemm", "flat fc_W fc_B", "classLabelProbs", "fc", transB=1, alpha=1.0, beta=1.0)
    return graph.model(("image", (3, 6, 6), TensorProto.FLOAT), [("classLabelProbs", (3,))], 11, ir_version=5)


@style(layers=4, dynamic=4)
def torch_dynamo(graph):
    """Functions of the file's own for layers, an embedding, an attention mask by Where, IR version 10."""
    graph.weight("embed.weight", 50, 16)
    graph.node("Gather", "embed.weight input_ids", "embedding", "node_embedding")
    for name in ("fc1", "fc2"):
        graph.weight(f"{name}.weight", 16, 16)
        graph.weight(f"{name}.bias", 16)
    graph.weight("head.weight", 3, 16)
    opset = [helper.make_opsetid("", 18)]
    linear = helper.make_function(
        "pkg.torch", "Linear", ["x", "w", "b"], ["out"],
        [helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]), helper.make_node("MatMul", ["x", "t"], ["m"]),
         helper.make_node("Add", ["m", "b"], ["out"])], opset,
    )  # fmt: skip
    graph.node("Linear", "embedding fc1.weight fc1.bias", "linear", "node_linear", domain="pkg.torch")
    graph.node("Tanh", "linear", "tanh")
    graph.node("Linear", "tanh fc2.weight fc2.bias", "linear_1", "node_linear_1", domain="pkg.torch")
    graph.numbers("axes", [1])
    graph.node("ReduceMean", "linear_1 axes", "mean", keepdims=0)
    graph.node("Gemm", "mean head.weight", "logits", "node_head", transB=1)
    given = ("input_ids", (7,), TensorProto.INT64)
    return graph.model(given, [("logits", (3,))], 18, domains=[("pkg.torch", 1)], functions=[linear], ir_version=10)


@style(layers=3, dynamic=1)
def torch_legacy(graph):
    """Traced with one row: its batch in a Reshape, numbered tensors, one bias of two convolutions, If left inside."""
    graph.weight("conv1.weight", 4, 2, 3, 3)
    graph.weight("conv2.weight", 4, 4, 3, 3)
    graph.weight("bias", 4)
    graph.node("Conv", "input.1 conv1.weight bias", "10", "Conv_0", pads=[1] * 4)
    graph.node("Relu", "10", "11", "Relu_1")
    graph.node("Conv", "11 conv2.weight bias", "12", "Conv_2", pads=[1] * 4)
    graph.node("Add", "12 11", "13", "Add_3")
    graph.node("MaxPool", "13", "14", "MaxPool_4", kernel_shape=[2, 2], strides=[2, 2])
    graph.numbers("15", [1, 36])
    graph.node("Reshape", "14 15", "16", "Reshape_5")
    graph.weight("fc.weight", 3, 36)
    graph.weight("fc.bias", 3)
    graph.node("Gemm", "16 fc.weight fc.bias", "17", "Gemm_6", transB=1)
    return graph.model(("input.1", (2, 6, 6), TensorProto.FLOAT), [("17", (3,))], 9, ir_version=4)


@style(layers=3, static=2, dynamic=2)
def by_hand(graph):
    """Tensors named as the tools name theirs, two heads of which one is read on, one weight in two layers."""
    graph.weight("x_scale", 16, 16)
    graph.node("MatMul", "x|x_scale", "x_quantized", "same")
    graph.node("Relu", "x_quantized", "x_zero_point", "")
    graph.node("MatMul", "x_zero_point|x_scale", "h", "same")
    graph.weight("h_scale", 16, 3)
    graph.node("MatMul", "h|h_scale", "y", "")
    return graph.model(("x", (16,), TensorProto.FLOAT), [("y", (3,)), ("x_quantized", (16,))], 17)


@style(layers=2, dynamic=2)
def control_flow(graph):
    """A product whose weight a branch reads as well, and another within the branches."""

    def branch(name, kind):
        node = helper.make_node(kind, ["m", "w2"], [f"{name}_out"], f"{name}/{kind}")
        out = helper.make_empty_tensor_value_info(f"{name}_out")
        return helper.make_graph([node], name, [], [out])

    graph.weight("w", 16, 16)
    graph.weight("w2", 16, 16)
    graph.weight("v", 16, 3)
    graph.node("MatMul", "x w", "m")
    graph.numbers("zero", 0, np.float32)
    graph.node("ReduceMax", "m", "top", keepdims=0)
    graph.node("Greater", "top zero", "flag")
    graph.node("If", "flag", "chosen", then_branch=branch("then", "MatMul"), else_branch=branch("else", "MatMul"))
    graph.node("Relu", "m", "r")
    graph.node("Add", "chosen r", "both")
    graph.node("Tanh", "both", "t")
    graph.node("MatMul", "t v", "y")
    return graph.model(("x", (16,), TensorProto.FLOAT), [("y", (3,))], 17)


@style(layers=2, dynamic=1)
def upsampling(graph):
    """A decoder: grouped ConvTranspose, an old Upsample-free Resize by sizes, clipped at 6 with numbers in nodes."""
    graph.weight("up.weight", 4, 2, 2, 2)
    graph.weight("up.bias", 4)
    graph.node("ConvTranspose", "x up.weight up.bias", "u", "up", group=2, strides=[2, 2])
    for name, value in (("low", 0.0), ("high", 6.0)):
        held = numpy_helper.from_array(np.float32(value), name)
        graph.nodes.append(helper.make_node("Constant", [], [name], value=held))
    graph.node("Clip", "u low high", "c")
    graph.numbers("scales", [1, 1, 0.5, 0.5], np.float32)
    graph.node("Resize", "c||scales", "s", "resize", mode="nearest")
    graph.node("Flatten", "s", "f")
    graph.weight("head", 64, 3)
    graph.node("MatMul", "f head", "y")
    return graph.model(("x", (4, 4, 4), TensorProto.FLOAT), [("y", (3,))], 13)


def rows_of(model):
    value = model.graph.input[0]
    shape = [size.dim_value for size in value.type.tensor_type.shape.dim[1:]]
    random = np.random.default_rng(5)
    whole = value.type.tensor_type.elem_type == TensorProto.INT64
    array = random.integers(0, 50, (ROWS, *shape)) if whole else random.normal(size=(ROWS, *shape)).astype(np.float32)
    return {value.name: array}


@pytest.mark.parametrize("method", ["static", "dynamic"])
@pytest.mark.parametrize("name", sorted(STYLES))
def test_quantizes_what_the_exporter_writes(name, method, tmp_path):
    make, layers, taken = STYLES[name]
    model = make(Graph())
    onnx.checker.check_model(model)
    file = tmp_path / "model.onnx"
    onnx.save(model, file)
    facts = describe_onnx(ModelLoadOnnxParams(onnx=File(path=str(file), digest="d")), None)
    products = ("Conv", "ConvTranspose", "MatMul", "Gemm", "Gather")
    assert sum(layer.type in products and len(layer.weight_shape) > 1 for layer in facts.layers) == layers
    (tmp_path / "loaded").mkdir()
    loaded = load_onnx(str(file), tmp_path / "loaded")
    rows = rows_of(model)
    before = onnx_graphs.answers(loaded.path, rows, batch=1)
    np.testing.assert_allclose(onnx_graphs.answers(model, rows, batch=1), before, rtol=1e-5, atol=1e-6)
    inputs = {"model": loaded}
    if method == "static":
        numbers = np.arange(ROWS)
        inputs["calibration"] = Rows("calibration", rows, None, numbers, numbers.astype(np.uint64), ("a", "b"), 1)
    (tmp_path / "scratch").mkdir()
    done = apply(f"quantize.ort_{method}", inputs, scratch=tmp_path / "scratch")
    for place in range(len(model.graph.output)):
        before = onnx_graphs.answers(loaded.path, rows, batch=1, output=place)
        after = onnx_graphs.answers(done.outputs["model"].path, rows, batch=1, output=place)
        assert np.abs(after - before).max() < 0.06 * np.abs(before).max()
    assert onnx_graphs.integers(done.outputs["model"].path) == taken[method]
