"""Images with bright squares, a detector with one guess for each of 4 x 4 cells, its loss, and what its outputs say."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

CELL, CELLS, MOST = 8, 4, 3


def squares(count: int = 900) -> dict[str, np.ndarray]:
    """Return "image" (count, 1, 32, 32) float32 and "boxes" (count, 3, 5): class 0 is small, 1 is large."""
    generator = np.random.default_rng(1)
    images = generator.normal(0, 0.1, (count, 1, CELL * CELLS, CELL * CELLS)).astype(np.float32)
    boxes = np.full((count, MOST, 5), np.nan)
    for row in range(count):
        cells = generator.permutation(CELLS * CELLS)[: generator.integers(0, MOST + 1)]
        for place, cell in enumerate(cells):
            large = int(generator.integers(0, 2))
            size = 7 if large else 4
            left, top = np.array([cell % CELLS, cell // CELLS]) * CELL + generator.integers(0, CELL - size + 1, 2)
            images[row, 0, top : top + size, left : left + size] += 1
            boxes[row, place] = left, top, left + size, top + size, large
    return {"image": images, "boxes": boxes}


class GridDetector(nn.Module):
    """(batch, 1, 32, 32) → (batch, 7, 4, 4): of each cell the middle and size, in cells, a logit, and two of class."""

    def __init__(self, channels: int = 32):
        super().__init__()
        layers: list[nn.Module] = []
        for wide in (1, channels, channels):
            layers += [nn.Conv2d(wide, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2)]
        self.body = nn.Sequential(*layers, nn.Conv2d(channels, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 7, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return what each cell says."""
        return self.body(image)


def loss(output: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Compare each cell with the box whose middle lies in it; boxes (batch, 3, 5), NaN where there is none."""
    there = torch.zeros(len(output), CELLS, CELLS)
    places, kinds = torch.zeros(len(output), CELLS, CELLS, 4), torch.zeros(len(output), CELLS, CELLS, dtype=torch.long)
    row, place = torch.nonzero(~torch.isnan(boxes[..., 0]), as_tuple=True)
    box = boxes[row, place]
    middle, size = (box[:, :2] + box[:, 2:4]) / 2 / CELL, (box[:, 2:4] - box[:, :2]) / CELL
    right, down = middle.long().unbind(1)
    there[row, down, right] = 1
    places[row, down, right] = torch.cat([middle - middle.floor(), size], dim=1)
    kinds[row, down, right] = box[:, 4].long()
    held, cells = there > 0, output.permute(0, 2, 3, 1)
    of_boxes = 3 * functional.smooth_l1_loss(cells[..., :4][held], places[held], reduction="sum", beta=0.1)
    of_boxes = of_boxes + 0.3 * functional.cross_entropy(cells[..., 5:][held], kinds[held], reduction="sum")
    # A batch may have no box at all.
    return functional.binary_cross_entropy_with_logits(cells[..., 4], there) + of_boxes / max(len(row), 1)


def boxes(outputs: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the boxes of the cells that are not quite unsure, of one image."""
    (cells,) = outputs.values()
    scores = 1 / (1 + np.exp(-cells[4]))
    down, right = np.nonzero(scores > 0.05)
    x, y, width, height = cells[:4, down, right] * CELL
    x, y = x + right * CELL, y + down * CELL
    corners = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=1)
    return corners, scores[down, right], cells[5:, down, right].argmax(0)
