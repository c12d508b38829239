"""ONNX graphs whose channels are far from alike, of whatever an equalization has to follow or to leave."""

import numpy as np
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253 - its very subject

PASSED = (
    "Relu", "LeakyRelu", "PRelu", "Identity", "MaxPool", "AveragePool", "Scale", "Gate", "Concat", "Concat_input",
    "Slice", "Split", "Pad", "Transposed", "Abs", "Add_constant", "Resize", "Relu_as_Clip", "Max",
)  # fmt: skip
LEAVING = ("Relu6", "HardSwish", "Sigmoid", "Output", "Shared", "Shuffle")
LAYERS = ("Conv", "Pointwise", "Depthwise", "Grouped", "ConvTranspose", "Normalized", "Residual", "Residual_relu")
ENDS = ("Flatten", "Reshape", "Mean", "GlobalAveragePool", "Tokens")
SIDE = 6


class Net:
    """A graph that is written node by node: (batch, 3, 6, 6) → (batch, 5)."""

    def __init__(self, seed, *, unequal=True):
        self.random = np.random.default_rng(seed)
        self.nodes, self.constants, self.outputs = [], [], []
        self.unequal = unequal
        self.shared = None

    def constant(self, values, name=""):
        name = name or f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def weight(self, *shape, inputs=1):
        """Draw a weight whose channels are of different sizes, a few of them zero."""
        values = self.random.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        if self.unequal:
            for axis in (0, inputs):
                sizes = np.exp2(self.random.integers(-6, 7, shape[axis]) * (self.random.random(shape[axis]) < 0.3))
                sizes = sizes * (self.random.random(shape[axis]) > 0.08)
                values = values * sizes.reshape([-1 if at == axis else 1 for at in range(len(shape))])
        return self.constant(values.astype(np.float32))

    def vector(self, size, low=-1.0):
        return self.constant(self.random.uniform(low, 1, size).astype(np.float32))

    def node(self, kind, inputs, outputs=1, **settings):
        made = [f"t{len(self.nodes)}_{place}" for place in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, made, f"{kind}_{len(self.nodes)}", **settings))
        return made[0] if outputs == 1 else made

    def conv(self, x, width, made, kernel=3, groups=1):
        weight = self.weight(made, width // groups, kernel, kernel)
        return self.node("Conv", [x, weight, self.vector(made)], group=groups, pads=[kernel // 2] * 4)

    def layer(self, kind, x, width):
        """Add a layer; returns its answer and how many channels that has."""
        if kind in ("Residual", "Residual_relu"):
            inner = self.node("Relu", [self.conv(x, width, 8, 1)])
            total = self.node("Add", [x, self.conv(inner, 8, width)])
            return (self.node("Relu", [total]) if kind == "Residual_relu" else total), width
        if kind == "Depthwise":
            return self.conv(x, width, width, groups=width), width
        if kind == "Grouped":
            return self.conv(x, width, 4 * 2, groups=2 if width % 2 == 0 else 1), 8
        if kind == "ConvTranspose":
            return self.node("ConvTranspose", [x, self.weight(width, 6, 1, 1), self.vector(6)]), 6
        if kind == "Normalized":
            held = [self.vector(width), self.vector(width), self.vector(width), self.vector(width, low=0.1)]
            return self.node("BatchNormalization", [self.node("Relu", [x]), *held]), width
        return self.conv(x, width, 8, 1 if kind == "Pointwise" else 3), 8

    def between(self, kind, x, width):
        """Add what is between layers; returns its answer and how many channels that has."""
        integers = lambda *numbers: self.constant(np.array(numbers, np.int64))  # noqa: E731
        scalar = lambda number: self.constant(np.array(number, np.float32))  # noqa: E731
        if kind == "PRelu":
            return self.node("PRelu", [x, self.constant(self.random.random((width, 1, 1)).astype(np.float32))]), width
        if kind in ("MaxPool", "AveragePool"):
            return self.node(kind, [x], kernel_shape=[3, 3], pads=[1] * 4), width
        if kind == "Scale":
            return self.node("Mul", [x, self.constant(self.random.random((1, width, 1, 1)).astype(np.float32))]), width
        if kind == "Gate":
            gate = self.node("Sigmoid", [self.conv(self.node("GlobalAveragePool", [x]), width, width, 1)])
            return self.node("Mul", [x, gate]), width
        if kind == "Concat":
            return self.node("Concat", [x, self.conv(x, width, 4)], axis=1), width + 4
        if kind == "Concat_input":
            return self.node("Concat", ["x", x], axis=1), width + 3
        if kind == "Slice":
            return self.node("Slice", [x, integers(1), integers(width), integers(1)]), width - 1
        if kind == "Split":
            first, second = self.node("Split", [x, integers(1, width - 1)], 2, axis=1)
            return self.node("Concat", [self.conv(first, 1, 3), second], axis=1), width + 2
        if kind == "Pad":
            return self.node("Pad", [x, integers(0, 1, 0, 0, 0, 2, 0, 0)]), width + 3
        if kind == "Transposed":
            moved = self.node("Relu", [self.node("Transpose", [x], perm=[0, 2, 3, 1])])
            return self.node("Transpose", [moved], perm=[0, 3, 1, 2]), width
        if kind == "Add_constant":
            return self.node("Add", [x, scalar(0.5)]), width
        if kind == "Resize":
            return self.node("Resize", [x, "", self.constant(np.array([1, 1, 1, 1], np.float32))]), width
        if kind == "Relu_as_Clip":
            return self.node("Clip", [x, scalar(0)]), width
        if kind == "Max":
            return self.node("Max", [x, self.conv(x, width, width)]), width
        if kind == "Relu6":
            return self.node("Clip", [x, scalar(0), scalar(6)]), width
        if kind == "Output":
            self.outputs.append(x)
            return x, width
        if kind == "Shared":
            self.shared = self.shared or self.weight(8, 8, 1, 1)
            first = self.node("Relu", [self.conv(x, width, 8)])
            return self.node("Conv", [self.node("Relu", [self.node("Conv", [first, self.shared])]), self.shared]), 8
        if kind == "Shuffle":
            side = integers(0, 2, width // 2, SIDE, SIDE)
            shuffled = self.node("Transpose", [self.node("Reshape", [x, side])], perm=[0, 2, 1, 3, 4])
            return self.node("Reshape", [shuffled, integers(0, width // 2 * 2, SIDE, SIDE)]), width
        return self.node(kind, [x]), width

    def end(self, kind, x, width):
        """Add the head."""
        if kind in ("Flatten", "Reshape"):
            shape = self.constant(np.array([0, -1], np.int64))
            x = self.node("Flatten", [x]) if kind == "Flatten" else self.node("Reshape", [x, shape])
            weight = self.weight(5, width * SIDE * SIDE)
            return self.node("Gemm", [x, weight, self.vector(5)], transB=1)
        if kind == "Tokens":
            x = self.node("Reshape", [x, self.constant(np.array([0, width, SIDE * SIDE], np.int64))])
            x = self.node("Transpose", [x], perm=[0, 2, 1])
            x = self.node("Add", [self.node("MatMul", [x, self.weight(width, 5)]), self.vector(5)])
            return self.node("ReduceMean", [x], axes=[1], keepdims=0)
        x = (
            self.node("ReduceMean", [x], axes=[2, 3], keepdims=0)
            if kind == "Mean"
            else self.node("Flatten", [self.node("GlobalAveragePool", [x])])
        )
        return self.node("Gemm", [x, self.weight(width, 5), self.vector(5)])

    def model(self, answer):
        self.nodes.append(helper.make_node("Identity", [answer], ["answer"], "answer_of"))
        given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("answer", *self.outputs)]
        graph = helper.make_graph(self.nodes, "net", [given], outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@st.composite
def unequal(draw, between=(*PASSED, *LEAVING), layers=LAYERS):
    """Draw the parts of a net: (seed, [(layer, between)], end)."""
    parts = st.tuples(st.sampled_from(layers), st.sampled_from(between))
    return draw(st.integers(0, 999)), draw(st.lists(parts, min_size=1, max_size=5)), draw(st.sampled_from(ENDS))


def write(seed, parts, end, *, unequal=True):
    """Write a net of some parts."""
    net = Net(seed, unequal=unequal)
    x, width = net.node("Relu", [net.conv("x", 3, 8)]), 8
    for layer, between in parts:
        x, width = net.layer(layer, x, width)
        x, width = net.between(between, x, width)
    return net.model(net.end(end, x, width))
