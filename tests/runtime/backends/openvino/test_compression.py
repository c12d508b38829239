"""What NNCF made of a graph still answers a case a row, in any batch."""

import numpy as np
import pytest
import torch  # noqa: TID253 - the tests build tiny modules
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn  # noqa: TID253

from titrant.runtime.backends import backend
from titrant.runtime.backends.openvino.convert import converted, write_ir
from titrant.runtime.backends.openvino.session import open_session
from titrant.runtime.operators.quantize.openvino_ptq import OpenvinoPtqParams
from titrant.schema.diagnostics.diagnostics import StepError

PLACES, WIDTH = 5, 16


class OnePlace(nn.Module):
    """Keep one place of a sequence, before, between or behind its products."""

    def __init__(self, place, where, bias):
        super().__init__()
        self.place, self.where = place, where
        self.first, self.second = (nn.Linear(WIDTH, WIDTH, bias=bias) for _ in range(2))

    def forward(self, x):
        for step, layer in enumerate((self.first, self.second)):
            x = x[:, self.place] if step == self.where else x
            x = torch.relu(layer(x)) if step == 0 else layer(x)
        return x[:, self.place] if self.where > 1 else x


def in_int8(module, folder, rows):
    from titrant.runtime.backends.openvino.compression import quantized  # it loads NNCF, a second

    path = folder / "m.onnx"
    torch.onnx.export(
        module.eval(), (torch.zeros(2, PLACES, WIDTH),), str(path), dynamo=False, input_names=["x"],
        output_names=["y"], dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
    )  # fmt: skip
    graph, source = converted(path)
    made = quantized(graph, [{"x": rows}], OpenvinoPtqParams().model_dump(), left=(), threads=1)
    return write_ir(made, source, folder / "ir")


@settings(max_examples=4)
@given(place=st.sampled_from((0, 2, -1)), where=st.integers(0, 2), bias=st.booleans(), batch=st.integers(1, 9))
def test_keeps_the_batch_where_one_place_is_taken(place, where, bias, batch, tmp_path_factory):
    torch.manual_seed(0)
    module, folder = OnePlace(place, where, bias), tmp_path_factory.mktemp("one")
    rows = np.random.default_rng(0).normal(size=(32, PLACES, WIDTH)).astype(np.float32)
    with open_session(in_int8(module, folder, rows), threads=1) as session:
        answer = session.run({"x": rows[:batch]})["y"]
    truth = module(torch.from_numpy(rows[:batch])).detach().numpy()
    assert answer.shape == truth.shape
    assert np.abs(answer - truth).max() < 0.1 * np.abs(truth).max()


class BothWays(nn.Module):
    """An LSTM of two directions before one of one, from a state that is learned, and a linear layer."""

    def __init__(self):
        super().__init__()
        self.state = nn.Parameter(torch.rand(2, 1, 8) - 0.5)
        self.first = nn.LSTM(WIDTH, 8, batch_first=True, bidirectional=True)
        self.second, self.head = nn.LSTM(WIDTH, 24, batch_first=True), nn.Linear(24, 4)

    def forward(self, x):
        state = self.state.expand(2, x.shape[0], 8).contiguous()
        return self.head(self.second(self.first(x, (state, torch.zeros_like(state)))[0])[0])


def test_answers_in_int8_as_an_lstm_does(tmp_path):
    """NNCF's own ranges left the first in fp32, and gave others 0 to 28 dB of signal to noise."""
    torch.manual_seed(0)
    module = BothWays()
    rows = 2 * np.random.default_rng(0).normal(size=(32, PLACES, WIDTH)).astype(np.float32)
    rows[..., 0] *= 100  # a column of its own scale
    module.first.weight_ih_l0.data[:, 0] /= 100
    module.first.weight_ih_l0_reverse.data[:, 0] /= 100
    model = in_int8(module, tmp_path, rows)
    ran = backend.get("openvino").executed(model, layers=("first", "second", "head"))
    assert {layer.name: layer.precision for layer in ran} == dict.fromkeys(("first", "second", "head"), "int8")
    with open_session(model, threads=1) as session:
        answer = session.run({"x": rows})["y"]
    truth = module(torch.from_numpy(rows)).detach().numpy()
    said = ((truth - truth.mean((0, 1))) ** 2).mean()
    assert 10 * np.log10(said / ((answer - truth) ** 2).mean()) > 30


def test_blames_the_engine_for_another_shape(tmp_path, monkeypatch):
    monkeypatch.setattr("titrant.runtime.backends.openvino.compression._keep_ranks", lambda graph: None)
    rows = np.random.default_rng(0).normal(size=(32, PLACES, WIDTH)).astype(np.float32)
    made = in_int8(OnePlace(-1, 2, bias=False), tmp_path, rows)
    with open_session(made, threads=1) as session, pytest.raises(StepError, match="in shape") as raised:
        session.run({"x": rows[:3]})
    assert raised.value.diagnostics[0].code == "X238"
