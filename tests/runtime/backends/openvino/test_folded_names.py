"""Every layer is found in what OpenVINO runs, whoever named its node and whatever was folded into it."""

import numpy as np
import onnx  # noqa: TID253 - the tests write files
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253

from titrant.runtime.backends.onnxruntime.layer_names import GraphNames
from titrant.runtime.backends.openvino.convert import converted, write_ir
from titrant.runtime.backends.openvino.executed import executed

WIDTH = 8
# What stands behind a product and may be folded into it, or hides whose answer it is.
BEHIND = ("", "norm", "scale", "bias", "relu", "norm relu", "scale bias relu", "identity")


class Chain:
    """A graph that grows by one node at a time, whose nodes are named as somebody names them."""

    def __init__(self, naming):
        self.naming, self.nodes, self.weights, self.at = naming, [], [], "x"

    def hold(self, *shape, positive=False):
        name = f"w{len(self.weights)}"
        values = np.random.default_rng(len(self.weights)).normal(size=shape).astype(np.float32)
        self.weights.append(numpy_helper.from_array(np.abs(values) + 0.1 if positive else values, name))
        return name

    def add(self, kind, *inputs, **attributes):
        place, before = len(self.nodes), self.at
        self.at = f"t{place}"
        name = {"none": "", "counted": f"{kind}_{place + 5}", "ways": f"/part{place}/{kind}"}[self.naming]
        self.nodes.append(helper.make_node(kind, [before, *inputs], [self.at], name=name, **attributes))

    def product(self, kind):
        if kind == "convolution":
            self.add("Conv", self.hold(WIDTH, WIDTH, 3, 3), pads=[1, 1, 1, 1])
        elif kind == "depthwise":
            self.add("Conv", self.hold(WIDTH, 1, 3, 3), group=WIDTH, pads=[1, 1, 1, 1])
        else:
            self.add("MatMul", self.hold(WIDTH, WIDTH))

    def behind(self, kind, channels):
        for part in kind.split():
            if part == "norm" and channels[0] == WIDTH:
                held = [self.hold(WIDTH, positive=True) for _ in range(4)]
                self.add("BatchNormalization", *held)
            elif part in ("scale", "norm"):
                self.add("Mul", self.hold(*channels))
            elif part == "bias":
                self.add("Add", self.hold(*channels))
            else:
                self.add({"relu": "Relu", "identity": "Identity"}[part])

    def write(self, path):
        border = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", WIDTH, 8, 8]) for name in ("x", "y")]
        self.add("Sigmoid")
        self.nodes[-1].output[0] = "y"
        graph = helper.make_graph(self.nodes, "g", border[:1], border[1:], self.weights)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
        return path


def chain(naming, parts, path):
    made = Chain(naming)
    for kind, behind in parts:
        made.product(kind)
        made.behind(behind, (WIDTH, 1, 1) if kind != "matmul" else (WIDTH,))
    return made.write(path)


def layers_in(path):
    """Return what the original's facts call its layers: nodes with weights, by name or by operator and place."""
    return tuple(GraphNames.of(onnx.load(path).graph).weights)


@settings(max_examples=8)
@given(
    naming=st.sampled_from(("none", "counted", "ways")),
    parts=st.lists(
        st.tuples(st.sampled_from(("convolution", "depthwise", "matmul")), st.sampled_from(BEHIND)),
        min_size=1, max_size=5,
    ),
)  # fmt: skip
def test_finds_every_layer_once(naming, parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("chain")
    path = chain(naming, parts, folder / "m.onnx")
    ran = executed(write_ir(*converted(path), folder / "ir"), layers=layers_in(path))
    assert len(ran) == len(parts)
    assert sorted(layer.name for layer in ran) == sorted(layers_in(path))
    assert {layer.precision for layer in ran} == {"fp32"}


def test_writes_no_counter_of_the_process_for_what_was_folded(tmp_path):
    parts = [("convolution", "norm relu"), ("depthwise", "scale bias relu"), ("matmul", "scale")]
    path = chain("none", parts, tmp_path / "m.onnx")
    first, second = (write_ir(*converted(path), tmp_path / name) for name in ("first", "second"))
    assert first.path.read_bytes() == second.path.read_bytes()


def test_leaves_layers_by_their_counted_names(tmp_path):
    # NNCF takes two seconds to load, of every worker where it stood above.
    from titrant.runtime.backends.openvino.compression import compressed, left_alone

    path = chain("counted", [("matmul", "bias"), ("matmul", "scale"), ("matmul", "")], tmp_path / "m.onnx")
    graph, source = converted(path)
    layers = layers_in(path)
    kept = left_alone(graph, source, layers[:1])
    options = {"bits": 8, "group_size": 64, "symmetric": False}
    made = write_ir(compressed(graph, options, left=kept, threads=1), source, tmp_path / "ir")
    assert {layer.name: layer.precision for layer in executed(made, layers=layers)} == dict(
        zip(layers, ("fp32", "int8", "int8"), strict=True)
    )
