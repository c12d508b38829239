"""Networks that no constant of any prediction was fitted to: what predictions are checked with."""

import torch  # noqa: TID253 - the file defines torch modules
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253


class Attention(nn.Module):
    """Attention over (batch, places, width) with one product for query, key and value."""

    def __init__(self, width: int, heads: int, *, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv, self.o = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, places, width)."""
        batch, places, width = x.shape
        q, k, v = self.qkv(x).view(batch, places, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.o(seen.transpose(1, 2).reshape(batch, places, width))


class Block(nn.Module):
    """Attention and a feed-forward net, each behind a norm."""

    def __init__(self, width: int, heads: int, *, causal: bool = False) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, causal=causal)
        self.inner = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, places, width)."""
        x = x + self.attention(self.before(x))
        return x + self.inner(self.between(x))


class Vit(nn.Module):
    """A vision transformer of 4 layers over 64 patches (Dosovitskiy et al. 2021): (batch, 3, 32, 32) → (batch, 10)."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, width, 4, 4), nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(torch.randn(1, 65, width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width, 4) for _ in range(4)))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 10)."""
        x = self.patches(image).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), 1) + self.places
        return self.out(self.norm(self.blocks(x))[:, 0])


class Bert(nn.Module):
    """Four post-norm layers of width 256 over 64 words, with a mask (Devlin et al. 2019): (batch, 64) → (batch, 2)."""

    def __init__(self, width: int = 256, heads: int = 4, words: int = 4000) -> None:
        super().__init__()
        self.heads = heads
        self.words, self.places, self.kinds = (nn.Embedding(size, width) for size in (words, 64, 2))
        self.first = nn.LayerNorm(width)
        self.layers = nn.ModuleList(
            nn.ModuleDict({
                "q": nn.Linear(width, width), "k": nn.Linear(width, width), "v": nn.Linear(width, width),
                "o": nn.Linear(width, width), "after": nn.LayerNorm(width), "up": nn.Linear(width, 4 * width),
                "down": nn.Linear(4 * width, width), "last": nn.LayerNorm(width),
            })
            for _ in range(4)
        )  # fmt: skip
        self.pool, self.out = nn.Linear(width, width), nn.Linear(width, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 2)."""
        batch, places = tokens.shape
        mask = (1.0 - (tokens > 0).float())[:, None, None, :] * -1e4
        x = self.words(tokens) + self.places.weight[:places] + self.kinds(torch.zeros_like(tokens))
        x = self.first(x)
        for layer in self.layers:
            q, k, v = (layer[name](x).view(batch, places, self.heads, -1).transpose(1, 2) for name in "qkv")
            scores = q @ k.transpose(2, 3) / (q.shape[-1] ** 0.5) + mask
            seen = (torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(batch, places, -1)
            x = layer["after"](x + layer["o"](seen))
            x = layer["last"](x + layer["down"](functional.gelu(layer["up"](x))))
        return self.out(torch.tanh(self.pool(x[:, 0])))


class Gpt(nn.Module):
    """Four causal layers of width 128 that score every place (Radford et al. 2019): (batch, 96) → (batch, 96, 256)."""

    def __init__(self, width: int = 128, words: int = 256) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(96, width)
        self.blocks = nn.Sequential(*(Block(width, 4, causal=True) for _ in range(4)))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, words, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, places, words)."""
        return self.out(self.norm(self.blocks(self.words(tokens) + self.places.weight[: tokens.shape[1]])))


class UNet(nn.Module):
    """Three resolutions with skips (Ronneberger et al. 2015): (batch, 1, 64, 64) → (batch, 2, 64, 64)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.down = nn.ModuleList((self._twice(1, width), self._twice(width, 2 * width)))
        self.bottom = self._twice(2 * width, 4 * width)
        self.raise_ = nn.ModuleList((
            nn.ConvTranspose2d(4 * width, 2 * width, 2, 2), nn.ConvTranspose2d(2 * width, width, 2, 2),
        ))  # fmt: skip
        self.up = nn.ModuleList((self._twice(4 * width, 2 * width), self._twice(2 * width, width)))
        self.out = nn.Conv2d(width, 2, 1)

    @staticmethod
    def _twice(inner: int, outer: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inner, outer, 3, padding=1, bias=False), nn.BatchNorm2d(outer), nn.ReLU(),
            nn.Conv2d(outer, outer, 3, padding=1, bias=False), nn.BatchNorm2d(outer), nn.ReLU(),
        )  # fmt: skip

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 2, 64, 64)."""
        first = self.down[0](image)
        second = self.down[1](functional.max_pool2d(first, 2))
        x = self.bottom(functional.max_pool2d(second, 2))
        x = self.up[0](torch.cat((self.raise_[0](x), second), 1))
        return self.out(self.up[1](torch.cat((self.raise_[1](x), first), 1)))


class MobileNetV2(nn.Module):
    """Half the width, ReLU6, 17 inverted residuals (Sandler et al. 2018): (batch, 3, 96, 96) → (batch, 20)."""

    def __init__(self) -> None:
        super().__init__()
        layers, inner = [self._conv(3, 16, 3, 2)], 16
        for expand, outer, count, stride in (
            (1, 8, 1, 1), (6, 12, 2, 2), (6, 16, 3, 2), (6, 32, 4, 2), (6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1),
        ):  # fmt: skip
            for place in range(count):
                layers.append(_Inverted(inner, outer, stride if place == 0 else 1, expand))
                inner = outer
        self.features = nn.Sequential(*layers, self._conv(inner, 640, 1, 1))
        self.out = nn.Linear(640, 20)

    @staticmethod
    def _conv(inner: int, outer: int, size: int, stride: int, groups: int = 1) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inner, outer, size, stride, size // 2, groups=groups, bias=False), nn.BatchNorm2d(outer),
            nn.ReLU6(),
        )  # fmt: skip

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 20)."""
        return self.out(functional.adaptive_avg_pool2d(self.features(image), 1).flatten(1))


class _Inverted(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = inner * expand
        parts = [MobileNetV2._conv(inner, wide, 1, 1)] if expand > 1 else []
        parts += [MobileNetV2._conv(wide, wide, 3, stride, wide), nn.Conv2d(wide, outer, 1, bias=False)]
        self.parts, self.adds = nn.Sequential(*parts, nn.BatchNorm2d(outer)), stride == 1 and inner == outer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.parts(x) if self.adds else self.parts(x)


class Bottlenecks(nn.Module):
    """A residual net of bottlenecks (He et al. 2016), 14 convolutions: (batch, 3, 32, 32) → (batch, 100)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        self.blocks = nn.Sequential(_Bottleneck(64, 32, 1), _Bottleneck(128, 64, 2), _Bottleneck(256, 96, 2))
        self.out = nn.Linear(384, 100)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 100)."""
        return self.out(self.blocks(self.stem(image)).mean((2, 3)))


class _Bottleneck(nn.Module):
    def __init__(self, inner: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width),
        )  # fmt: skip
        self.skip = nn.Sequential(nn.Conv2d(inner, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.body(x) + self.skip(x))


class Tagger(nn.Module):
    """Words, a bidirectional LSTM of two layers and a class for each place: (batch, 30) → (batch, 30, 12)."""

    def __init__(self, words: int = 3000, width: int = 64) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.lstm, self.out = nn.LSTM(width, width, 2, batch_first=True, bidirectional=True), nn.Linear(2 * width, 12)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, places, classes)."""
        return self.out(self.lstm(self.words(tokens))[0])


class TabNet(nn.Module):
    """Three steps of gated layers that attend to features (Arik and Pfister 2021): (batch, 54) → (batch, 7)."""

    def __init__(self, features: int = 54, width: int = 64, steps: int = 3) -> None:
        super().__init__()
        self.norm, self.width = nn.BatchNorm1d(features), width
        self.masks = nn.ModuleList(nn.Linear(width, features) for _ in range(steps))
        self.first = nn.Linear(features, 4 * width)
        self.steps = nn.ModuleList(
            nn.ModuleList((nn.Linear(features, 4 * width), nn.BatchNorm1d(4 * width), nn.Linear(2 * width, 4 * width)))
            for _ in range(steps)
        )
        self.out = nn.Linear(width, 7)

    def forward(self, row: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 7)."""
        row = self.norm(row)
        attended = functional.glu(self.first(row))[:, self.width :]
        prior, answer = torch.ones_like(row), 0.0
        for mask, (wide, norm, again) in zip(self.masks, self.steps, strict=True):
            chosen = torch.softmax(mask(attended) * prior, -1)
            prior = prior * (1.3 - chosen)
            y = functional.glu(norm(wide(chosen * row)))
            y = (y + functional.glu(again(y))) * 0.5**0.5
            answer = answer + functional.relu(y[:, : self.width])
            attended = y[:, self.width :]
        return self.out(answer)


class Dlrm(nn.Module):
    """Dense features, eight tables and their products with each other (Naumov et al. 2019): two inputs → (batch, 2)."""

    def __init__(self, tables: int = 8, rows: int = 5000, width: int = 32) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(rows, width) for _ in range(tables))
        self.bottom = nn.Sequential(nn.Linear(13, 128), nn.ReLU(), nn.Linear(128, width), nn.ReLU())
        pairs = (tables + 1) * tables // 2
        self.top = nn.Sequential(
            nn.Linear(width + pairs, 256), nn.ReLU(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 2)
        )
        self.register_buffer("pairs", torch.tril_indices(tables + 1, tables + 1, -1), persistent=False)

    def forward(self, dense: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 2)."""
        x = self.bottom(dense)
        vectors = torch.stack([x, *(table(codes[:, place]) for place, table in enumerate(self.tables))], 1)
        products = (vectors @ vectors.transpose(1, 2)).flatten(1)
        chosen = products[:, self.pairs[0] * (len(self.tables) + 1) + self.pairs[1]]
        return self.top(torch.cat((x, chosen), 1))


class Ecg(nn.Module):
    """Residual convolutions over time: (batch, 2, 500) → (batch, 5)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(2, width, 15, 2, 7), nn.BatchNorm1d(width), nn.ReLU(), nn.MaxPool1d(2))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(width, width, 7, padding=3), nn.BatchNorm1d(width), nn.ReLU(),
                nn.Conv1d(width, width, 7, padding=3), nn.BatchNorm1d(width),
            )
            for _ in range(4)
        )  # fmt: skip
        self.out = nn.Linear(width, 5)

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 5)."""
        x = self.stem(signal)
        for block in self.blocks:
            x = functional.relu(x + block(x))
        return self.out(x.mean(2))


class ImageAndRow(nn.Module):
    """An image and a row of numbers, joined: (batch, 3, 40, 40) and (batch, 30) → (batch, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = nn.Sequential(
            nn.Conv2d(3, 24, 3, 2, 1), nn.ReLU(), nn.Conv2d(24, 48, 3, 2, 1), nn.ReLU(), nn.Conv2d(48, 64, 3, 2, 1),
            nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.row = nn.Sequential(nn.Linear(30, 128), nn.GELU(), nn.LayerNorm(128), nn.Linear(128, 64), nn.GELU())
        self.out = nn.Sequential(nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 4))

    def forward(self, image: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 4)."""
        return self.out(torch.cat((self.seen(image), self.row(row)), 1))
