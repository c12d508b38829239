"""The CIFAR ResNet-20 of He et al. 2015, section 4.2, with parameter-free shortcuts (option A)."""

import torch  # noqa: TID253 - the file defines torch modules
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253


class Block(nn.Module):
    """Two 3 x 3 convolutions; a change of width takes every second pixel and pads channels with zeros."""

    def __init__(self, wide: int, planes: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(wide, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.pad = (planes - wide) // 2
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, planes, height / stride, width / stride)."""
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.stride != 1:
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        return functional.relu(out + x)


class ResNet20(nn.Module):
    """(batch, 3, 32, 32) → logits (batch, classes); 269,722 parameters for ten classes."""

    def __init__(self, classes: int = 10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(Block(16, 16, 1), Block(16, 16, 1), Block(16, 16, 1))
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
        self.linear = nn.Linear(64, classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, classes)."""
        out = functional.relu(self.bn1(self.conv1(image)))
        out = self.layer3(self.layer2(self.layer1(out)))
        return self.linear(out.mean((2, 3)))
