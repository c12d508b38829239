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
