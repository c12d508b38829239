"""What engines are read back to run: layers that hold their weights in lists or in branches too."""

import numpy as np
import pytest

from titrant.runtime.backends import backend


def test_finds_the_weights_of_recurrent_layers_in_a_script(tmp_path):
    import torch

    from titrant.runtime.backends.torch.script import save_script, traced
    from titrant.runtime.values import TorchModel

    class Reads(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(4, 3, batch_first=True)

        def forward(self, x):
            return self.lstm(x)[0][:, -1]

    model = TorchModel(Reads().eval(), "m:Reads", {}, "", (("x", ("batch", 5, 4), "float32"),), ("out",))
    script = traced(model.module, ("out",), {"x": np.zeros((2, 5, 4), np.float32)})
    executed = backend.get("torch").executed(save_script(script, model, tmp_path))
    assert [layer.precision for layer in executed] == ["fp32"]
    assert [layer.precision for layer in backend.get("torch").executed(model)] == ["fp32"]


@pytest.mark.parametrize("dtype", ["fp32", "fp64"])
def test_finds_products_in_the_branches_of_a_graph(dtype, tmp_path):
    import onnx
    from onnx import helper, numpy_helper

    from titrant.runtime.values import OnnxModel

    element = {"fp32": onnx.TensorProto.FLOAT, "fp64": onnx.TensorProto.DOUBLE}[dtype]
    numbers = np.eye(3, dtype=helper.tensor_dtype_to_np_dtype(element))

    def branch(name, factor):
        weight = numpy_helper.from_array(numbers * factor, f"{name}.weight")
        product = helper.make_node("MatMul", ["x", f"{name}.weight"], [f"{name}.out"], name=name)
        out = helper.make_tensor_value_info(f"{name}.out", element, ["batch", 3])
        return helper.make_graph([product], name, [], [out], [weight])

    chosen = helper.make_node("If", ["flag"], ["y"], then_branch=branch("then", 1), else_branch=branch("else", 2))
    graph = helper.make_graph(
        [chosen],
        "g",
        [
            helper.make_tensor_value_info("x", element, ["batch", 3]),
            helper.make_tensor_value_info("flag", onnx.TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y", element, ["batch", 3])],
    )
    file = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), file)
    executed = backend.get("onnxruntime").executed(OnnxModel(file))
    assert [layer.precision for layer in executed] == [dtype, dtype]


def torch_net():
    """Attention reads its projection's weights itself, `tied` has another's, `shared` is called twice, one never."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(9, 8)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.shared = nn.Linear(8, 8)
            self.raw = nn.Parameter(torch.eye(8))
            self.tied = nn.Linear(8, 9, bias=False)
            self.tied.weight = self.emb.weight
            self.never = nn.Linear(8, 8)

        def forward(self, x):
            held = self.emb(x)
            held = self.attention(held, held, held, need_weights=False)[0]
            return self.tied(self.shared(self.shared(held).relu()) @ self.raw)

    return Net().eval(), ("Net", "emb", "attention", "attention.out_proj", "shared", "tied", "never")


def torch_model(module):
    from titrant.runtime.values import TorchModel

    return TorchModel(module, "m:Net", {}, "", (("x", ("batch", 5), "int64"),), ("out",))


def test_names_the_layers_of_a_script_although_the_file_forgets_them(tmp_path):
    from titrant.runtime.backends.torch.determinism import plain_attention
    from titrant.runtime.backends.torch.script import save_script, traced

    net, layers = torch_net()
    with plain_attention():
        script = traced(net, ("out",), {"x": np.zeros((2, 5), np.int64)})
    ran = backend.get("torch").executed(save_script(script, torch_model(net), tmp_path), layers=layers)
    assert {layer.name for layer in ran} == {*layers} - {"never"}
    assert [layer.name for layer in ran].count("shared") == 2


def test_names_each_layer_of_a_trace_whose_weights_are_equal(tmp_path):
    import torch

    from titrant.runtime.backends.torch.program.original import kept_script
    from titrant.runtime.backends.torch.session import Border

    net = torch.nn.Sequential(*(torch.nn.Linear(3, 3) for _ in range(3)))
    for layer in net:
        torch.nn.init.eye_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    torch.jit.save(torch.jit.trace(net.eval(), torch.zeros(2, 3)), tmp_path / "net.pt")
    border = Border((("x", ("batch", 3), "float32"),), ("out",))
    model = kept_script(tmp_path / "net.pt", border, tmp_path)
    ran = backend.get("torch").executed(model, layers=("0", "1", "2"))
    assert [layer.name for layer in ran] == ["0", "1", "2"]


def test_names_the_layers_that_dynamic_quantization_takes_and_leaves(rows, apply):
    net, layers = torch_net()
    example = rows(x=np.zeros((4, 5), np.int64))
    inputs = {"model": torch_model(net), "example": example}
    made = apply("quantize.torch_dynamic", inputs, {"leave": ("tied",)}).outputs["model"]
    ran = {layer.name: layer.precision for layer in backend.get("torch").executed(made, layers=layers)}
    assert ran == {
        "Net": "fp32", "emb": "int8", "attention": "fp32", "attention.out_proj": "fp32", "shared": "int8",
        "tied": "fp32",
    }  # fmt: skip


def test_sees_of_a_live_module_what_a_forward_pass_calls_and_in_which_precision(rows, apply):
    import torch

    net, layers = torch_net()
    ran = {layer.name: layer.precision for layer in backend.get("torch").executed(torch_model(net), layers=layers)}
    assert ran == dict.fromkeys({*layers} - {"never"}, "fp32")

    class Autocast(torch.nn.Module):
        """Its weights are fp32, and its products are not."""

        def __init__(self):
            super().__init__()
            self.fc = torch.nn.Linear(5, 3)

        def forward(self, x):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.fc(x.float())

    (fc,) = backend.get("torch").executed(torch_model(Autocast()), layers=["fc"])
    assert (fc.name, fc.precision, fc.engine_op) == ("fc", "bf16", "Linear")
    assert not any(part._forward_hooks for part in net.modules())


def test_tells_weights_of_few_bits_by_their_class():
    import torch

    from titrant.runtime.backends.torch.executed import format_of

    class Params4bit(torch.Tensor):
        pass

    class Int8Params(torch.Tensor):
        pass

    packed = torch.zeros(2, 2, dtype=torch.uint8)
    assert format_of(packed.as_subclass(Params4bit)) == "int4"
    assert format_of(torch.zeros(2, 2).as_subclass(Int8Params)) == "int8"
    assert format_of(packed) == "int8"
    assert format_of(torch.zeros(2, dtype=torch.float64)) == "fp64"
