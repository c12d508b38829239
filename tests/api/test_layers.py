"""`titrant.layers` on live modules and files: what it takes, and what it says of what it cannot take apart."""

import numpy as np
import pytest
import torch  # noqa: TID253

import titrant
from titrant.api.apply import apply
from titrant.schema.diagnostics.diagnostics import TitrantError

SHORT = 1e-3


class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(4, 8)
        self.drop = torch.nn.Dropout(0.5)
        self.second = torch.nn.Linear(8, 2)

    def forward(self, x):
        return self.second(self.drop(torch.relu(self.first(x))))


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("file") / "tiny.onnx"
    titrant.export(Tiny(), "onnx", file, inputs=torch.ones(2, 4))
    return file


def test_leaves_the_module_as_it_was():
    net = Tiny().train()
    net.first.requires_grad_(requires_grad=False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    profile = titrant.layers(net, torch.ones(3, 4), seconds=SHORT)
    assert net.training
    assert net.drop.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [layer.name for layer in profile.layers] == ["first", "drop", "second", ""]
    assert (profile.model, profile.engine, profile.batch, profile.device) == ("Tiny", "torch", 3, "cpu")


def test_calls_the_layers_of_a_file_by_its_nodes(onnx_file):
    profile = titrant.layers(onnx_file, {"x": np.ones((2, 4), np.float32)}, batch=5, seconds=SHORT)
    assert (profile.model, profile.engine, profile.batch) == ("tiny.onnx", "onnxruntime", 5)
    assert any(layer.parameters == 4 * 8 + 8 for layer in profile.layers)
    assert profile.flops == 2 * 5 * (4 * 8 + 8 * 2)


def test_takes_an_array_for_a_lone_input_of_a_file(onnx_file):
    other = titrant.layers(str(onnx_file), np.ones((2, 4), np.float32), engine="openvino", seconds=SHORT)
    assert other.engine == "openvino"
    assert other.parameters == 4 * 8 + 8 + 8 * 2 + 2


def test_opens_an_openvino_ir(onnx_file, tmp_path):
    from titrant.runtime.values import OnnxModel

    example = {"x": np.ones((2, 4), np.float32)}
    made = apply("export.openvino", {"model": OnnxModel(onnx_file), "example": example}, scratch=tmp_path)
    profile = titrant.layers(made.outputs["model"].path, example, seconds=SHORT)
    assert (profile.engine, profile.parameters) == ("openvino", 58)


def test_refuses_a_program_in_torch_and_takes_it_apart_as_a_graph(tmp_path):
    file = tmp_path / "tiny.pt"
    titrant.export(Tiny(), "torchscript", file, inputs=torch.ones(2, 4))
    with pytest.raises(TitrantError, match="X680: torch runs a TorchScript file as one, without hooks inside it"):
        titrant.layers(file, ONE)
    profile = titrant.layers(file, ONE, engine="onnxruntime", seconds=SHORT)
    assert profile.parameters == 58


class Decides(torch.nn.Module):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x


class Wrapped(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self._orig_mod = Tiny()


ONE = torch.ones(1, 4)
REFUSED = [
    (lambda: titrant.layers(lambda x: x, ONE), "X681: a function is no model whose layers can be timed"),
    (lambda: titrant.layers(Wrapped(), ONE), "X681: a compiled module runs as one"),
    (lambda: titrant.layers(torch.jit.trace(Tiny(), ONE), ONE), "X681: a scripted module runs as one"),
    (lambda: titrant.layers(Tiny().bfloat16(), ONE.bfloat16()), "X232: the weights of Tiny are bfloat16, and its rows"),
    (lambda: titrant.layers(Tiny(), torch.ones(0, 4)), "X372: the inputs have no rows"),
    (lambda: titrant.layers(Tiny(), None), "X372: nothing shows what the module takes"),
    (lambda: titrant.layers(Tiny(), [ONE, ONE]), "X372: the module takes x, and 2 inputs are given"),
    (lambda: titrant.layers(Tiny(), {"x": ONE, "y": torch.ones(2, 4)}), "X232: .* other numbers of rows"),
    (lambda: titrant.layers(Tiny(), ONE, engine="tensorflow"), "X681: there is no engine tensorflow"),
    (lambda: titrant.layers(Tiny(), ONE, engine="mlx"), "X68[01]: "),
    (lambda: titrant.layers(Tiny(), ONE, device="cuda:7"), r"X220: torch sees no device cuda:7 here \(leave the"),
    (lambda: titrant.layers(Decides(), ONE, engine="onnxruntime"), "X206: the model's forward reads the values"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("call", "said"), REFUSED, ids=range(len(REFUSED)))
def test_refuses_in_one_line_what_has_no_layers(call, said):
    with pytest.raises(TitrantError, match=said) as raised:
        call()
    (diagnostic,) = raised.value.diagnostics
    assert "\n" not in diagnostic.message
    assert diagnostic.help


def test_follows_decisions_where_torch_runs_them():
    profile = titrant.layers(Decides(), ONE, seconds=SHORT)
    assert [layer.name for layer in profile.layers] == ["Decides", ""]


def test_refuses_inputs_that_a_file_does_not_take(onnx_file):
    with pytest.raises(TitrantError, match="X372: the file takes x, and 2 inputs are given"):
        titrant.layers(onnx_file, [ONE, ONE])
    with pytest.raises(TitrantError, match="X683: the model takes an input x, and the rows have other"):
        titrant.layers(onnx_file, {"other": ONE})
