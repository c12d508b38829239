"""Train the network with two inputs on halves of images: TITRANT_DATA=… python train_two_inputs.py [--cache FOLDER]."""

import torch  # noqa: TID253
from rows import halves
from trained_nets import TwoHalves
from training import accuracy, cached, classify, keep, train


def main() -> None:
    """Train for a minute or two."""
    folder, inputs = cached(__doc__ or ""), ("top", "bottom")
    torch.manual_seed(0)
    module, parts = TwoHalves(), halves()
    train(module, classify(module, inputs), parts["train"], epochs=4, rate=2e-3)
    keep(module, folder / "two_inputs.pt", accuracy(module, inputs, parts["test"]))


if __name__ == "__main__":
    main()
