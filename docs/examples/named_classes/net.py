"""The network that the weights belong to."""

import torch


class Net(torch.nn.Module):
    """13 measurements of a wine → one logit a grape."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(13, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)
