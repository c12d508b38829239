"""The small models that the shipped recipes train."""

import itertools

import torch  # noqa: TID253 - the file defines torch modules
from torch import nn  # noqa: TID253


class TabularNet(nn.Module):
    """Two hidden layers for a table of numbers: (batch, features) → logits (batch, classes).

    `hidden` are the widths of the hidden layers, each followed by a ReLU.
    """

    def __init__(self, features: int, classes: int, hidden: tuple[int, ...] = (128, 64)):
        super().__init__()
        widths = (features, *hidden)
        layers: list[nn.Module] = []
        for wide, narrow in itertools.pairwise(widths):
            layers += [nn.Linear(wide, narrow), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], classes))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, classes)."""
        return self.layers(features)  # type: ignore[no-any-return]


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False), nn.BatchNorm2d(channels_out), nn.ReLU()
    )


class DigitsNet(nn.Module):
    """Convolutional network for 8 x 8 digits: (batch, 1, 8, 8) or (batch, 64) → logits (batch, classes).

    About 260,000 parameters.
    """

    def __init__(self, classes: int = 10, channels: int = 64):
        super().__init__()
        self.features = nn.Sequential(
            _block(1, channels), _block(channels, channels), nn.MaxPool2d(2),
            _block(channels, 2 * channels), _block(2 * channels, 2 * channels),
        )  # fmt: skip
        self.classifier = nn.Linear(2 * channels, classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, classes)."""
        features = self.features(image.reshape(-1, 1, 8, 8))
        return self.classifier(features.mean((2, 3)))  # type: ignore[no-any-return]


class SmallCnn(nn.Module):
    """Convolutional network for 28 x 28 gray images.

    (batch, 1, 28, 28) or (batch, 28, 28) → logits (batch, classes); about 93,000 parameters for two classes.
    """

    def __init__(self, classes: int = 2, channels: int = 32):
        super().__init__()
        self.features = nn.Sequential(
            _block(1, channels), nn.MaxPool2d(2),
            _block(channels, 2 * channels), nn.MaxPool2d(2),
            _block(2 * channels, 4 * channels),
        )  # fmt: skip
        self.classifier = nn.Linear(4 * channels, classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, classes)."""
        features = self.features(image.reshape(-1, 1, 28, 28))
        return self.classifier(features.mean((2, 3)))  # type: ignore[no-any-return]


class DigitsEmbedding(nn.Module):
    """Convolutional network that embeds 8 x 8 digits: (batch, 1, 8, 8) or (batch, 64) → vectors (batch, width)."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 4 * 4, width),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return embeddings (batch, width)."""
        return self.net(image.reshape(-1, 1, 8, 8))  # type: ignore[no-any-return]


def apart_by_group(embeddings: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """Return the supervised contrastive loss (Khosla et al. 2020) of embeddings (batch, width) and groups (batch,).

    Each row tells the rows of its own group from all others by their cosines.
    """
    unit = nn.functional.normalize(embeddings, dim=1)
    others = ~torch.eye(len(unit), dtype=torch.bool)
    similar = (unit @ unit.T / 0.1).masked_fill(~others, -1e9)
    same = (groups[:, None] == groups) & others
    shares = same / same.sum(dim=1, keepdim=True).clamp(min=1)
    return -(shares * similar.log_softmax(dim=1)).sum(dim=1).mean()
