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
