"""A small network over time."""

import torch


class Net(torch.nn.Module):
    """A series (batch, 1, 250) → two logits."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Conv1d(1, 16, 9, stride=2, padding=4), torch.nn.ReLU(),
            torch.nn.Conv1d(16, 32, 9, stride=2, padding=4), torch.nn.ReLU(),
            torch.nn.AdaptiveMaxPool1d(1), torch.nn.Flatten(), torch.nn.Linear(32, 2),
        )  # fmt: skip

    def forward(self, ecg: torch.Tensor) -> torch.Tensor:
        return self.body(ecg)
