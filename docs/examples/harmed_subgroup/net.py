"""A network for patients of two sites, one of which reports its measurement in another unit."""

import torch


class SiteNet(torch.nn.Module):
    """Three layers, ready as they are: half of the hidden units read what site A measures, half what site B does."""

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.first, self.middle = torch.nn.Linear(4, hidden), torch.nn.Linear(hidden, hidden)
        self.last = torch.nn.Linear(hidden, 2)
        generator = torch.Generator().manual_seed(0)
        sign = torch.tensor([1.0, -1.0]).repeat(hidden // 2)
        with torch.no_grad():
            for layer in (self.first, self.middle, self.last):
                torch.nn.init.zeros_(layer.weight)
                torch.nn.init.zeros_(layer.bias)
            at_b = torch.rand(hidden, generator=generator) < 0.5
            self.first.weight[:, :3] = torch.where(at_b, 0.0, sign)[:, None] * torch.tensor([0.5, 0.4, 0.1])
            self.first.weight[:, 3] = torch.where(at_b, sign, 0.0)
            # What comes from site B is a hundred times as large, and its weights are a hundredth.
            size = torch.where(at_b, 0.01, 1.0) * (1 + 0.2 * torch.rand(hidden, generator=generator))
            self.middle.weight[:] = torch.outer(sign, sign * size) / hidden
            self.last.weight[1] = sign / hidden
            self.last.weight[0] = -self.last.weight[1]
            self.last.bias[:] = torch.tensor([0.001, -0.001])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 20 * self.last(torch.relu(self.middle(torch.relu(self.first(x)))))
