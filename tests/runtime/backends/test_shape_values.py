"""Sizes that a traced graph computes of itself are constants in the exported file, and no answer changes."""

import warnings
from collections import Counter

import numpy as np
import onnx  # noqa: TID253 - its very subject
import onnxruntime  # noqa: TID253 - its very subject
import pytest
import torch  # noqa: TID253 - the file defines torch modules
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

from titrant.runtime.backends.onnxruntime.compact.shape_values import fold_sizes

WIDTH, PLACES = 8, 6


def exported(module, folder, shape=(PLACES, WIDTH)):
    """The graph as torch writes it, its batch free."""
    file = folder / "raw.onnx"
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), (torch.zeros(2, *shape),), str(file), dynamo=False, opset_version=17,
            input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
        )  # fmt: skip
    return onnx.load(str(file))


def answered(model, x):
    """What onnxruntime answers where it changes nothing in the graph."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})[0]


def folded(model):
    """A folded copy, checked."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    fold_sizes(copy)
    onnx.checker.check_model(copy, full_check=True)
    return copy


def kinds(model):
    return Counter(node.op_type for node in model.graph.node)


class Attending(nn.Module):
    """Causal attention with heads, as it is written by hand."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        """Return (batch, places, width)."""
        batch, places, width = x.shape
        q, k, v = self.qkv(x).view(batch, places, 3, 2, width // 2).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-1, -2)) / torch.tensor(q.shape[-1]).float().sqrt()
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, places, width))


class TorchAttending(nn.Module):
    """The attention layer of torch's, places first."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2)

    def forward(self, x):
        """Return (batch, places, width)."""
        x = x.transpose(0, 1)
        return self.attention(x, x, x, need_weights=False)[0].transpose(0, 1)


class Repeated(nn.Module):
    """Behind what is repeated by the batch, which inference of shapes does not follow, sizes are computed."""

    def __init__(self):
        super().__init__()
        self.latent = nn.Parameter(torch.randn(1, 4, WIDTH))

    def forward(self, x):
        """Return (batch, 2, 16)."""
        y = self.latent.repeat(x.shape[0], 1, 1) + x[:, :4]
        return y.view(y.shape[0], y.shape[1] // 2, y.shape[2] * 2)


@pytest.mark.parametrize("network", [Attending, TorchAttending, Repeated])
def test_answers_bit_by_bit_as_before_without_computing_sizes(network, tmp_path):
    torch.manual_seed(0)
    before = exported(network(), tmp_path)
    after = folded(before)
    computed = ("Gather", "Mod", "Sqrt", "Cast", "Shape")
    assert sum(kinds(before)[kind] for kind in computed) > 4 + sum(kinds(after)[kind] for kind in computed)
    assert len(after.graph.node) < 0.75 * len(before.graph.node)
    for count in (1, 2, 70):
        x = np.random.default_rng(count).standard_normal((count, PLACES, WIDTH), dtype=np.float32)
        assert answered(before, x).tobytes() == answered(after, x).tobytes()


def test_holds_equal_whole_numbers_once(tmp_path):
    after = folded(exported(Attending(), tmp_path))
    held = [item.t for node in after.graph.node if node.op_type == "Constant" for item in node.attribute]
    whole = [(tuple(tensor.dims), tensor.raw_data) for tensor in held if tensor.data_type == onnx.TensorProto.INT64]
    assert len(whole) == len(set(whole)) > 1


STEPS = {
    "heads": lambda x: (
        x.view(x.shape[0], x.shape[1], 2, x.shape[2] // 2).transpose(1, 2).flatten(1, 2)[:, :PLACES].repeat(1, 1, 2)
    ),
    "first rows": lambda x: x + x[:5].mean(0, keepdim=True),
    "rows behind": lambda x: x + x[3:].sum(0, keepdim=True),
    "by the batch": lambda x: x * float(3) + torch.ones(x.shape[0], 1, 1) * x.shape[1],
    "quotient of the batch": lambda x: x * (x.shape[0] // 50 + 1),
    "batch as a number": lambda x: x / torch.full((1,), 1.0).expand(x.shape[0], 1, 1),
    "flat": lambda x: functional.relu(x.reshape(x.shape[0] * x.shape[1], x.shape[2])).view(-1, x.shape[1], x.shape[2]),
    "halves": lambda x: torch.cat(x.chunk(2, -1)[::-1], -1),
    "places first": lambda x: (
        x.transpose(0, 1).reshape(x.shape[1], -1).view(x.shape[1], x.shape[0], -1).transpose(0, 1)
    ),
    "scaled": lambda x: x * x.shape[-1] ** -0.5,
}  # fmt: skip


class Drawn(nn.Module):
    """Steps one after the other, each of which gives the shape that it takes."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def forward(self, x):
        """Return (batch, places, width)."""
        for step in self.steps:
            x = STEPS[step](x)
        return x


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=4))
def test_answers_any_batch_as_before_whatever_sizes_depend_on(steps, tmp_path):
    before = exported(Drawn(steps), tmp_path)
    after = folded(before)
    for count in (1, 4, 130):
        x = np.random.default_rng(count).standard_normal((count, PLACES, WIDTH), dtype=np.float32)
        assert answered(before, x).tobytes() == answered(after, x).tobytes(), count


def test_leaves_a_graph_with_a_second_free_size_as_it_computes(tmp_path):
    before = exported(Attending(), tmp_path)
    before.graph.input[0].type.tensor_type.shape.dim[1].ClearField("dim_value")
    after = folded(before)
    assert kinds(after)["Shape"] == kinds(before)["Shape"]
