"""quantize.equalize: channels come to be alike, and every answer stays as it was."""

import numpy as np
import onnx  # noqa: TID253
import pytest
from hypothesis import given, settings
from unequal_nets import ENDS, LAYERS, LEAVING, PASSED, Net, unequal, write

from titrant.runtime import catalog
from titrant.runtime.backends.onnxruntime.session import load
from titrant.runtime.backends.onnxruntime.titration import follow
from titrant.runtime.values import OnnxModel
from titrant.schema.diagnostics.diagnostics import PreconditionError, StepError
from titrant.schema.facts import Layer, ModelFacts

X = np.random.default_rng(5).normal(size=(3, 3, 6, 6)).astype(np.float32)


@pytest.fixture
def equalized(tmp_path, apply):
    """Write a net, equalize it; returns the file before, what was done, and the file after."""

    def run(model):
        path = tmp_path / f"given{len(list(tmp_path.iterdir()))}.onnx"
        onnx.save(model, str(path))
        done = apply("quantize.equalize", {"model": OnnxModel(path)})
        return OnnxModel(path), done, done.outputs["model"]

    return run


def ask(path, x=X, optimized="off"):
    return load(path, threads=1, optimized=optimized).run(None, {"x": x})


def fold(path, folder):
    """Write the file as it is before channels are scaled: normalizations and constants folded, which rounds."""
    load(path, threads=1, optimized="basic", written_to=folder / "folded.onnx")
    return folder / "folded.onnx"


@given(parts=unequal())
@settings(max_examples=12, deadline=None)
def test_leaves_every_answer_of_any_net_as_it_was_to_the_bit(parts, tmp_path_factory):
    from titrant.runtime.api import apply

    folder = tmp_path_factory.mktemp("net")
    path = folder / "given.onnx"
    onnx.save(write(*parts), str(path))
    done = apply("quantize.equalize", {"model": OnnxModel(path)}, scratch=folder)
    after = done.outputs["model"].path
    if after != path:
        for exact, answer in zip(ask(fold(path, folder)), ask(after), strict=True):
            np.testing.assert_array_equal(exact, answer)
        assert done.measurements["largest_difference"] >= 0


def weights(model):
    """Return the weights of the convolutions by name."""
    return {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer if len(each.dims) == 4}


def changed(given, made):
    after = weights(onnx.load(made.path))
    return {name for name, array in weights(given).items() if not np.array_equal(array, after.get(name))}


@pytest.mark.parametrize("kind", PASSED)
def test_follows_channels_through_what_a_positive_factor_passes(kind, equalized):
    given = write(1, [("Conv", kind), ("Conv", "Relu")], "Mean")
    _, done, made = equalized(given)
    gates = {"left_groups": 1, "left.Sigmoid": 1} if kind == "Gate" else {"left_groups": 0}
    assert {name: count for name, count in done.measurements.items() if name.startswith("left")} == gates
    assert weights(given).keys() == changed(given, made)


@pytest.mark.parametrize("layer", LAYERS)
def test_scales_what_every_kind_of_layer_makes_and_reads(layer, equalized):
    given = write(2, [("Conv", "Relu"), (layer, "Relu"), ("Conv", "Relu")], "Mean")
    _, done, made = equalized(given)
    assert done.measurements["left_groups"] == 0
    assert weights(given).keys() == changed(given, made)


@pytest.mark.parametrize("end", ENDS)
def test_follows_channels_into_every_kind_of_head(end, equalized):
    given = write(3, [("Conv", "Relu")], end)
    _, done, made = equalized(given)
    assert done.measurements["equalized_groups"] == 2
    assert weights(given).keys() == changed(given, made)


@pytest.mark.parametrize(
    ("kind", "reason", "others"),
    [("Relu6", "Clip", 2), ("HardSwish", "HardSigmoid", 2), ("Sigmoid", "Sigmoid", 2), ("Output", "graph_output", 2),
     ("Shared", "shared_weight", 3), ("Shuffle", "Reshape", 2)],
)  # fmt: skip
def test_leaves_a_group_alone_where_its_stream_leaves_and_says_why(kind, reason, others, equalized):
    assert kind in LEAVING
    _, done, _ = equalized(write(4, [("Conv", kind), ("Conv", "Relu")], "Mean"))
    assert done.measurements["left_groups"] == done.measurements[f"left.{reason}"] == 1
    assert done.measurements["equalized_groups"] == others


def unbalanced(*, residual):
    """Write a net that answers as one whose channels are alike, with two of them a hundred times as large between."""
    net = Net(6, unequal=False)
    x, width = net.layer("Conv", "x", 3)
    first = net.constants[0].name
    x = net.node("Relu", [x])
    if residual:
        x, width = net.layer("Residual_relu", x, width)
    x = net.node("Relu", [net.conv(x, width, 8)])
    model = net.model(net.end("Mean", x, 8))
    factors = np.ones(8, np.float32)
    factors[[2, 5]] = 100
    held = {each.name: each for each in model.graph.initializer}
    made = {first} | ({held[net.nodes[4].input[1]].name} if residual else set())
    readers = {net.nodes[2].input[1], net.nodes[7].input[1]} if residual else {net.nodes[2].input[1]}
    biases = {net.nodes[0].input[2]} | ({net.nodes[4].input[2]} if residual else set())
    for name, tensor in held.items():
        values = onnx.numpy_helper.to_array(tensor)
        if name in made:
            values = values * factors.reshape(-1, 1, 1, 1)
        if name in biases:
            values = values * factors
        if name in readers:
            values = values / factors.reshape(1, -1, 1, 1)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), name))
    return model


@pytest.mark.parametrize("residual", [False, True], ids=["pair", "stream"])
def test_int8_answers_as_if_channels_had_been_alike(residual, equalized, apply, rows, answers):
    before, done, after = equalized(unbalanced(residual=residual))
    assert done.measurements["equalized_channels"] == 2
    assert done.measurements["largest_scale"] == 64
    assert done.measurements["largest_difference"] == 0
    calibration = rows(3, 6, 6)
    exact = answers(before, calibration.inputs["x"])
    lost = [
        np.square(answers(apply("quantize.ort_static", {"model": each, "calibration": calibration}).outputs["model"],
                          calibration.inputs["x"]) - exact).mean()
        for each in (before, after)
    ]  # fmt: skip
    assert lost[1] < lost[0] / 50


def test_gives_back_the_file_where_there_is_nothing_to_equalize(equalized):
    before, done, after = equalized(write(8, [("Residual", "Relu")], "Mean", unequal=False))
    assert done.measurements == {"equalized_groups": 0, "equalized_channels": 0, "left_groups": 0}
    assert after.path.read_bytes() == before.path.read_bytes()


def test_leaves_a_channel_without_variance_as_large_as_its_bias_lets_it(equalized):
    net = Net(9, unequal=False)
    x = net.node("Relu", [net.conv("x", 3, 8)])
    model = net.model(net.end("Mean", net.node("Relu", [net.conv(x, 8, 8)]), 8))
    values = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
    values[1], values[6] = 1e-12, 0
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(values, model.graph.initializer[0].name))
    _, done, made = equalized(model)
    biases = onnx.numpy_helper.to_array(onnx.load(made.path).graph.initializer[1])
    given = onnx.numpy_helper.to_array(model.graph.initializer[1])
    assert done.measurements["left_groups"] == 0
    assert (np.abs(biases) <= 2 * np.abs(given).max()).all()


def test_refuses_a_file_that_answers_otherwise(equalized, monkeypatch):
    monkeypatch.setattr(follow, "_SAME", (*follow._SAME, "Sigmoid"))
    with pytest.raises(StepError, match=r"X245: the equalized file answers otherwise by"):
        equalized(write(4, [("Conv", "Sigmoid"), ("Conv", "Relu")], "Mean"))


def test_refuses_weights_that_are_not_finite(equalized):
    model = write(1, [("Conv", "Relu")], "Mean")
    values = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
    values[0, 0, 0, 0] = np.nan
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(values, model.graph.initializer[0].name))
    with pytest.raises(PreconditionError, match="X260"):
        equalized(model)


def test_is_left_out_of_a_plan_where_no_layer_reads_what_another_makes():
    declaration = catalog.get("quantize.equalize")
    one = Layer("fc", "Linear", 6, 24, (2, 3))

    def idle(*layers):
        return declaration.idle(declaration.params(), ModelFacts("factory", "", 0, 0, 0, layers, (), ()))

    assert idle(one)
    assert not idle(one, one)
