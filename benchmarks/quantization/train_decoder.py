"""Train the small decoder on Shakespeare's characters: TITRANT_DATA=… python train_decoder.py [--cache FOLDER]."""

import torch  # noqa: TID253
from rows import characters
from torch.nn import functional  # noqa: TID253
from trained_nets import Decoder
from training import Batch, accuracy, cached, keep, train


def main() -> None:
    """Train for minutes; every place of a window is learned from, and the last one is scored."""
    folder = cached(__doc__ or "")
    torch.manual_seed(0)
    module, parts = Decoder(), characters(train=20_000)

    def loss(batch: Batch) -> torch.Tensor:
        following = torch.cat((batch["tokens"][:, 1:], batch["label"][:, None]), 1)
        return functional.cross_entropy(module.at_every_place(batch["tokens"]).flatten(0, 1), following.flatten())

    train(module, loss, parts["train"], epochs=3, rate=3e-3, size=64)
    keep(module, folder / "decoder.pt", accuracy(module, ("tokens",), parts["test"]))


if __name__ == "__main__":
    main()
