"""Networks that this benchmark trains itself: a small decoder, an LSTM and one with two inputs."""

import torch  # noqa: TID253 - the file defines torch modules
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253


class DecoderBlock(nn.Module):
    """Causal attention and a feed-forward net, each behind a norm (GPT-2)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads, self.each = heads, width // heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, places, width)."""
        batch, places, width = x.shape
        y = self.before(x)
        q, k, v = (
            part(y).view(batch, places, self.heads, self.each).transpose(1, 2) for part in (self.q, self.k, self.v)
        )
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(seen.transpose(1, 2).reshape(batch, places, width))
        return x + self.down(functional.gelu(self.up(self.between(x))))


class Decoder(nn.Module):
    """(batch, places ≤ 64) of characters → logits of the next character (batch, characters); 0.62 M parameters."""

    def __init__(self, characters: int = 65, width: int = 128, blocks: int = 3, heads: int = 4, most: int = 64):
        super().__init__()
        self.characters, self.places = nn.Embedding(characters, width), nn.Embedding(most, width)
        self.blocks = nn.Sequential(*(DecoderBlock(width, heads) for _ in range(blocks)))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, characters)

    def at_every_place(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, places, characters), which training learns from."""
        x = self.characters(tokens) + self.places.weight[: tokens.shape[1]]
        return self.out(self.norm(self.blocks(x)))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits behind the last place (batch, characters)."""
        x = self.characters(tokens) + self.places.weight[: tokens.shape[1]]
        return self.out(self.norm(self.blocks(x)[:, -1]))


class RowsLstm(nn.Module):
    """Images (batch, 1, 28, 28), read row by row → logits (batch, 10); 0.15 M parameters."""

    def __init__(self, classes: int = 10, width: int = 160):
        super().__init__()
        self.lstm = nn.LSTM(28, width, batch_first=True)
        self.hidden, self.out = nn.Linear(width, width), nn.Linear(width, classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, classes)."""
        states, _ = self.lstm(image[:, 0])
        return self.out(functional.relu(self.hidden(states[:, -1])))


class TwoHalves(nn.Module):
    """The halves of an image, two inputs (batch, 1, 14, 28) → logits (batch, 10); 0.21 M parameters."""

    def __init__(self, classes: int = 10, width: int = 32):
        super().__init__()
        self.upper, self.lower = self._branch(width), self._branch(width)
        self.joined, self.out = nn.Linear(2 * 2 * width * 3 * 3, 128), nn.Linear(128, classes)

    @staticmethod
    def _branch(width: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.AvgPool2d((1, 2)), nn.Flatten(),
        )  # fmt: skip

    def forward(self, top: torch.Tensor, bottom: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, classes)."""
        both = torch.cat((self.upper(top), self.lower(bottom)), 1)
        return self.out(functional.relu(self.joined(both)))
