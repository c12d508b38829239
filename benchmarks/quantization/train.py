"""Train one of the benchmark's own networks and keep its weights, in minutes.

TITRANT_DATA=… python train.py decoder|lstm|two_inputs [--cache FOLDER]
"""

import argparse
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch  # noqa: TID253 - a training loop is its very subject
from rows import characters, fashion, halves
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253
from trained_nets import Decoder, RowsLstm, TwoHalves

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "titrant-benchmarks"
Batch = Mapping[str, torch.Tensor]


def fit(
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


def decoder(file: Path) -> None:
    """Train on Shakespeare's characters; every place of a window is learned from, and the last one is scored."""
    module, parts = Decoder(), characters(train=20_000)

    def loss(batch: Batch) -> torch.Tensor:
        following = torch.cat((batch["tokens"][:, 1:], batch["label"][:, None]), 1)
        return functional.cross_entropy(module.at_every_place(batch["tokens"]).flatten(0, 1), following.flatten())

    fit(module, loss, parts["train"], epochs=3, rate=3e-3, size=64)
    keep(module, file, accuracy(module, ("tokens",), parts["test"]))


def lstm(file: Path) -> None:
    """Train on the rows of images."""
    module, parts = RowsLstm(), fashion()
    fit(module, classify(module, ("image",)), parts["train"], epochs=8, rate=3e-3)
    keep(module, file, accuracy(module, ("image",), parts["test"]))


def two_inputs(file: Path) -> None:
    """Train on the halves of images."""
    module, parts, inputs = TwoHalves(), halves(), ("top", "bottom")
    fit(module, classify(module, inputs), parts["train"], epochs=4, rate=2e-3)
    keep(module, file, accuracy(module, inputs, parts["test"]))


NETWORKS = {"decoder": decoder, "lstm": lstm, "two_inputs": two_inputs}


def main() -> None:
    """Train the network that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder that keeps the weights")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    NETWORKS[options.network](options.cache / f"{options.network}.pt")


if __name__ == "__main__":
    main()
