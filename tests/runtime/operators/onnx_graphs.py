"""ONNX graphs as exporters write them: one layer, written in any of their ways, and a plain head after it."""

from dataclasses import dataclass, field

import numpy as np
import onnx  # noqa: TID253 - its very subject
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253 - its very subject

ROWS = 48
# From the oldest that onnxruntime still runs to the newest that it knows.
OPSETS = (7, 8, 9, 10, 11, 12, 13, 15, 17, 18, 20, 21, 23, 25, 26)
OPERATORS = ("Conv", "ConvTranspose", "MatMul", "Gemm", "Gather")
CONTAINERS = ("initializer", "Constant", "Transpose", "Cast", "Identity", "Reshape", "Squeeze", "listed")
# The tensors: input, layer's output, weight, bias, activation, and the head's weight.
NAMES = {
    "plain": ("x", "a", "w", "b", "r", "hw"),
    "slashes": ("input.1", "/layer/Op_output_0", "layer.weight", "layer.bias", "/Relu_output_0", "onnx::MatMul_12"),
    "tensorflow": ("serving_default_x:0", "StatefulPartitionedCall/dense/MatMul;dense/BiasAdd", "dense/kernel:0",
                   "dense/bias:0", "Relu:0", "head/kernel:0"),
    "numbers": ("0", "1", "2", "3", "4", "5"),
    "scales": ("x", "x_scale", "x_zero_point", "x_quantized", "x_scale_quantized", "x_QuantizeLinear_Output"),
    "weights": ("w", "w_scale", "w_quantized", "w_zero_point", "w_DequantizeLinear_Output", "w_scale_scale"),
    "reserved": ("fixed_zero", "fixed_zero_zp", "w_transposed", "w", "fixed_zero_product", "w_flat"),
    "unicode": ("eingäbe", "größe ü", "重み", "b'i\"as", "a b", "🙂"),
}  # fmt: skip


@dataclass
class Written:
    """A graph, rows for it, and what was chosen; `layer` is the name of the node that was written."""

    model: onnx.ModelProto = field(repr=False)
    rows: dict = field(repr=False)
    layer: str
    chosen: dict = field(default_factory=dict)


@st.composite
def written(draw, operators=OPERATORS, dtypes=("float32",)):
    """Draw a graph with one layer of each choice of operator, shape, container, name, opset and notes."""
    chosen = {
        "operator": draw(st.sampled_from(operators)),
        "container": draw(st.sampled_from(CONTAINERS)),
        "names": draw(st.sampled_from(sorted(NAMES))),
        "opset": draw(st.sampled_from(OPSETS)),
        "dtype": draw(st.sampled_from(dtypes)),
        "node_names": draw(st.sampled_from(("own", "none", "same"))),
        "notes": draw(st.sampled_from(("none", "wrong"))),
        "seed": draw(st.integers(0, 3)),
    }
    chosen |= draw(SHAPES[chosen["operator"]])
    return write(chosen)


def write(chosen):
    """Write the graph of some choices."""
    maker = _Maker(chosen)
    maker.layer()
    maker.head()
    return maker.done()


SHAPES = {
    "Conv": st.fixed_dictionaries(
        {"group": st.sampled_from((1, 2, 4)), "rank": st.sampled_from((1, 2)), "bias": st.sampled_from(("", "C"))}
    ),
    "ConvTranspose": st.fixed_dictionaries(
        {"group": st.sampled_from((1, 2, 4)), "rank": st.sampled_from((1, 2)), "bias": st.sampled_from(("", "C"))}
    ),
    "MatMul": st.fixed_dictionaries(
        {
            "weight": st.sampled_from(("matrix", "vector", "one", "heads", "left")),
            "bias": st.sampled_from(("", "C", "1,C", "1,1", "scalar", "1")),
        }
    ),
    "Gemm": st.fixed_dictionaries(
        {
            "transB": st.sampled_from((0, 1)),
            "alpha": st.sampled_from((1.0, 0.5)),
            "beta": st.sampled_from((1.0, 2.0)),
            "bias": st.sampled_from(("", "C", "1,C", "1", "1,1", "scalar", "B,C", "B,1")),
        }
    ),
    "Gather": st.fixed_dictionaries({"bias": st.just(""), "axis": st.sampled_from((0,))}),
}
_BIAS = {"C": (6,), "1,C": (1, 6), "1": (1,), "1,1": (1, 1), "scalar": (), "B,C": (4, 6),
         "B,1": (4, 1)}  # fmt: skip
_BATCH = 4


class _Maker:
    """Gathers nodes and constants while a graph is written."""

    def __init__(self, chosen):
        self.chosen, self.random = chosen, np.random.default_rng(chosen["seed"])
        self.nodes, self.held, self.listed = [], [], []
        self.x, self.a, self.w, self.b, self.r, self.hw = NAMES[chosen["names"]]
        self.real = np.dtype(chosen["dtype"])
        self.element = helper.np_dtype_to_tensor_dtype(self.real)
        self.made = 0

    def add(self, kind, inputs, outputs, **settings):
        name = {"own": f"{kind.lower()}{len(self.nodes)}", "none": "", "same": "node"}[self.chosen["node_names"]]
        self.nodes.append(helper.make_node(kind, inputs, outputs, name, **settings))

    def numbers(self, *shape):
        return (self.random.normal(size=shape) / np.sqrt(max(1, np.prod(shape[:-1])))).astype(self.real)

    def hold(self, name, values, container="initializer"):
        """Write a constant as the container says; 8-bit floats and others are not tried."""
        before = f"{name} held"
        if container == "Constant":
            self.add("Constant", [], [name], value=numpy_helper.from_array(values, name))
        elif container == "Transpose" and values.ndim > 1:
            turned = np.ascontiguousarray(values.transpose())
            self.held.append(numpy_helper.from_array(turned, before))
            self.add("Transpose", [before], [name], perm=list(range(values.ndim))[::-1])
        elif container == "Cast":
            other = np.float16 if self.real == np.float32 else np.float32
            self.held.append(numpy_helper.from_array(values.astype(np.float16).astype(other), before))
            self.add("Cast", [before], [name], to=self.element)
        elif container == "Identity":
            self.held.append(numpy_helper.from_array(values, before))
            self.add("Identity", [before], [name])
        elif container == "Reshape":
            self.held.append(numpy_helper.from_array(values.reshape(-1), before))
            self.held.append(numpy_helper.from_array(np.array(values.shape, np.int64), f"{name} shape"))
            self.add("Reshape", [before, f"{name} shape"], [name])
        elif container == "Squeeze":
            self.held.append(numpy_helper.from_array(values[None], before))
            if self.chosen["opset"] < 13:
                self.add("Squeeze", [before], [name], axes=[0])
            else:
                self.held.append(numpy_helper.from_array(np.array([0]), f"{name} axes"))
                self.add("Squeeze", [before, f"{name} axes"], [name])
        else:
            self.held.append(numpy_helper.from_array(values, name))
            self.listed += [name] * (self.chosen["container"] == "listed")

    def layer(self):
        chosen = self.chosen
        getattr(self, chosen["operator"].lower())(chosen["container"])

    def conv(self, container):
        group, rank = self.chosen["group"], self.chosen["rank"]
        sides = (3,) * rank
        transposed = self.chosen["operator"] == "ConvTranspose"
        shape = (4, 8 // group, *sides) if transposed else (8, 4 // group, *sides)
        self.inputs = self.random.normal(size=(ROWS, 4, *(6,) * rank)).astype(self.real)
        self.hold(self.w, self.numbers(*shape), container)
        biased = [self.b] * bool(self.chosen["bias"])
        if biased:
            self.hold(self.b, self.numbers(8))
        self.add(self.chosen["operator"], [self.x, self.w, *biased], [self.a], group=group, kernel_shape=sides)
        pixels = 8 if transposed else 4
        self.width = 8 * pixels**rank

    convtranspose = conv

    def matmul(self, container):
        kind = self.chosen["weight"]
        lead = {"matrix": (), "vector": (), "one": (1, 5), "heads": (3, 5), "left": ()}[kind]
        self.inputs = self.random.normal(size=(ROWS, *lead, 10)).astype(self.real)
        shape = {"matrix": (10, 6), "vector": (10,), "one": (1, 10, 6), "heads": (3, 10, 6), "left": (3, 7)}[kind]
        if kind == "left":
            self.inputs = self.random.normal(size=(ROWS, 7, 6)).astype(self.real)
        self.hold(self.w, self.numbers(*shape), container)
        product = f"{self.a} product" if self.chosen["bias"] else self.a
        self.add("MatMul", [self.w, self.x] if kind == "left" else [self.x, self.w], [product])
        if self.chosen["bias"]:
            bias = (1,) if kind == "vector" else _BIAS[self.chosen["bias"]]
            self.hold(self.b, self.numbers(*bias))
            self.add("Add", [product, self.b], [self.a])
        self.width = {"matrix": 6, "vector": 1, "one": 30, "heads": 90, "left": 18}[kind]

    def gemm(self, container):
        chosen = self.chosen
        self.inputs = self.random.normal(size=(ROWS, 10)).astype(self.real)
        weight = self.numbers(10, 6)
        self.hold(self.w, np.ascontiguousarray(weight.T) if chosen["transB"] else weight, container)
        biased = [self.b] * bool(chosen["bias"])
        # The third operand must be there before operator set 11.
        if not biased and chosen["opset"] < 11:
            biased = [self.b]
        if biased:
            self.hold(self.b, self.numbers(*_BIAS[chosen["bias"] or "C"]))
        settings = {key: chosen[key] for key in ("alpha", "beta", "transB")}
        self.add("Gemm", [self.x, self.w, *biased], [self.a], **settings)
        self.width = 6

    def gather(self, container):
        self.inputs = self.random.integers(0, 40, (ROWS, 5))
        self.hold(self.w, self.numbers(40, 6), container)
        self.add("Gather", [self.w, self.x], [self.a], axis=0)
        self.width = 30

    def head(self):
        self.add("Relu", [self.a], [self.r])
        flat = f"{self.r} flat"
        self.add("Flatten", [self.r], [flat], axis=1)
        self.hold(self.hw, self.numbers(self.width, 3))
        self.add("MatMul", [flat, self.hw], ["y"])

    def done(self):
        chosen = self.chosen
        fixed = str(chosen.get("bias", "")).startswith("B,")
        batch = _BATCH if fixed else "batch"
        element = helper.np_dtype_to_tensor_dtype(self.inputs.dtype)
        given = [helper.make_tensor_value_info(self.x, element, [batch, *self.inputs.shape[1:]])]
        held = {tensor.name: tensor for tensor in self.held}
        given += [helper.make_tensor_value_info(name, self.element, list(held[name].dims)) for name in self.listed]
        notes = [helper.make_tensor_value_info(self.a, self.element, [7] * 4)] * (chosen["notes"] == "wrong")
        answer = helper.make_tensor_value_info("y", self.element, [batch, 3])
        graph = helper.make_graph(self.nodes, "graph", given, [answer], self.held, value_info=notes)
        opsets = [helper.make_opsetid("", chosen["opset"])]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets))
        # Before version 4 every weight is listed among the inputs; since then those that are listed can be changed.
        if len(self.listed) < len(self.held):
            model.ir_version = max(model.ir_version, 4)
        return Written(model, {self.x: self.inputs}, chosen["operator"], chosen)


def answers(model, rows, *, count=ROWS, batch=_BATCH, output=0):
    """Answer rows in onnxruntime, without titrant; `model` is a graph or a file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    source = str(model)
    if isinstance(model, onnx.ModelProto):
        unnamed = onnx.ModelProto()
        unnamed.CopyFrom(model)
        for node in unnamed.graph.node:
            node.name = ""  # onnxruntime opens no graph with a name that stands twice
        source = unnamed.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    starts = range(0, count, batch)
    parts = [
        session.run(None, {name: values[start : start + batch] for name, values in rows.items()})[output]
        for start in starts
    ]
    return np.concatenate(parts)


def in_integers(graph, method):
    """Say how many of a written graph's two layers a method quantizes."""
    chosen = graph.chosen
    if method == "static":
        return 2
    one_matrix = chosen.get("weight") in (None, "matrix", "one") and chosen["operator"] not in ("Conv", "ConvTranspose")
    return 1 + one_matrix


def integers(path):
    """Count the constants of whole numbers in 8 bits that are no zero points."""
    whole = (TensorProto.INT8, TensorProto.UINT8)
    graph = onnx.load(path).graph
    held = {tensor.name: tensor.dims for tensor in graph.initializer if tensor.data_type in whole}
    zeros = {name for node in graph.node for name in _zero_points(node)}
    return len(held.keys() - zeros)


def _zero_points(node):
    return node.input[2:] if node.op_type in ("DequantizeLinear", "QuantizeLinear", "MatMulInteger") else ()


def product(weight, *, readers=1, table=None):
    """Write `readers` products by one weight, added up, after a look-up where there is a table."""
    nodes, start = [], "x"
    if table is not None:
        nodes.append(helper.make_node("Gather", ["table", "x"], ["rows"], "lookup"))
        start = "rows"
    for place in range(readers):
        nodes.append(helper.make_node("MatMul", [start, "w"], [f"p{place}"], f"product{place}"))
    nodes.append(helper.make_node("Sum", [f"p{place}" for place in range(readers)], ["y"], "sum"))
    kind = TensorProto.FLOAT if table is None else TensorProto.INT64
    constants = [numpy_helper.from_array(weight, "w")]
    constants += [] if table is None else [numpy_helper.from_array(table, "table")]
    shape = ["batch", len(weight)] if table is None else ["batch", 3]
    answer = [*shape[: 1 if table is None else 2], weight.shape[1]]
    inputs, outputs = helper.make_tensor_value_info("x", kind, shape), helper.make_tensor_value_info("y", 1, answer)
    graph = helper.make_graph(nodes, "g", [inputs], [outputs], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
