"""ResNet-20 whose weights lie channels last in memory, as torch trains convolutions faster on a processor."""

import torch  # noqa: TID253 - the file builds a torch module
from resnet20 import ResNet20


def resnet20(classes: int = 10) -> torch.nn.Module:
    """Return a ResNet-20: (batch, 3, 32, 32) → logits (batch, classes)."""
    return ResNet20(classes).to(memory_format=torch.channels_last)
