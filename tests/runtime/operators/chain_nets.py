"""Graphs of small matrix products in any arrangement, named as modules are, and rows for them."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253 - its very subject

from titrant.runtime.values import Rows

WIDTH = 4


class Chain:
    """Write a graph of small matrix products, named as modules are."""

    def __init__(self, *inputs):
        self._random = np.random.default_rng(7)
        self.nodes, self.weights, self.layers = [], [], []
        self.inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", WIDTH]) for name in inputs]

    def layer(self, tensor, name, weight=None):
        if weight is None:
            weight = f"{name}.weight"
            self.weights.append(
                numpy_helper.from_array(self._random.normal(size=(WIDTH, WIDTH)).astype(np.float32) / 2, weight)
            )
            self.layers.append(name)
        return self.node("MatMul", (tensor, weight), "/" + name.replace(".", "/") + "/MatMul")

    def again(self, tensor, name):
        node = "/" + name.replace(".", "/") + "/MatMul_1"
        return self.node("MatMul", (tensor, f"{name}.weight"), node)

    def node(self, kind, tensors, name=None, **settings):
        name = name or f"/{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(tensors), [f"{name}_output_0"], name, **settings))
        return f"{name}_output_0"

    def done(self, *outputs):
        answers = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "net", self.inputs, answers, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def residual(net, at, name, layers=2):
    inner = at
    for place in range(layers):
        inner = net.node("Relu", [net.layer(inner, f"{name}.fc{place}")])
    return net.node("Add", (inner, at))


def rows_of(count, *names, role="calibration", seed=3):
    random = np.random.default_rng(seed)
    inputs = {name: random.normal(size=(count, WIDTH)).astype(np.float32) for name in names}
    numbers = np.arange(count)
    return Rows(role, inputs, None, numbers, numbers.astype(np.uint64))
