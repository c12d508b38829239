"""A small convolutional network."""

import torch
from torch import nn


class Net(nn.Module):
    """(batch, 1, 12, 12) → a logit for each finding, (batch, 3)."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.ReLU()
        )
        self.findings = nn.Linear(16 * 36, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return self.findings(self.features(image).flatten(1))
