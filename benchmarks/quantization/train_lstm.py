"""Train the LSTM on the rows of images: TITRANT_DATA=… python train_lstm.py [--cache FOLDER]."""

import torch  # noqa: TID253
from rows import fashion
from trained_nets import RowsLstm
from training import accuracy, cached, classify, keep, train


def main() -> None:
    """Train for a minute or two."""
    folder = cached(__doc__ or "")
    torch.manual_seed(0)
    module, parts = RowsLstm(), fashion()
    train(module, classify(module, ("image",)), parts["train"], epochs=8, rate=3e-3)
    keep(module, folder / "lstm.pt", accuracy(module, ("image",), parts["test"]))


if __name__ == "__main__":
    main()
