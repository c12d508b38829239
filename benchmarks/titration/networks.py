"""Make the three networks of the benchmark and keep their weights: seconds for two, minutes for the third.

    TITRANT_DATA=… python networks.py [--cache FOLDER]

All come from the depthwise network of small_nets (MobileNetV2 style, Fashion-MNIST, 90.7 %).

mbx       8 % of the channels between two ReLUs (expansion → depthwise → projection) are scaled × 50, the weights that
          read them / 50. The same function in exact arithmetic; equalization between ReLU pairs can undo it.
mbr       2 channels of the residual stream of every stage are scaled × 50: all that write into them, and / 50 all that
          read them. The same function; no pair of layers can undo it, only the stream as one group.
clipped   equalization does not apply: every ReLU is a ReLU6. 92 of 100 channels between two of them begin as small as
          1/50 of the others; the scales of the norms that make them so stay fixed, and all weights are trained on, to
          what 6 cuts off. Nothing is changed afterwards. Scaling a channel up to its neighbors would run into the 6,
          scaling the large ones down moves the 6 itself, so that neither is exact. int8 with one scale for all
          activations of a layer loses the small channels. (With the norms trained too the imbalance was gone after two
          epochs, and int8 lost .1 to .6 points: nothing to titrate.)
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch  # noqa: TID253 - a training loop is its very subject
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

DATA = Path(os.environ.get("TITRANT_DATA", "."))
sys.path.insert(0, str(DATA / "small_nets"))

import nets  # type: ignore[import-not-found]  # noqa: E402
from clipped import Clipped, inner_pairs, scale_channels  # noqa: E402

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "titrant-benchmarks" / "titration"
BY, SHARE, OF_STREAM = 50.0, 0.08, 2
EPOCHS, RATE, BATCH = 1, 0.02, 128


def depthwise() -> nn.Module:
    """Return the network as it was trained."""
    network = nets.Depthwise()
    network.load_state_dict(torch.load(DATA / "small_nets" / "depthwise.pt", weights_only=True))
    return network.eval()


def some(generator: np.random.Generator, channels: int, count: int) -> torch.Tensor:
    """Draw so many channels."""
    return torch.from_numpy(np.sort(generator.choice(channels, count, replace=False)))


def between_pairs() -> nn.Module:
    """Return `mbx`."""
    network, generator = depthwise(), np.random.default_rng(0)
    for norm, _, consumer in inner_pairs(network):
        count = norm.num_features
        scale_channels(norm, consumer, some(generator, count, max(1, round(SHARE * count))), BY)
    return network


def streams(network: nn.Module) -> Iterator[tuple[list[nn.BatchNorm2d], list[nn.Conv2d]]]:
    """Yield every residual stream as the norms that write into it and the convolutions that read it."""
    writers, readers = [network.stem[1]], []  # type: ignore[index]
    for block in network.blocks:  # type: ignore[union-attr]
        readers.append(block.pw[0] if isinstance(block.pw, nn.Sequential) else block.dw[0])
        if not block.res:
            yield writers, readers
            writers, readers = [], []
        writers.append(block.pj[1])
    yield writers, [*readers, network.head[0]]  # type: ignore[index]


def along_streams() -> nn.Module:
    """Return `mbr`."""
    network, generator = depthwise(), np.random.default_rng(1)
    with torch.no_grad():
        for writers, readers in streams(network):
            channels = some(generator, writers[0].num_features, OF_STREAM)
            for norm in writers:
                norm.weight[channels] *= BY
                norm.bias[channels] *= BY
            for reader in readers:
                if reader.groups > 1:
                    reader.weight[channels] /= BY
                else:
                    reader.weight[:, channels] /= BY
    return network


def clipped() -> nn.Module:
    """Return `clipped`, trained with channels that are unbalanced and stay so."""
    network, generator = Clipped(), np.random.default_rng(2)
    network.load_state_dict(depthwise().state_dict())
    for norm, _, consumer in inner_pairs(network):
        count = norm.num_features
        large = some(generator, count, max(1, round(SHARE * count)))
        small = torch.ones(count, dtype=torch.bool)
        small[large] = False
        scale_channels(norm, consumer, small.nonzero()[:, 0], 1 / BY)
        norm.weight.requires_grad_(False)
        norm.bias.requires_grad_(False)
    return train(network)


def train(network: nn.Module) -> nn.Module:
    """Train by SGD under one cycle of the rate, without weight decay: Adam would level what is unlike."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rows = nets.fashion()["train"]
    image, label = torch.from_numpy(rows["image"]), torch.from_numpy(rows["label"])
    optimizer = torch.optim.SGD([item for item in network.parameters() if item.requires_grad], lr=RATE, momentum=0.9)
    steps = len(image) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * steps)
    network.train()
    begun = time.monotonic()
    for epoch in range(EPOCHS):
        order = torch.randperm(len(image))
        for step in range(steps):
            places = order[step * BATCH : (step + 1) * BATCH]
            loss = functional.cross_entropy(network(image[places]), label[places])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1} of {EPOCHS}: loss {loss.item():.3f}, {time.monotonic() - begun:.0f} s", flush=True)
    return network.eval()


def answers(network: nn.Module) -> tuple[torch.Tensor, float]:
    """Return the logits of the test rows (10,000, 10), and their accuracy."""
    rows = nets.fashion()["test"]
    with torch.no_grad():
        logits = torch.cat([network(part) for part in torch.from_numpy(rows["image"]).split(500)])
    return logits, float((logits.argmax(1).numpy() == rows["label"]).mean())


NETWORKS = {"mbx": between_pairs, "mbr": along_streams, "clipped": clipped}


def prepare(cache: Path) -> None:
    """Make what the cache lacks; a file is whole or not there."""
    cache.mkdir(parents=True, exist_ok=True)
    for name, make in NETWORKS.items():
        file = cache / f"{name}.pt"
        if file.exists():
            continue
        network = make()
        logits, accuracy = answers(network)
        apart = "" if name == "clipped" else _apart(logits)
        unfinished = file.with_suffix(".unfinished")
        torch.save(network.state_dict(), unfinished)
        unfinished.rename(file)
        print(f"{file}: accuracy {accuracy:.4f}{apart}", flush=True)


def _apart(logits: torch.Tensor) -> str:
    """Say how far answers are from those of the network before it was made unbalanced."""
    before = answers(depthwise())[0]
    furthest, changed = float((logits - before).abs().max()), int((logits.argmax(1) != before.argmax(1)).sum())
    return f", logits at most {furthest:.1e} from the balanced network's, {changed} of {len(logits)} classes changed"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder that keeps the weights")
    prepare(parser.parse_args().cache)
