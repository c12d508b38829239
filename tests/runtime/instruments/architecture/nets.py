"""Small nets of the kinds that are drawn: residual, with skips, dense, with attention, with two inputs, and long."""

import torch  # noqa: TID253 - the nets are torch modules
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x):
        return functional.relu(self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x))))) + x)


class ResNet(nn.Module):
    def __init__(self, blocks=3):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.layer = nn.Sequential(*[Residual(8) for _ in range(blocks)])
        self.head = nn.Linear(8, 2)

    def forward(self, image):
        return self.head(self.layer(self.stem(image)).mean((2, 3)))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.mid = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.up = nn.Conv2d(8, 2, 3, padding=1)

    def forward(self, x):
        skip = self.down(x)
        deep = functional.interpolate(self.mid(functional.max_pool2d(skip, 2)), scale_factor=2.0)
        return self.up(torch.cat([deep, skip], 1))


class Attending(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.embed = nn.Embedding(16, width)
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.head = nn.Linear(width, 16, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        x = self.embed(tokens)
        y = functional.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x))
        return self.head(x + y)


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.image, self.table = nn.Linear(4, 3), nn.Linear(2, 3)

    def forward(self, image, table):
        joined = self.image(image) + self.table(table)
        return {"class": joined, "age": joined.sum(1)}


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.same = nn.Linear(4, 4)

    def forward(self, x):
        return self.same(functional.relu(self.same(x)))


class Deciding(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.first(x) if float(x.sum()) > 0 else self.second(x)


def long_net(layers):
    """A flat net in which no two layers are alike."""
    widths = [4 + place % 7 + place // 7 for place in range(layers + 1)]
    return nn.Sequential(*[nn.Linear(widths[place], widths[place + 1]) for place in range(layers)])


IMAGE = torch.zeros(2, 3, 8, 8)
