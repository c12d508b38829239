"""FLOPs: two per multiply-add, as counted by hand, with and without values."""

import contextlib

import pytest
import torch  # noqa: TID253 - the tests build tiny modules
from torch import nn  # noqa: TID253

from titrant.runtime.inspecting.torch_flops import counter
from titrant.runtime.torch.plain_attention import plain_attention


class Attends(nn.Module):
    """One projection and attention of 4 heads, 8 wide: (batch, 10, 32)."""

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(32, 32, bias=False)

    def forward(self, x):
        q = self.q(x).view(x.shape[0], 10, 4, 8).transpose(1, 2)
        return nn.functional.scaled_dot_product_attention(q, q, q)


# What builds it, the shape of two cases, and the FLOPs of one by hand.
BY_HAND = {
    "linear": (lambda: nn.Linear(30, 7), (2, 30), 2 * 30 * 7),
    "convolution": (lambda: nn.Conv2d(3, 5, 3, stride=2), (2, 3, 9, 9), 2 * 5 * 4 * 4 * 3 * 9),
    "depthwise": (lambda: nn.Conv2d(8, 8, 3, groups=8, padding=1), (2, 8, 6, 6), 2 * 8 * 36 * 9),
    "transposed": (lambda: nn.ConvTranspose2d(3, 5, 3, stride=2), (2, 3, 8, 8), 2 * 3 * 64 * 5 * 9),
    "attention": (Attends, (2, 10, 32), 2 * 10 * 32 * 32 + 2 * 2 * 4 * 10 * 10 * 8),
    "encoder": (
        lambda: nn.TransformerEncoderLayer(32, 4, 64, batch_first=True),
        (2, 10, 32),
        2 * 10 * (4 * 32 * 32 + 2 * 32 * 64) + 2 * 2 * 4 * 10 * 10 * 8,
    ),
    "lstm": (lambda: nn.LSTM(32, 16, batch_first=True), (2, 10, 32), 10 * 2 * 4 * 16 * (32 + 16)),
    "gru": (lambda: nn.GRU(32, 16, batch_first=True), (2, 10, 32), 10 * 2 * 3 * 16 * (32 + 16)),
    "norm": (lambda: nn.LayerNorm(32), (2, 10, 32), 0),
}


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.parametrize("mode", ["meta", "real"])
def test_counts_as_one_does_by_hand(name, mode):
    build, shape, expected = BY_HAND[name]
    place = torch.device("meta") if mode == "meta" else contextlib.nullcontext()
    counting = counter()
    with place, plain_attention(), torch.no_grad():
        module, inputs = build().eval(), torch.zeros(*shape)
        with counting:
            module(inputs)
    assert counting.get_total_flops() == 2 * expected


def test_counts_an_embedding_as_nothing():
    counting = counter()
    with counting, torch.device("meta"):
        nn.Embedding(10, 4)(torch.zeros(2, 3, dtype=torch.int64))
    assert counting.get_total_flops() == 0


def test_leaves_the_fast_path_as_it_was():
    before = torch.backends.mha.get_fastpath_enabled()
    with plain_attention():
        assert not torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.mha.get_fastpath_enabled() is before
