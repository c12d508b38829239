"""Count a live module's parameters, tied weights once."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Counts:
    """How many parameters a module has, how many of them train, and the bytes that all of them take."""

    total: int
    trainable: int
    bytes: int


def count_parameters(module: "torch.nn.Module") -> Counts:
    """Count every parameter of a module once, however many layers share it; buffers are not parameters.

    Works on any device, the meta device included; nothing is read or moved.
    """
    parameters = list(module.parameters())
    return Counts(
        total=sum(one.numel() for one in parameters),
        trainable=sum(one.numel() for one in parameters if one.requires_grad),
        bytes=sum(one.numel() * one.element_size() for one in parameters),
    )
