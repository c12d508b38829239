"""ONNX files of one product, which tell the sick from the healthy of the rows that every place has."""

import numpy as np

WEIGHTS = np.array([[2.0, -2.0], [-1.5, 1.5], [1.0, -1.0], [0.5, -0.5]], np.float32)


def linear(file, weights=WEIGHTS, taken="x", given="logits"):
    """Write what tells sick from healthy: the columns times weights."""
    import onnx

    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", [taken, "w"], [given], "first")],
        "linear",
        [value(taken, onnx.TensorProto.FLOAT, ["batch", 4])],
        [value(given, onnx.TensorProto.FLOAT, ["batch", weights.shape[1]])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), file)
