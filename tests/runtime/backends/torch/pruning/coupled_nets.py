"""Small networks in which channels, neurons and heads belong together in every way that pruning has to follow."""

import itertools

import torch  # noqa: TID253 - the file defines torch modules
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253


class Block(nn.Module):
    """A residual block; another width or stride goes through a convolution of its own."""

    def __init__(self, inputs, planes, stride=1):
        super().__init__()
        self.first, self.one = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False), nn.BatchNorm2d(planes)
        self.second, self.two = nn.Conv2d(planes, planes, 3, 1, 1, bias=False), nn.BatchNorm2d(planes)
        self.down = nn.Conv2d(inputs, planes, 1, stride) if inputs != planes or stride > 1 else nn.Identity()

    def forward(self, x):
        return functional.relu(self.two(self.second(functional.relu(self.one(self.first(x))))) + self.down(x))


class Residual(nn.Module):
    """(batch, 3, 8, 8) → (batch, classes): the residual stream is flattened into the head."""

    def __init__(self, classes=3, width=8):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.Sequential(Block(width, width), Block(width, 2 * width, 2), Block(2 * width, 2 * width))
        self.head = nn.Linear(2 * width * 16, classes)

    def forward(self, image):
        return self.head(self.blocks(self.stem(image)).flatten(1))


class Padded(nn.Module):
    """A shortcut that pads its channels with zeros, so that the stream's width is counted on: (batch, 3, 8, 8)."""

    def __init__(self):
        super().__init__()
        self.stem, self.wide = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.inner, self.outer = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 2)

    def forward(self, image):
        x = self.stem(image)
        x = self.wide(x) + functional.pad(x, (0, 0, 0, 0, 2, 2))
        x = x + self.outer(functional.relu(self.inner(x)))
        return self.head(x.mean((2, 3)))


class Separable(nn.Module):
    """An inverted residual with a depthwise convolution, then a grouped one: (batch, 3, 8, 8) → (batch, 2)."""

    def __init__(self):
        super().__init__()
        self.stem, self.expand, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 24, 1), nn.BatchNorm2d(24)
        self.depthwise = nn.Conv2d(24, 24, 3, padding=1, groups=24)
        self.project, self.grouped, self.head = nn.Conv2d(24, 8, 1), nn.Conv2d(8, 8, 3, groups=2), nn.Linear(8, 2)

    def forward(self, image):
        x = self.stem(image)
        inner = functional.relu6(self.depthwise(functional.relu6(self.norm(self.expand(x)))))
        return self.head(self.grouped(x + self.project(inner)).mean((2, 3)))


class Joined(nn.Module):
    """Two branches that are concatenated, and a group normalization: (batch, 3, 8, 8) → (batch, 2)."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.joined = nn.Conv2d(3, 6, 3), nn.Conv2d(3, 4, 3), nn.Conv2d(10, 16, 1)
        self.norm, self.slopes, self.last = nn.GroupNorm(4, 16), nn.PReLU(16), nn.ConvTranspose2d(16, 6, 2)
        self.head = nn.Linear(6, 2)

    def forward(self, image):
        x = self.joined(torch.cat([self.left(image), self.right(image)], 1))
        return self.head(self.last(self.slopes(self.norm(x))).mean((2, 3)))


class Gated(nn.Module):
    """A linear layer whose halves are multiplied: (batch, 6) → (batch, 2)."""

    def __init__(self):
        super().__init__()
        self.both, self.head = nn.Linear(6, 24), nn.Linear(12, 2)

    def forward(self, x):
        first, second = self.both(x).chunk(2, -1)
        return self.head(first * torch.sigmoid(second))


class Encoder(nn.Module):
    """Torch's own encoder layers over tokens: (batch, 5) → (batch, 2)."""

    def __init__(self, batch_first=True, width=16):
        super().__init__()
        self.table, self.first = nn.Embedding(20, width), batch_first
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, batch_first=batch_first)
        self.layers, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(width, 2)

    def forward(self, tokens):
        x = self.table(tokens)
        x = x if self.first else x.transpose(0, 1)
        return self.head(self.layers(x).mean(1 if self.first else 0))


class OwnAttention(nn.Module):
    """Attention of linear layers, apart or stacked; the width of all heads is written down or follows."""

    def __init__(self, stacked, width=16, heads=4):
        super().__init__()
        self.num_heads, self.embed_dim, self.stacked = heads, width, stacked
        if stacked:
            self.qkv = nn.Linear(width, 3 * width)
        else:
            self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, x):
        batch, steps, _ = x.shape
        if self.stacked:
            q, k, v = self.qkv(x).reshape(batch, steps, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        else:
            q, k, v = (
                part(x).view(batch, steps, self.num_heads, -1).transpose(1, 2) for part in (self.q, self.k, self.v)
            )
        answer = ((q @ k.transpose(-1, -2) / 2).softmax(-1) @ v).transpose(1, 2)
        return self.out(answer.reshape(batch, steps, -1 if self.stacked else self.embed_dim))


class Transformer(nn.Module):
    """A layer with attention of its own: (batch, 5, 6) → (batch, 2)."""

    def __init__(self, stacked):
        super().__init__()
        self.into, self.attention, self.norm = nn.Linear(6, 16), OwnAttention(stacked), nn.LayerNorm(16)
        self.up, self.down, self.head = nn.Linear(16, 32), nn.Linear(32, 16), nn.Linear(16, 2)

    def forward(self, x):
        x = self.norm(self.into(x))
        x = x + self.attention(x)
        return self.head((x + self.down(functional.gelu(self.up(x))))[:, 0])


class TiedLayers(nn.Module):
    """Two layers with one weight, then two of their own: (batch, 6) → (batch, 2)."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 8), nn.Linear(8, 2)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.d(torch.relu(self.c(self.b(torch.relu(self.a(x))))))


class Deciding(nn.Module):
    """A forward that goes one of two ways: (batch, 6) → (batch, 2)."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x):
        return self.b(self.a(x)) if self.a(x).sum() > 0 else self.b(x)


def mlp(widths=(6, 16, 16, 2)):
    """Linear layers with ReLU between: (batch, 6) → (batch, 2)."""
    layers = [nn.Linear(*pair) for pair in itertools.pairwise(widths)]
    return nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))[:-1]
