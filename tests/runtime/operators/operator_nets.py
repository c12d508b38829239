"""A user's own models and data, small enough for tests; the folder of this file is put on the import path."""

import itertools

import numpy as np
import torch  # noqa: TID253 - the file defines torch modules
from torch import nn  # noqa: TID253


class TinyNet(nn.Module):
    """Convolution, normalization and a linear layer: (batch, inputs, 6, 6) → logits (batch, classes)."""

    def __init__(self, classes=2, channels=4, inputs=1):
        super().__init__()
        self.convolution = nn.Conv2d(inputs, channels, 3, bias=False)
        self.normalization = nn.BatchNorm2d(channels)
        self.linear = nn.Linear(channels, classes)

    def forward(self, image):
        features = torch.relu(self.normalization(self.convolution(image)))
        return self.linear(features.mean((2, 3)))


class Tied(nn.Module):
    """Two linear layers that share one weight, beside a buffer that is a part of another."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 5)
        self.second = nn.Linear(5, 5)
        self.second.weight = self.first.weight
        self.register_buffer("whole", torch.arange(6.0))
        self.register_buffer("part", self.whole[2:4])

    def forward(self, x):
        return self.second(torch.relu(self.first(x))) + self.part.sum()


class OwnFp32(nn.Module):
    """Two linear layers, and between them a tensor that the forward makes in fp32: (batch, 4, 8) → the same."""

    def __init__(self, meets):
        super().__init__()
        self.meets = meets
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        angles = torch.arange(4, dtype=torch.float32)[:, None].cos()
        y = self.first(x)
        if self.meets == "attention":
            y = nn.functional.scaled_dot_product_attention(y * angles, y * angles, y)
        elif self.meets == "product":
            y = torch.diag(angles[:, 0]) @ y
        elif self.meets == "convolution":
            y = nn.functional.conv1d(y, torch.diag(angles[:, 0])[:, :, None])
        else:
            y = torch.zeros(y.shape, dtype=torch.float32).scatter(1, torch.zeros(y.shape, dtype=torch.int64), y)
        return self.second(y)


class Normed(nn.Module):
    """Two linear layers that compute their weights from others, of 5 inputs and 5 answers each."""

    def __init__(self, norm):
        super().__init__()
        name, _, before = norm.partition(" ")
        wrap = getattr(nn.utils if before else nn.utils.parametrizations, name)
        self.first, self.second = wrap(nn.Linear(5, 5)), wrap(nn.Linear(5, 5))

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


class SharedSquare(nn.Module):
    """Three linear layers, two of which share one weight: (batch, 256) → (batch, 2)."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(256, 256)
        self.second = nn.Linear(256, 256)
        self.second.weight = self.first.weight
        self.head = nn.Linear(256, 2)

    def forward(self, x):
        return self.head(torch.relu(self.second(torch.relu(self.first(x)))))


class Twice(nn.Module):
    """A linear layer that stands in two places: (batch, 5) → (batch, 5)."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 5)
        self.again = self.first

    def forward(self, x):
        return self.again(torch.relu(self.first(x)))


class TiedLookup(nn.Module):
    """An embedding of rounded numbers whose table is the head's weight too: (batch, n) → (batch, 50)."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(50, 16)
        self.inner = nn.Linear(16, 16)
        self.head = nn.Linear(16, 50)
        self.head.weight = self.table.weight

    def forward(self, x):
        places = (x * 10).long().clamp(0, 49)
        return self.head(torch.relu(self.inner(self.table(places)))).mean(1)


class Lookup(nn.Module):
    """An embedding of rounded numbers, a layer norm and a linear layer: (batch, n) → (batch, 2)."""

    def __init__(self, size):
        super().__init__()
        self.table = nn.Embedding(size, 64)
        self.norm = nn.LayerNorm(64)
        self.head = nn.Linear(64, 2)

    def forward(self, x):
        places = (x * 10).long().clamp(0, self.table.num_embeddings - 1)
        return self.head(self.norm(self.table(places)).mean(1))


class TiedHead(nn.Module):
    """A table of rounded numbers that is the head's weight too, for each of `tokens`: (batch, n) → (batch, size)."""

    def __init__(self, size, tokens):
        super().__init__()
        self.table = nn.Embedding(size, 64)
        self.head = nn.Linear(64, size, bias=False)
        self.head.weight = self.table.weight
        self.tokens = tokens

    def forward(self, x):
        rows = self.table((x * 10).long().clamp(0, self.table.num_embeddings - 1))
        return self.head(rows).mean(1) if self.tokens else self.head(rows.mean(1))


class Placed(nn.Module):
    """Rows to which those of a table are added, always the same: (batch, n) → (batch, 4); `TiedHead` looks them up."""

    def __init__(self, size=400, width=64):
        super().__init__()
        self.into = nn.Linear(1, width)
        self.places = nn.Embedding(size, width)
        self.head = nn.Linear(width, 4)

    def forward(self, x):
        rows = self.into(x[:, :, None]) + self.places.weight[: x.shape[1]]
        return self.head(torch.relu(rows).mean(1))


class Rooted(nn.Module):
    """Causal attention, norms and gates by functions, and a head that is the table: (batch, n) → (batch, size)."""

    def __init__(self, size=600, width=64, blocks=2):
        super().__init__()
        self.table, self.head = nn.Embedding(size, width), nn.Linear(width, size, bias=False)
        self.head.weight = self.table.weight
        self.scales = nn.ParameterList(torch.ones(width) for _ in range(blocks))
        self.layers = nn.ModuleList(
            nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(6)) for _ in range(blocks)
        )

    def forward(self, x):
        x = self.table((x * 10).long().clamp(0, self.table.num_embeddings - 1))
        for scale, (query, key, value, out, gate, up) in zip(self.scales, self.layers, strict=True):
            y = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * scale
            parts = (part(y).unflatten(-1, (4, -1)).transpose(1, 2) for part in (query, key, value))
            turned = [torch.stack((-part[..., 1::2], part[..., 0::2]), -1).flatten(-2) for part in parts]
            read = nn.functional.scaled_dot_product_attention(*turned, is_causal=True)
            x = x + out(read.transpose(1, 2).flatten(2))
            x = x + nn.functional.silu(gate(x)) * up(x)
        return self.head(x)[:, -1]


class Gelu(nn.Module):
    """A layer and an activation that torch writes into newer archives: (batch, 5) → (batch, 2)."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 2)

    def forward(self, x):
        return nn.functional.gelu(self.linear(x))


class Stack(nn.Module):
    """A plain stack of linear layers of the given widths, the last one without activation."""

    def __init__(self, widths):
        super().__init__()
        pairs = itertools.pairwise(widths)
        self.layers = nn.Sequential(*(part for a, b in pairs for part in (nn.Linear(a, b), nn.ReLU())))[:-1]

    def forward(self, features):
        return self.layers(features)


class Fusable(nn.Module):
    """Five normalizations, of which the first two can be folded and the rest cannot."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.linear = nn.Linear(4, 6)
        self.norm_linear = nn.BatchNorm1d(6)
        self.read_twice = nn.Linear(6, 6)
        self.norm_of_twice = nn.BatchNorm1d(6)
        self.shared = nn.Linear(6, 6)
        self.norm_of_shared = nn.BatchNorm1d(6)
        self.norm_of_sum = nn.BatchNorm1d(6)

    def forward(self, image):
        x = torch.relu(self.norm(self.conv(image))).mean((2, 3))
        x = torch.relu(self.norm_linear(self.linear(x)))
        twice = self.read_twice(x)
        x = self.norm_of_twice(twice) + twice
        x = self.norm_of_shared(self.shared(self.shared(x)))
        return self.norm_of_sum(x + 1)


class Deciding(nn.Module):
    """A forward whose path depends on the values it gets."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 2)

    def forward(self, x):
        x = self.linear(x)
        return -x if x.sum() > 0 else x


class Branching(nn.Module):
    """Two linear layers, of which the sum of the batch chooses one: (batch, 5) → (batch, 2)."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 2)
        self.second = nn.Linear(5, 2)

    def forward(self, x):
        if x.sum() > 0:
            return self.first(x)
        return self.second(x)


class Gathering(Branching):
    """A list that grows by what the values say, and a loop over it."""

    def forward(self, x):
        parts: list[torch.Tensor] = [self.first(x)]
        for place in range(3):
            if bool(x.max() > place):
                parts.append(self.second(x))
        total = torch.zeros_like(parts[0])
        for part in parts:
            total = total + part
        return total


class ByCount(Branching):
    """The same choice by how many numbers a mask lets through, which a trace would fix without a word."""

    def forward(self, x):
        if x[x > 1].numel() > 3:
            return self.first(x)
        return self.second(x)


class ByEqual(Branching):
    """The same choice by torch.equal, which answers with a Python truth value."""

    def forward(self, x):
        if torch.equal(x, x.abs()):
            return self.first(x)
        return self.second(x)


class BySize(Branching):
    """The same choice by the size of the batch."""

    def forward(self, x):
        if x.shape[0] > 1:
            return self.first(x)
        return self.second(x)


class Calling(Branching):
    """The same choice by a function of Python's that TorchScript does not read."""

    def forward(self, x):
        chosen = dict(zip(("a", "b"), (self.first, self.second), strict=True))["a" if x.sum() > 0 else "b"]
        return chosen(x)


class Answering(nn.Module):
    """The same linear layer, answering in the form that is asked for."""

    def __init__(self, form):
        super().__init__()
        self.form = form
        self.linear = nn.Linear(5, 2)

    def forward(self, x):
        x = self.linear(x)
        return {
            "tensor": x,
            "tuple": (x, x + 1),
            "list": [x, x + 1],
            "mapping": {"logits": x, "other": x + 1},
            "number": 1.0,
        }[self.form]


class Remembering(nn.Module):
    """State that is no tensor."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 2)

    def get_extra_state(self):
        return {"seen": 3}

    def set_extra_state(self, state):
        pass


class Counting(nn.Module):
    """A forward that goes through the rows one by one, and answers alike in any batch: (batch, 5) → (batch, 2)."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 2)

    def forward(self, x):
        return torch.stack([self.linear(row) for row in x])


class BatchBound(nn.Module):
    """A forward that uses the batch size as a Python number."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 2)

    def forward(self, x):
        return self.linear(x) * len(list(range(int(x.shape[0]))))


def images(rows=96):
    """Bright and dark images: name → array, (rows, 1, 6, 6) float32 and a label."""
    random = np.random.default_rng(5)
    label = np.arange(rows) % 2
    image = random.normal(size=(rows, 1, 6, 6)) + 1.5 * label[:, None, None, None]
    return {"image": image.astype(np.float32), "bright": label}


def further_images(rows=12):
    """Other images like these, without labels."""
    return {"image": images(rows)["image"] + np.float32(0.25)}


class Gridded(nn.Module):
    """Uses an operation that came into ONNX with operator set 20."""

    def forward(self, image):
        turn = torch.tensor([[[1.0, 0.1, 0.0], [0.0, 1.0, 0.0]]]).expand(image.shape[0], 2, 3)
        grid = nn.functional.affine_grid(turn, image.shape, align_corners=False)
        return nn.functional.grid_sample(image, grid, align_corners=False).mean((2, 3))


def alone():
    """One linear layer that is the whole model."""
    return nn.Linear(5, 2)


class Attending(nn.Module):
    """Self-attention, whose output projection is a Linear that is never called as a layer, and a head."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))


class AttendingRows(nn.Module):
    """An image's rows attend to one another: (batch, 1, 6, 6) → (batch, 2)."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.head = nn.Linear(6, 2)

    def forward(self, image):
        rows = image[:, 0]
        return self.head(self.attention(rows, rows, rows, need_weights=False)[0].mean(1))


class Encoder(nn.Module):
    """A transformer encoder layer, which torch computes in one fused operation where it may."""

    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.layer(x).mean(1))


class PreNorm(nn.Module):
    """An encoder layer whose norms stand before what reads them alone: (batch, n, width) → (batch, 2)."""

    def __init__(self, width=32):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.drop = nn.Dropout(0.1)
        self.down = nn.Linear(2 * width, width)
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        read = self.norm1(x)
        query, key, value = self.query(read), self.key(read), self.value(read)
        x = x + self.out(nn.functional.scaled_dot_product_attention(query, key, value))
        x = x + self.down(self.drop(torch.relu(self.up(self.norm2(x)))))
        return self.head(x.mean(1))


class Recurrent(nn.Module):
    """An embedding of rounded numbers, a recurrent layer and a head: (batch, n) → (batch, 2)."""

    def __init__(self, kind="LSTM", width=64, **options):
        super().__init__()
        self.table = nn.Embedding(50, 24)
        self.layer = getattr(nn, kind)(24, width, batch_first=True, **options)
        self.head = nn.Linear(options.get("proj_size") or width * (2 if options.get("bidirectional") else 1), 2)

    def forward(self, x):
        places = (x * 10).long().clamp(0, 49)
        return self.head(self.layer(self.table(places))[0].mean(1))


class Stepping(nn.Module):
    """A recurrent cell over the steps of a row, and an embedding looked up by three axes: (batch, 4) → (batch, 2)."""

    def __init__(self, kind="LSTMCell"):
        super().__init__()
        self.table = nn.Embedding(50, 8)
        self.cell = getattr(nn, kind)(8, 96)
        self.head = nn.Linear(96, 2)

    def forward(self, x):
        rows = self.table((x * 10).long().clamp(0, 49).unsqueeze(-1)).squeeze(2)
        state = self.cell(rows[:, 0])
        for step in range(1, 4):
            state = self.cell(rows[:, step], state)
        return self.head(state[0] if isinstance(state, tuple) else state)


class Flattened(nn.Module):
    """Two linear layers with a ReLU between, over all pixels: (batch, 1, 6, 6) → logits (batch, 2)."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(36, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, image):
        return self.head(torch.relu(self.first(image.flatten(1))))


class Writing(Flattened):
    """What brings its input into another range where it lies: (batch, 1, 6, 6) → logits (batch, 2)."""

    def forward(self, image):
        return super().forward(image.mul_(2.0).add_(0.1))


class WideHead(nn.Module):
    """A square layer that two thinner ones are faster than, and a head: (batch, 1, 6, 6) → logits (batch, 2)."""

    def __init__(self, width=512):
        super().__init__()
        self.first = nn.Linear(36, width)
        self.square = nn.Linear(width, width)
        self.head = nn.Linear(width, 2)

    def forward(self, image):
        return self.head(torch.relu(self.square(torch.relu(self.first(image.flatten(1))))))


class ReadsWeight(nn.Module):
    """A linear layer that is called, and whose weight the forward reads as well: (batch, 5) → (batch, 4)."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 4)

    def forward(self, x):
        return self.layer(x) + self.layer.weight.sum()


class NormedRows(nn.Module):
    """Batch normalization of rows, and an activation that lets no scale through: (batch, 5) → (batch, 2)."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(5)
        self.first = nn.Linear(5, 8)
        self.second = nn.Linear(8, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(torch.relu(self.second(nn.functional.gelu(self.first(self.norm(x))))))


class Residual(nn.Module):
    """A convolution, a shortcut that takes every second pixel, and a mean over all pixels before the head."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        x = torch.relu(self.first(x))
        x = torch.relu(self.second(x) + x[:, :, ::2, ::2])
        return self.head(x.mean((2, 3)))


class Pooler(nn.Module):
    """Attention and a head, and a large layer that no forward pass reads: (batch, 256) → (batch, 2)."""

    def __init__(self, wide):
        super().__init__()
        self.pooler = nn.Linear(wide, wide)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, x):
        parts = x.reshape(-1, 16, 16)
        return self.head(self.attention(parts, parts, parts)[0].mean(1))


class LastStep(nn.Module):
    """Two recurrent layers of a kind and a head on the last step: (batch, steps, 24) → (batch, 3)."""

    def __init__(self, kind, bidirectional=False):
        super().__init__()
        self.layers = getattr(nn, kind)(24, 32, 2, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(64 if bidirectional else 32, 3)

    def forward(self, x):
        return self.head(self.layers(x)[0][:, -1])


class ResidualBlocks(nn.Module):
    """A stem, residual blocks, and a head: (batch, 1, 6, 6) → logits (batch, 2); the last block changes the width."""

    def __init__(self, blocks=3):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.stage = nn.Sequential(*(Block(4, 4) for _ in range(blocks)), Block(4, 8))
        self.head = nn.Linear(8, 2)

    def forward(self, image):
        return self.head(self.stage(self.stem(image)).mean((2, 3)))


class Block(nn.Module):
    """Two convolutions and a shortcut: (batch, channels, height, width) → (batch, planes, height, width)."""

    def __init__(self, channels, planes):
        super().__init__()
        self.first, self.norm = nn.Conv2d(channels, planes, 3, padding=1), nn.BatchNorm2d(planes)
        self.second = nn.Conv2d(planes, planes, 3, padding=1)
        self.planes = planes

    def forward(self, x):
        made = self.second(torch.relu(self.norm(self.first(x))))
        return made + x.repeat(1, self.planes // x.shape[1], 1, 1)


def keeps_enough(module, rows):
    """A check of a reduced model: the share of rows that it answers at all."""
    answers = module(torch.from_numpy(rows.inputs["image"]))
    return float(answers.isfinite().all(1).float().mean())


def one_box(outputs):
    """A box in the middle of each image, as sure as the first output is large."""
    score = 1 / (1 + np.exp(-float(outputs["logits"][0])))
    return np.array([[1.0, 1.0, 5.0, 5.0]]), np.array([score]), np.array([0])


def largest(cases):
    """A probe of a user's own."""
    return {name: values.max() for name, values in cases.outputs.items()}


class Filters(nn.Module):
    """A convolution, one of single pixels and one channel by channel, beside a table that is none: to (batch, 8)."""

    def __init__(self):
        super().__init__()
        self.first, self.narrow = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1)
        self.apart = nn.Conv2d(8, 8, 3, groups=8)
        self.register_buffer("table", torch.ones(2, 4, 2, 2))

    def forward(self, x):
        return self.apart(self.narrow(torch.relu(self.first(x)))).mean((2, 3)) * self.table.mean()


class Normalized(nn.Module):
    """A convolution whose weight is computed before each call: (batch, 3, 6, 6) → (batch, 4)."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))

    def forward(self, x):
        return self.convolution(x).mean((2, 3))


class Parts(nn.Module):
    """Two layers whose weights are parts of one memory of a thousand numbers, and a third that is one of them again."""

    def __init__(self):
        super().__init__()
        memory = torch.arange(1000.0) / 1000
        self.first, self.second, self.third = (nn.Linear(8, 8, bias=False) for _ in range(3))
        self.first.weight.data = memory[:64].reshape(8, 8)
        self.second.weight.data = memory[64:128].reshape(8, 8).t()
        self.third.weight.data = memory[:64].reshape(8, 8)

    def forward(self, x):
        return self.third(self.second(self.first(x)))
