"""Four small networks with seeded weights, and rows for them: what `options.py` tries every option on."""

from pathlib import Path

import numpy as np
import torch  # noqa: TID253 - the file defines torch modules
from torch import nn  # noqa: TID253

ROWS, CLASSES, WORDS, STEPS = 240, 8, 500, 12


class Perceptron(nn.Module):
    """(batch, 64) → (batch, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU())
        self.head = nn.Linear(512, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Answer a batch."""
        return self.head(self.body(x))  # type: ignore[no-any-return]


class Convolution(nn.Module):
    """(batch, 3, 12, 12) → (batch, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.normalization = nn.BatchNorm2d(64)
        self.depthwise = nn.Conv2d(64, 64, 3, padding=1, groups=64)
        self.wide = nn.Conv2d(64, 128, 3, padding=1, stride=2)
        self.narrow = nn.Conv2d(128, 128, 3, padding=1)
        self.head = nn.Linear(128, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Answer a batch."""
        x = torch.relu(self.normalization(self.stem(x)))
        x = torch.relu(self.wide(torch.relu(self.depthwise(x))))
        return self.head((x + torch.relu(self.narrow(x))).mean((2, 3)))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """(batch, 12) numbers of words → (batch, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 128)
        layer = nn.TransformerEncoderLayer(128, 4, 256, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(128, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Answer a batch."""
        return self.head(self.layers(self.words(x)).mean(1))  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    """(batch, 12, 64) → (batch, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.LSTM(64, 192, batch_first=True)
        self.head = nn.Linear(192, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Answer a batch."""
        return self.head(self.memory(x)[0][:, -1])  # type: ignore[no-any-return]


NETS = {"Perceptron": (64,), "Convolution": (3, 12, 12), "Encoder": (STEPS,), "Recurrent": (STEPS, 64)}


def rows(net: str) -> dict[str, np.ndarray]:
    """Return x, drawn for one network, and label."""
    generator = np.random.default_rng(0)
    shape = (ROWS, *NETS[net])
    x = generator.integers(0, WORDS, shape) if net == "Encoder" else generator.normal(size=shape).astype(np.float32)
    return {"x": x, "label": generator.integers(0, CLASSES, ROWS)}


def write(folder: Path) -> None:
    """Write each network's weights, and a copy of this file, into a folder."""
    (folder / Path(__file__).name).write_bytes(Path(__file__).read_bytes())
    for name in NETS:
        torch.manual_seed(0)
        net = globals()[name]()
        for parameter in net.parameters():  # the layers of an encoder begin as copies of one
            torch.nn.init.normal_(parameter, std=0.05)
        torch.save(net.state_dict(), folder / f"{name}.pt")
