"""Attention with fewer heads answers as torch's own whose output reads zeros from the others."""

import copy

import pytest
import torch  # noqa: TID253 - the tests run modules
from torch import nn  # noqa: TID253

from titrant.runtime.backends.torch.pruning.attention import Heads, NarrowAttention
from titrant.runtime.backends.torch.pruning.cut import HEADS, record_of, rewrite

KEPT = [0, 2, 3]


def pair(batch_first=True, **options):
    """Torch's layer with head 1 read as zeros, and the narrow one without it."""
    torch.manual_seed(0)
    whole = nn.MultiheadAttention(12, 4, batch_first=batch_first, **options).eval()
    if whole.in_proj_bias is not None:
        nn.init.normal_(whole.in_proj_bias)
    narrow = NarrowAttention(Heads.of(whole), KEPT).eval()
    with torch.no_grad():
        whole.out_proj.weight[:, 3:6] = 0
    return whole, narrow


def close(given, asked):
    torch.testing.assert_close(given, asked, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_answers_as_if_the_heads_were_not_read(batch_first, bias):
    whole, narrow = pair(batch_first, bias=bias)
    x, y = torch.randn(2, 5, 12), torch.randn(2, 5, 12)
    for weights in (True, False):
        close(narrow(x, y, y, need_weights=weights)[0], whole(x, y, y, need_weights=weights)[0])
    close(narrow(x[0], y[0], y[0])[0], whole(x[0], y[0], y[0])[0])


def test_takes_keys_and_values_of_another_width():
    whole, narrow = pair(kdim=6, vdim=10)
    given = torch.randn(2, 5, 12), torch.randn(2, 7, 6), torch.randn(2, 7, 10)
    close(narrow(*given)[0], whole(*given)[0])


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
@pytest.mark.parametrize("weights", [True, False])
def test_hides_what_masks_hide(dtype, weights):
    whole, narrow = pair()
    x = torch.randn(2, 5, 12)
    over = torch.ones(5, 5).triu(1).bool()
    padding = torch.tensor([[False] * 5, [False, False, False, True, True]])
    by_head = torch.stack([over & (torch.arange(5) != head % 5) for head in range(8)])
    if dtype is not torch.bool:
        over, padding, by_head = (
            torch.zeros(mask.shape).masked_fill(mask, float("-inf")) for mask in (over, padding, by_head)
        )
    for masks in ({"attn_mask": over}, {"key_padding_mask": padding}, {"attn_mask": over, "key_padding_mask": padding}):
        close(narrow(x, x, x, need_weights=weights, **masks)[0], whole(x, x, x, need_weights=weights, **masks)[0])
    # A mask for each head is made by whoever knows how many there were.
    close(narrow(x, x, x, attn_mask=by_head)[0], whole(x, x, x, attn_mask=by_head)[0])
    causal = {"attn_mask": over, "is_causal": True, "need_weights": False}
    close(narrow(x, x, x, **causal)[0], whole(x, x, x, **causal)[0])


def test_answers_with_the_weights_of_its_heads():
    whole, narrow = pair()
    x = torch.randn(2, 5, 12)
    close(narrow(x, x, x, average_attn_weights=False)[1], whole(x, x, x, average_attn_weights=False)[1][:, KEPT])
    assert narrow(x, x, x)[1].shape == (2, 5, 5)
    assert narrow(x, x, x, need_weights=False)[1] is None


def test_is_cut_once_more():
    whole, narrow = pair()
    again = NarrowAttention(Heads.of(narrow), [0, 2]).eval()
    with torch.no_grad():
        whole.out_proj.weight[:, 6:9] = 0
    x = torch.randn(2, 5, 12)
    close(again(x, x, x)[0], whole(x, x, x)[0])
    assert again.heads == (0, 3)


def test_counts_the_parameters_of_a_head():
    whole, narrow = pair()
    gone = sum(w.numel() for w in whole.parameters()) - sum(w.numel() for w in narrow.parameters())
    assert gone == Heads.of(whole).parameters == Heads.of(narrow).parameters


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_stands_in_an_encoder_also_where_torch_would_fuse_its_layers():
    """Which turns rows with padding into nested tensors, whose kernels know torch's own attention only."""
    torch.manual_seed(0)
    whole = nn.TransformerEncoder(nn.TransformerEncoderLayer(12, 4, 24, batch_first=True), 2).eval()
    attention = [f"layers.{layer}.self_attn" for layer in range(2)]
    record = record_of(whole, {(name, HEADS): [1] for name in attention}, {})
    cut = rewrite(copy.deepcopy(whole), record)
    with torch.no_grad():
        for name in attention:
            whole.get_submodule(name).out_proj.weight[:, 3:6] = 0
    x, padding = torch.randn(2, 5, 12), torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    with torch.inference_mode():
        close(cut(x), whole(x))
        answers = (module(x, src_key_padding_mask=padding) for module in (cut, whole))
        close(*(answer[~padding] for answer in answers))
