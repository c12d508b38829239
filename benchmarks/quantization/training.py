"""Train one of the benchmark's own networks and keep its weights: what the three scripts beside this file share."""

import argparse
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch  # noqa: TID253 - a training loop is its very subject
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "titrant-benchmarks"
Batch = Mapping[str, torch.Tensor]


def cached(description: str) -> Path:
    """Read the one option of a training script: the folder that keeps weights."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder that keeps the weights")
    folder: Path = parser.parse_args().cache
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def train(
    module: nn.Module,
    loss: Callable[[Batch], torch.Tensor],
    rows: Mapping[str, np.ndarray],
    *,
    epochs: int,
    rate: float,
    size: int = 128,
) -> None:
    """Fit by AdamW under one cycle of the learning rate, rows in a drawn order, one thread."""
    torch.set_num_threads(1)
    optimizer = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=0.01)
    count = len(next(iter(rows.values())))
    steps = epochs * (count // size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    generator, begun = np.random.default_rng(0), time.monotonic()
    module.train()
    for epoch in range(epochs):
        order, losses = generator.permutation(count), []
        for start in range(0, count - size + 1, size):
            places = order[start : start + size]
            value = loss({name: torch.from_numpy(array[places]) for name, array in rows.items()})
            optimizer.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(value.item())
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.4f}, {time.monotonic() - begun:.0f} s", flush=True)
    module.eval()


def classify(module: nn.Module, inputs: tuple[str, ...]) -> Callable[[Batch], torch.Tensor]:
    """Return the cross entropy of logits (batch, classes) against `label`."""
    return lambda batch: functional.cross_entropy(module(*(batch[name] for name in inputs)), batch["label"])


def accuracy(module: nn.Module, inputs: tuple[str, ...], rows: Mapping[str, np.ndarray]) -> float:
    """Return the share of rows whose largest logit is that of the label."""
    right = 0
    with torch.no_grad():
        for start in range(0, len(rows["label"]), 500):
            given = [torch.from_numpy(rows[name][start : start + 500]) for name in inputs]
            right += int((module(*given).argmax(1).numpy() == rows["label"][start : start + 500]).sum())
    return right / len(rows["label"])


def keep(module: nn.Module, file: Path, score: float) -> None:
    """Save the weights by rename: a run that was cut short leaves none behind."""
    unfinished = file.with_suffix(".unfinished")
    torch.save(module.state_dict(), unfinished)
    unfinished.rename(file)
    print(f"{file}: accuracy {score:.4f}")
