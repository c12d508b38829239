"""A network of two inputs."""

import torch


class Net(torch.nn.Module):
    """A note's embedding (batch, 16) and a visit's measurements (batch, 2) → two logits."""

    def __init__(self) -> None:
        super().__init__()
        self.note = torch.nn.Linear(16, 32)
        self.visit = torch.nn.Linear(2, 8)
        self.last = torch.nn.Sequential(torch.nn.Linear(40, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))

    def forward(self, note: torch.Tensor, visit: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(torch.cat([self.note(note), self.visit(visit)], dim=1)))
