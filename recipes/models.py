"""The small models that the shipped recipes train."""

import itertools

import numpy as np
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


class TinyUNet(nn.Module):
    """U-Net of two levels: (batch, 1, height, width), both even → logits (batch, classes, height, width).

    About 30,000 parameters. Ronneberger et al. 2015, "U-Net: convolutional networks for biomedical image segmentation".
    """

    def __init__(self, classes: int = 2, channels: int = 16):
        super().__init__()
        self.top = nn.Sequential(_block(1, channels), _block(channels, channels))
        self.bottom = nn.Sequential(
            nn.MaxPool2d(2), _block(channels, 2 * channels), _block(2 * channels, 2 * channels), nn.MaxPool2d(2),
            _block(2 * channels, 2 * channels), nn.Upsample(scale_factor=2),
        )  # fmt: skip
        self.up = nn.Upsample(scale_factor=2)
        self.join = nn.Sequential(_block(3 * channels, channels), nn.Conv2d(channels, classes, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, classes, height, width)."""
        fine = self.top(image)
        return self.join(torch.cat([fine, self.up(self.bottom(fine))], dim=1))  # type: ignore[no-any-return]


def digit_masks() -> dict[str, np.ndarray]:
    """Paste scikit-learn's digits somewhere into canvases of 16 x 16 pixels with noise, every other one under a line.

    Returns "image" (1797, 1, 16, 16) float32, "mask" (1797, 16, 16) int64, 1 where a digit's strokes are and 2 where
    the line is, and "side" (1797,) text, the half of the canvas that the digit is in.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    generator = np.random.default_rng(0)
    count = len(digits.target)
    images = generator.normal(0, 0.1, (count, 1, 16, 16)).astype(np.float32)
    masks = np.zeros((count, 16, 16), np.int64)
    places = generator.integers(0, 9, (count, 2))
    for row, (down, right) in enumerate(places):
        digit = digits.images[row] / 16
        images[row, 0, down : down + 8, right : right + 8] += digit
        masks[row, down : down + 8, right : right + 8] = np.where(digit >= 0.5, 1, 0)
        if row % 2:
            line = int(generator.integers(0, 16))
            images[row, 0, line] = 0.6
            masks[row, line] = 2
    return {"image": images, "mask": masks, "side": np.where(places[:, 1] < 4, "left", "right")}
