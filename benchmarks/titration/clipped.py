"""The depthwise network of small_nets with ReLU6 in place of ReLU, whose channels no exact rewrite can balance."""

import nets  # type: ignore[import-not-found]  # small_nets' own definitions, which lie beside this file
import torch  # noqa: TID253 - the file defines a torch module
from torch import nn  # noqa: TID253


class Clipped(nets.Depthwise):
    """Images (batch, 1, 28, 28) → logits (batch, 10); 0.30 M parameters, every activation cut off at 6.

    ReLU6 is not homogeneous: relu6(s · x) = s · relu6(x) fails as soon as either side reaches 6, so a channel between
    two of them cannot be scaled and its successor scaled back without changing the function.
    """

    def __init__(self) -> None:
        super().__init__()
        _cut_off(self)


def _cut_off(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.ReLU):
            setattr(module, name, nn.ReLU6())
        else:
            _cut_off(child)


def inner_pairs(network: nn.Module) -> list[tuple[nn.BatchNorm2d, nn.Conv2d, nn.Conv2d]]:
    """List (norm of a producer, the producer, its consumer) wherever one ReLU alone lies between two convolutions."""
    pairs = []
    for block in network.blocks:  # type: ignore[union-attr]
        if isinstance(block.pw, nn.Sequential):
            pairs.append((block.pw[1], block.pw[0], block.dw[0]))
        pairs.append((block.dw[1], block.dw[0], block.pj[0]))
    return pairs


def scale_channels(norm: nn.BatchNorm2d, consumer: nn.Conv2d, channels: torch.Tensor, by: float) -> None:
    """Let some channels leave a norm `by` times larger, and their consumer's weights be as much smaller."""
    with torch.no_grad():
        norm.weight[channels] *= by
        norm.bias[channels] *= by
        if consumer.groups > 1:  # depthwise: one filter a channel
            consumer.weight[channels] /= by
        else:
            consumer.weight[:, channels] /= by
