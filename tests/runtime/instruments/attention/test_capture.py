"""Attention is captured whoever computes it, and is what the same layers give when they keep it."""

import sys

import numpy as np
import pytest
import torch  # noqa: TID253 - its very subject
from torch import nn  # noqa: TID253 - its very subject
from torch.nn import functional  # noqa: TID253 - its very subject

import titrant
from titrant.schema.diagnostics.diagnostics import RecipeError, StepError

WIDTH, HEADS = 16, 4
ROWS = torch.randn(3, 6, WIDTH, generator=torch.Generator().manual_seed(1))


class Layer(nn.Module):
    """torch's own layer, which fuses its attention unless its weights are asked for."""

    def __init__(self, kept=False, causal=False):
        super().__init__()
        torch.manual_seed(0)
        self.attend = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, dropout=0.5)
        self.kept, self.causal = kept, causal

    def forward(self, x):
        mask = torch.ones(6, 6, dtype=torch.bool).triu(1) if self.causal else None
        return self.attend(x, x, x, need_weights=self.kept, attn_mask=mask)[0]


class Grouped(nn.Module):
    """Four query heads share two key heads; the mask is causal."""

    def __init__(self, fused=True):
        super().__init__()
        torch.manual_seed(0)
        self.q, self.k, self.v = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH // 2), nn.Linear(WIDTH, WIDTH // 2)
        self.fused = fused

    def forward(self, x):
        q, k, v = (part(x).unflatten(-1, (-1, 4)).transpose(1, 2) for part in (self.q, self.k, self.v))
        if self.fused:
            answer = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        else:
            k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
            scores = (q @ k.transpose(2, 3) / 2).masked_fill(torch.ones(6, 6).triu(1).bool(), -torch.inf)
            answer = scores.softmax(-1) @ v
        return answer.transpose(1, 2).flatten(2)


def kept_by(layer):
    """What torch's layer says itself when it keeps its weights."""
    module = layer.eval().attend
    mask = torch.ones(6, 6, dtype=torch.bool).triu(1) if layer.causal else None
    with torch.no_grad():
        return module(ROWS, ROWS, ROWS, average_attn_weights=False, attn_mask=mask)[1].numpy()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kept", [False, True])
def test_captures_a_layer_of_torch_fused_or_not(kept, causal):
    layer = Layer(kept, causal).train()
    found = titrant.capture_attention(layer, ROWS)
    assert list(found) == ["attend"]
    assert found["attend"].shape == (3, HEADS, 6, 6)
    assert np.abs(found["attend"] - kept_by(layer)).max() < 1e-5


def test_takes_the_key_head_of_each_group_and_looks_only_back():
    fused, plain = (titrant.capture_attention(Grouped(way), ROWS) for way in (True, False))
    assert list(fused) == list(plain) == ["Grouped"]
    assert fused["Grouped"].shape == (3, 4, 6, 6)
    assert np.abs(fused["Grouped"] - plain["Grouped"]).max() < 1e-5
    assert np.triu(fused["Grouped"], 1).max() == 0


def encoder(**given):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 32, batch_first=True, **given)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=not given).eval()


@pytest.mark.parametrize("given", [{}, {"norm_first": True}])
def test_leaves_the_fast_path_of_an_encoder_and_reads_it_where_it_is_traced(given):
    model = encoder(**given)
    found = titrant.capture_attention(model, ROWS)
    assert list(found) == ["layers.0.self_attn", "layers.1.self_attn"]
    with torch.no_grad():
        traced = torch.jit.trace(model, ROWS, check_trace=False)  # the layers become one call each
        inside = model.layers[0].norm1(ROWS) if given else ROWS
        kept = model.layers[0].self_attn(inside, inside, inside, average_attn_weights=False)[1].numpy()
    assert np.abs(found["layers.0.self_attn"] - kept).max() < 1e-5
    again = titrant.capture_attention(traced, ROWS)
    assert [np.abs(mine - its).max() < 1e-5 for mine, its in zip(found.values(), again.values(), strict=True)] == [
        True
    ] * 2
    assert torch.backends.mha.get_fastpath_enabled()


def test_sees_padding_and_attention_across():
    hidden = torch.tensor([[False] * 6, [False] * 4 + [True] * 2, [False] * 6])
    found = titrant.capture_attention(encoder(), {"src": ROWS, "src_key_padding_mask": hidden})
    assert found["layers.0.self_attn"][1, :, :, 4:].max() == 0
    decoder = nn.TransformerDecoderLayer(WIDTH, HEADS, 32, batch_first=True)
    across = titrant.capture_attention(decoder, [ROWS, torch.randn(3, 9, WIDTH)])
    assert {name: weights.shape for name, weights in across.items()} == {
        "self_attn": (3, HEADS, 6, 6),
        "multihead_attn": (3, HEADS, 6, 9),
    }


def test_captures_what_an_onnx_file_computes(tmp_path):
    for name, model in (("layer", Layer()), ("grouped", Grouped(fused=False)), ("encoder", encoder())):
        file = tmp_path / f"{name}.onnx"
        torch.onnx.export(model.eval(), (ROWS,), file, dynamo=False, input_names=["x"], opset_version=17)
        live, stored = titrant.capture_attention(model, ROWS), titrant.capture_attention(file, ROWS.numpy())
        assert [its.shape for its in stored.values()] == [mine.shape for mine in live.values()]
        for mine, its in zip(live.values(), stored.values(), strict=True):
            assert np.abs(mine - its).max() < 1e-5
    assert list(stored) == ["layers.0.self_attn", "layers.1.self_attn"]


def test_names_the_layers_of_a_program_as_the_module_does(tmp_path):
    model = encoder()
    torch.export.save(torch.export.export(model, (ROWS,)), tmp_path / "net.pt2")
    live, stored = titrant.capture_attention(model, ROWS), titrant.capture_attention(tmp_path / "net.pt2", ROWS.numpy())
    assert list(stored) == list(live)
    assert all(np.abs(live[name] - stored[name]).max() < 1e-5 for name in live)


def graph_of(node, inputs, initializers=()):
    from onnx import TensorProto, helper, numpy_helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in inputs.items()]
    held = [numpy_helper.from_array(array, name) for name, array in initializers]
    answer = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "places", "width"])]
    graph = helper.make_graph([node], "fused", values, answer, held)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def test_takes_apart_the_fused_operators_of_onnxruntime(tmp_path):
    import onnx
    import onnxruntime
    from onnx import helper

    draw = np.random.default_rng(0)
    x, weight = draw.normal(size=(2, 5, 8)).astype("float32"), draw.normal(size=(8, 24)).astype("float32")
    bias = draw.normal(size=24).astype("float32")
    own = helper.make_node(
        "Attention", ["x", "w", "b"], ["y"], "own", domain="com.microsoft", num_heads=2, unidirectional=1
    )
    several = helper.make_node(
        "MultiHeadAttention", ["q", "k", "v"], ["y"], "several", domain="com.microsoft", num_heads=2
    )
    query, key, value = (x @ weight[:, at : at + 8] + bias[at : at + 8] for at in (0, 8, 16))
    cases = [
        (own, {"x": x}, [("w", weight), ("b", bias)]),
        (several, {"q": query, "k": key, "v": value}, []),
    ]
    for node, inputs, held in cases:
        model = graph_of(node, inputs, held)
        onnx.save(model, tmp_path / "fused.onnx")
        (weights,) = titrant.capture_attention(tmp_path / "fused.onnx", inputs).values()
        session = onnxruntime.InferenceSession(str(tmp_path / "fused.onnx"), providers=["CPUExecutionProvider"])
        values = value.reshape(2, 5, 2, 4).transpose(0, 2, 1, 3)
        made = (weights @ values).transpose(0, 2, 1, 3).reshape(2, 5, 8)
        assert np.abs(made - session.run(None, inputs)[0]).max() < 1e-4
    node = helper.make_node("GroupQueryAttention", ["q"], ["y"], "grouped", domain="com.microsoft", num_heads=2)
    from titrant.runtime.instruments.attention.of_graph import capture

    with pytest.raises(StepError, match="X685: grouped is a fused GroupQuery"):
        capture(graph_of(node, {"q": query}), {"q": query})


def message(model, inputs):
    with pytest.raises((RecipeError, StepError)) as raised:
        titrant.capture_attention(model, inputs)
    return str(raised.value)


def test_says_in_a_line_what_it_cannot_do(tmp_path):
    assert message(nn.Sequential(nn.Linear(WIDTH, 4), nn.Softmax(-1)), ROWS) == (
        "X684: Sequential computes no attention on these inputs: no softmax of a product of two computed tensors "
        "(attention without a softmax, as in linear attention, has no weights to capture)"
    )
    assert message(Layer(), torch.zeros(3, 6, 8)) == (
        "X683: the model cannot answer a batch of (3, 6, 8) float32: layer attend (MultiheadAttention): was expecting "
        "embedding dimension of 16, but got 8 "
        "(give inputs that it takes, rows first; where these are such, call it with them yourself and mend it)"
    )
    assert "X682: the inputs hold no tensor" in message(Layer(), {"x": "text"})
    (tmp_path / "w.safetensors").write_bytes(b"no weights at all")
    assert "X682: " in message(tmp_path / "w.safetensors", ROWS)
    assert "P080: a list is no model that can be looked into" in message([], ROWS)


def test_tells_nothing_of_what_the_models_own_code_says():
    class Own(nn.Module):
        def forward(self, x):
            raise ValueError(f"patient {x[0, 0, 0]}")

    said = message(nn.Sequential(Own()), ROWS)
    assert "patient" not in said
    assert "layer 0 (Own): ValueError" in said


def test_leaves_no_hook_behind_when_the_model_fails():
    layer = Layer()
    message(layer, torch.zeros(3, 6, 8))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in layer.modules())
    assert layer.training
    assert torch.backends.mha.get_fastpath_enabled()
    assert "titrant.runtime.instruments.attention.of_module" in sys.modules
