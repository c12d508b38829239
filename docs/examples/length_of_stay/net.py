"""A network for tables of eight numbers."""

import torch
from torch import nn


class Net(nn.Module):
    """(batch, 8) → days (batch, 1)."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the days."""
        return self.layers(x)
