"""A picture classifier as Keras and JAX write ONNX: channels last, a Transpose before a convolution, an old opset.

The graph is written by hand, node by node, so that neither framework has to be there.
"""

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

digits = load_digits()
pictures = np.float32(digits.images / 16)[..., None]  # (rows, 8, 8, 1)
seen, kept, seen_labels, kept_labels = train_test_split(pictures, digits.target, test_size=0.6, random_state=0)
torch.manual_seed(0)
convolution, dense = torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.Linear(8 * 8 * 16, 10)
optimizer = torch.optim.Adam([*convolution.parameters(), *dense.parameters()], 0.005)
inputs, labels = torch.tensor(seen).permute(0, 3, 1, 2), torch.tensor(seen_labels)
for rows in torch.randint(len(inputs), (150, 64)):
    optimizer.zero_grad()
    maps = torch.relu(convolution(inputs[rows])).permute(0, 2, 3, 1).flatten(1)
    torch.nn.functional.cross_entropy(dense(maps), labels[rows]).backward()
    optimizer.step()

weights = {
    "model/conv2d/kernel:0": convolution.weight, "model/conv2d/bias:0": convolution.bias,
    "model/dense/kernel:0": dense.weight.T, "model/dense/bias:0": dense.bias,
}  # fmt: skip
tensors = [numpy_helper.from_array(np.ascontiguousarray(w.detach().numpy()), name) for name, w in weights.items()]
tensors.append(numpy_helper.from_array(np.array([-1, 8 * 8 * 16], np.int64), "model/flatten/Const:0"))
nodes = [
    helper.make_node("Transpose", ["image"], ["first"], perm=[0, 3, 1, 2]),
    helper.make_node("Conv", ["first", "model/conv2d/kernel:0", "model/conv2d/bias:0"], ["maps"], pads=[1, 1, 1, 1]),
    helper.make_node("Relu", ["maps"], ["relu"]),
    helper.make_node("Transpose", ["relu"], ["last"], perm=[0, 2, 3, 1]),
    helper.make_node("Reshape", ["last", "model/flatten/Const:0"], ["flat"]),
    helper.make_node("MatMul", ["flat", "model/dense/kernel:0"], ["product"]),
    helper.make_node("Add", ["product", "model/dense/bias:0"], ["sum"]),
    helper.make_node("Softmax", ["sum"], ["probabilities"], axis=1),
]
ends = [
    helper.make_tensor_value_info("image", TensorProto.FLOAT, ["unk__7", 8, 8, 1]),
    helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["unk__7", 10]),
]
graph = helper.make_graph(nodes, "tf2onnx", ends[:1], ends[1:], tensors)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=7), "digits.onnx")
np.savez("digits.npz", image=kept, digit=kept_labels)
