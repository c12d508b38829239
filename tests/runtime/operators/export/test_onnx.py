"""export.onnx: one file that answers as the module does, for any batch."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from titrant.schema.diagnostics.diagnostics import PreconditionError, StepError

torch = pytest.importorskip("torch")


class Rounded(torch.nn.Module):
    """A module in fp16 that takes and gives fp32."""

    def __init__(self, module):
        super().__init__()
        self.module = module.half()

    def forward(self, x):
        return self.module(x.half()).float()


def test_answers_any_batch_as_the_module_does(torch_model, rows, apply, answers):
    model = torch_model("TinyNet", 1, 6, 6)
    done = apply("export.onnx", {"model": model, "example": rows(1, 6, 6)})
    assert done.measurements["opset"] == 14
    assert done.outputs["parity"]["relative"] == done.measurements["parity_relative"] < 1e-5
    assert done.outputs["parity"]["rows"] == 32
    for count in (1, 5):
        x = rows(1, 6, 6, count=count).inputs["x"]
        np.testing.assert_allclose(answers(done.outputs["model"], x), answers(model, x), atol=1e-5)


def test_names_inputs_outputs_and_the_free_batch(torch_model, rows, apply):
    import onnx

    exported = apply("export.onnx", {"model": torch_model("TinyNet", 1, 6, 6), "example": rows(1, 6, 6)})
    graph = onnx.load(exported.outputs["model"].path).graph
    assert [one.name for one in graph.input] == ["x"]
    assert [one.name for one in graph.output] == ["logits"]
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert not any(node.op_type == "BatchNormalization" for node in graph.node)


def test_leaves_what_is_passed_by_name_alone_at_its_default(torch_model, rows, apply, answers):
    class Scaled(torch.nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x, *, scale=2.0):
            return self.net(x) * scale

    model = torch_model("TinyNet", 1, 6, 6)
    model = replace(model, module=Scaled(model.module).eval())
    exported = apply("export.onnx", {"model": model, "example": rows(1, 6, 6)}).outputs["model"]
    x = rows(1, 6, 6, count=3).inputs["x"]
    np.testing.assert_allclose(answers(exported, x), answers(model, x), atol=1e-5)


def test_holds_no_path_of_this_machine_and_says_nothing(torch_model, rows, apply, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exported = apply("export.onnx", {"model": torch_model("TinyNet", 1, 6, 6), "example": rows(1, 6, 6)})
    data = exported.outputs["model"].path.read_bytes()
    assert b"operator_nets" not in data
    assert b"site-packages" not in data
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("form", "outputs"), [("tuple", 2), ("list", 2), ("mapping", 2), ("mapping", 1), ("tuple", 1)])
def test_takes_every_form_of_answer(form, outputs, torch_model, rows, apply):
    import onnx

    names = ("logits", "other")[:outputs]
    model = torch_model("Answering", 5, outputs=names, form=form)
    exported = apply("export.onnx", {"model": model, "example": rows(5)}).outputs["model"]
    graph = onnx.load(exported.path).graph
    assert tuple(one.name for one in graph.output) == names
    # What brings another form into this one is no part of the names.
    assert sorted(tensor.name for tensor in graph.initializer) == ["linear.bias", "linear.weight"]
    assert [node.name for node in graph.node if node.op_type == "Gemm"] == ["/linear/Gemm"]


def test_writes_the_opset_that_is_asked_for(torch_model, rows, apply):
    import onnx

    inputs = {"model": torch_model("TinyNet", 1, 6, 6), "example": rows(1, 6, 6)}
    exported = apply("export.onnx", inputs, {"opset": 14}).outputs["model"]
    assert onnx.load(exported.path).opset_import[0].version == 14


@pytest.mark.parametrize("opset", [5, 12, 21, 99])
def test_names_the_range_of_opsets(opset, torch_model, rows, apply):
    inputs = {"model": torch_model("TinyNet", 1, 6, 6), "example": rows(1, 6, 6)}
    with pytest.raises(StepError, match=f"X219: opset {opset} .* writes 13 to 20"):
        apply("export.onnx", inputs, {"opset": opset})


@pytest.mark.parametrize(("opset", "possible"), [(None, True), (13, True), (20, True), (12, False), (21, False)])
def test_knows_the_range_of_opsets_already_in_the_plan(opset, possible):
    from titrant.runtime import catalog
    from titrant.schema.facts import Hardware, HardwareIdentity

    packages = {"torch": "2", "onnx": "1", "onnxruntime": "1"}
    machine = Hardware(HardwareIdentity("linux", "x86_64", "", (), 1, None, (), "3.11", packages))
    declaration = catalog.get("export.onnx")
    assert (declaration.requires(declaration.params(opset=opset), machine, None) == ()) is possible


def test_refuses_a_forward_that_decides_on_values(torch_model, rows, apply):
    with pytest.raises(PreconditionError, match="X206"):
        apply("export.onnx", {"model": torch_model("Deciding", 5), "example": rows(5)})


def test_refuses_an_answer_without_tensors(torch_model, rows, apply):
    model = torch_model("Answering", 5, form="number")
    with pytest.raises(StepError, match="X204: the model answers with a float"):
        apply("export.onnx", {"model": model, "example": rows(5)})


def test_allows_a_model_in_16_bits_the_rounding_of_its_numbers(torch_model, rows, apply):
    model = torch_model("TinyNet", 1, 6, 6)
    module = Rounded(model.module)
    parity = apply("export.onnx", {"model": replace(model, module=module), "example": rows(1, 6, 6)}).outputs["parity"]
    assert parity["relative"] <= parity["tolerance"] == 4 * 2**-10


def test_refuses_answers_that_move_further_than_the_tolerance(torch_model, rows, apply):
    inputs = {"model": torch_model("TinyNet", 1, 6, 6), "example": rows(1, 6, 6)}
    with pytest.raises(StepError, match="X208: the ONNX file does not answer as the model does"):
        apply("export.onnx", inputs, {"tolerance": 1e-30})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("operator", ["export.onnx", "export.torchscript", "export.exported"])
def test_names_the_weight_that_makes_answers_incomparable(operator, value, torch_model, rows, apply):
    model = torch_model("Stack", 5, widths=[5, 8, 2])
    model.module.layers[0].weight.data[:, 1] = value
    with pytest.raises(
        StepError, match=r"X208: \d+ of the \d+ numbers that the model itself answers are NaN"
    ) as raised:
        apply(operator, {"model": model, "example": rows(5)})
    said = raised.value.diagnostics[0]
    assert said.message.endswith(": layers.0.weight is not finite")
    assert said.help == "take weights that trained well"


@pytest.mark.parametrize("operator", ["export.onnx", "quantize.torch_dynamic"])
def test_exports_weights_that_a_layer_computes(operator, torch_model, rows, apply, answers):
    model = torch_model("Normed", 5, norm="spectral_norm")
    made = apply(operator, {"model": model, "example": rows(5)}).outputs["model"]
    x = rows(5).inputs["x"]
    np.testing.assert_allclose(answers(made, x), answers(model, x), atol=0.05)


@pytest.mark.parametrize("operator", ["export.onnx", "export.torchscript", "quantize.torch_dynamic"])
def test_takes_an_encoder_layer_apart(operator, torch_model, rows, apply, answers):
    import torch

    model = torch_model("Encoder", 3, 8)
    exported = apply(operator, {"model": model, "example": rows(3, 8)}).outputs["model"]
    x = rows(3, 8, count=5).inputs["x"]
    np.testing.assert_allclose(answers(exported, x), answers(model, x), atol=0.05)
    assert torch.backends.mha.get_fastpath_enabled()


def test_holds_a_layer_normalization_as_one_node(torch_model, rows, apply):
    done = apply("export.onnx", {"model": torch_model("Encoder", 3, 8), "example": rows(3, 8)})
    assert done.measurements["opset"] == 17
    import onnx

    nodes = onnx.load(done.outputs["model"].path).graph.node
    assert sum(node.op_type == "LayerNormalization" for node in nodes) == 2


def test_uses_the_lowest_opset_that_has_every_operation(torch_model, rows, apply, capfd):
    model = torch_model("Gridded", 1, 6, 6)
    assert apply("export.onnx", {"model": model, "example": rows(1, 6, 6)}).measurements["opset"] == 20
    with pytest.raises(StepError, match=r"X207.*\(use export opset 20"):
        apply("export.onnx", {"model": model, "example": rows(1, 6, 6)}, {"opset": 17})
    assert capfd.readouterr() == ("", "")
