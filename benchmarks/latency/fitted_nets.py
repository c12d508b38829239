"""Networks that constants of the latency prediction were fitted to, besides those of the other benchmarks."""

import torch  # noqa: TID253 - the file defines torch modules
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253


class Attending(nn.Module):
    """torch's own encoder, two layers over 100 places of width 128: (batch, 100, 16) → (batch, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(16, 128)
        layer = nn.TransformerEncoderLayer(128, 8, 256, dropout=0.0, batch_first=True)
        self.layers, self.out = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(128, 6)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 6)."""
        return self.out(self.layers(self.enter(series)).mean(1))


class Gated(nn.Module):
    """A convolutional net with group norms, SiLU and squeeze-and-excitation: (batch, 3, 48, 48) → (batch, 10)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 2, 1)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({
                "conv": nn.Conv2d(width, width, 3, padding=1), "norm": nn.GroupNorm(4, width),
                "squeeze": nn.Linear(width, 8), "excite": nn.Linear(8, width),
            })
            for _ in range(4)
        )  # fmt: skip
        self.out = nn.Linear(width, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 10)."""
        x = self.stem(image)
        for block in self.blocks:
            y = functional.silu(block["norm"](block["conv"](x)))
            gate = torch.sigmoid(block["excite"](functional.relu(block["squeeze"](y.mean((2, 3))))))
            x = x + y * gate[:, :, None, None]
        return self.out(x.mean((2, 3)))


class Mixer(nn.Module):
    """Products over places, then over channels, with GELU between: (batch, 49, 96) → (batch, 10)."""

    def __init__(self, places: int = 49, width: int = 96, blocks: int = 3) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleList((
                nn.LayerNorm(width), nn.Linear(places, 2 * places), nn.Linear(2 * places, places),
                nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width),
            ))
            for _ in range(blocks)
        )  # fmt: skip
        self.out = nn.Linear(width, 10)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 10)."""
        x = patches
        for before, wide, narrow, between, up, down in self.blocks:
            x = x + narrow(functional.gelu(wide(before(x).transpose(1, 2)))).transpose(1, 2)
            x = x + down(functional.gelu(up(between(x))))
        return self.out(x.mean(1))


class Pooled(nn.Module):
    """Plain convolutions with large pooling, dropout and a wide head: (batch, 1, 64, 64) → (batch, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 24, 5, padding=2), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
            nn.Conv2d(24, 48, 3, padding=1), nn.BatchNorm2d(48), nn.LeakyReLU(), nn.MaxPool2d(2),
            nn.Conv2d(48, 64, 3, padding=1), nn.ELU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Linear(1024, 256), nn.ReLU(), nn.Dropout(), nn.Linear(256, 4))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 4)."""
        return self.head(self.features(image))


class Recurring(nn.Module):
    """Two GRU layers over 40 steps: (batch, 40, 12) → (batch, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.out = nn.GRU(12, 96, 2, batch_first=True), nn.Linear(96, 3)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 3)."""
        return self.out(self.layers(series)[0][:, -1])


class Highway(nn.Module):
    """Narrow gated layers with small operations between products (Srivastava et al. 2015), (batch, 40) → (batch, 5)."""

    def __init__(self, width: int = 48, layers: int = 6) -> None:
        super().__init__()
        self.enter, self.out = nn.Linear(40, width), nn.Linear(width, 5)
        self.layers = nn.ModuleList(
            nn.ModuleList((nn.Linear(width, width), nn.Linear(width, width), nn.LayerNorm(width)))
            for _ in range(layers)
        )

    def forward(self, row: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 5)."""
        x = self.enter(row)
        for wide, gate, norm in self.layers:
            share = torch.sigmoid(gate(x))
            x = norm(share * functional.relu(wide(x)) + (1 - share) * x)
        return self.out(x * torch.softmax(x, -1))


class Rotary(nn.Module):
    """Two blocks with turned pairs of numbers, root-mean-square norms and gates: (batch, 48, 20) → (batch, 48, 20)."""

    def __init__(self, width: int = 96, heads: int = 6, places: int = 48) -> None:
        super().__init__()
        self.heads, self.each = heads, width // heads
        self.enter, self.out = nn.Linear(20, width), nn.Linear(width, 20)
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                nn.Linear(inner, outer, bias=False)
                for inner, outer in ((width, 3 * width), (width, width), (width, 4 * width), (2 * width, width))
            )
            for _ in range(2)
        )
        angles = torch.outer(torch.arange(places), 100.0 ** (-torch.arange(0, self.each, 2) / self.each))
        self.register_buffer("sines", torch.stack((angles.sin(), angles.cos())), persistent=False)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """Return (batch, places, 20)."""
        x = self.enter(series)
        for qkv, out, up, down in self.blocks:
            batch, places, width = x.shape
            q, k, v = qkv(self._normed(x)).view(batch, places, 3, self.heads, self.each).permute(2, 0, 3, 1, 4)
            seen = functional.scaled_dot_product_attention(self._turned(q), self._turned(k), v)
            x = x + out(seen.transpose(1, 2).reshape(batch, places, width))
            gate, wide = up(self._normed(x)).chunk(2, -1)
            x = x + down(functional.silu(gate) * wide)
        return self.out(x)

    @staticmethod
    def _normed(x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)

    def _turned(self, x: torch.Tensor) -> torch.Tensor:
        sine, cosine = self.sines
        left, right = x[..., 0::2], x[..., 1::2]
        return torch.stack((left * cosine - right * sine, left * sine + right * cosine), -1).flatten(-2)
