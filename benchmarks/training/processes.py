"""Measure a training in two processes: its curve beside that of one, how it scales, and how soon a death ends it.

    python benchmarks/training/processes.py [--processes 2] [--width 256] [--batch 64] [--epochs 2]

A transformer with a batch norm learns from the same batches alone and in several processes, one thread each. Exit 1
where a loss differs by more than 1e-4 of it, or a death ends the training after more than ten seconds.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253 - its very subject
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

from titrant.runtime.training.loop import train
from titrant.runtime.training.processes.launch import run_ranks
from titrant.runtime.training.processes.ranked_task import ranked_task, shared, step_seconds
from titrant.runtime.training.processes.ranks import Ranks
from titrant.runtime.training.task import TrainingSettings, TrainingTask
from titrant.schema.diagnostics.diagnostics import StepError


class Encoder(nn.Module):
    """(batch, 16, width) → logits (batch, 2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True)
        self.norm, self.head = nn.BatchNorm1d(width), nn.Linear(width, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        logits: torch.Tensor = self.head(self.norm(self.body(x).mean(1)))
        return logits


def make_task(options: Mapping[str, Any]) -> TrainingTask:
    """Return the training, the same in every process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = [(torch.randn(options["batch"], 16, options["width"])) for _ in range(6)]
    batches = [([x], (x.mean((1, 2)) > 0).long()) for x in rows]
    return TrainingTask(
        module=Encoder(options["width"]),
        train=lambda: batches,
        tuning=None,
        objective=lambda output, labels, _: functional.cross_entropy(output, labels),
        settings=TrainingSettings(epochs=options["epochs"], learning_rate=1e-3),
        generator=np.random.default_rng(0),
        call=lambda net, inputs: net(*inputs),
        right=None,
        progress=lambda *_: None,
        batches=len(batches),
    )


def learn(folder: Path, options: Mapping[str, Any], ranks: Ranks) -> None:
    """Learn as one rank."""
    task, losses = ranked_task(make_task(options), ranks)
    seconds = step_seconds(task, shared(next(iter(make_task(options).train())), ranks))
    losses.sums.zero_()
    curve = train(task, [losses]).loss
    if ranks.writes:
        (folder / "answer.json").write_text(json.dumps({"loss": curve, "seconds": seconds}), "utf-8")


def die(folder: Path, options: Mapping[str, Any], ranks: Ranks) -> None:
    """Let the last rank be killed while the others wait for it."""
    torch.distributed.barrier()
    if ranks.rank == ranks.size - 1:
        (folder / "died").write_text(str(time.time()), "utf-8")
        os.kill(os.getpid(), signal.SIGKILL)
    torch.distributed.barrier()


def main() -> int:
    """Print the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"processes": 2, "width": 256, "batch": 64, "epochs": 2}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    options = vars(parser.parse_args())
    size = options["processes"]
    os.environ["TITRANT_RECIPE_FOLDER"] = str(Path(__file__).parent)
    task = make_task(options)
    alone = step_seconds(task, next(iter(task.train())))
    curve = train(task).loss
    with tempfile.TemporaryDirectory() as place:
        for function in ("learn", "die"):
            folder = Path(place) / function
            folder.mkdir()
            request = {"module": "processes", "function": function, "seed": 0, "options": options}
            try:
                run_ranks(size, folder, request, lambda _: None)
            except StepError as error:
                print(error)
                ended = time.time() - float((folder / "died").read_text("utf-8"))
        answer = json.loads((Path(place) / "learn" / "answer.json").read_text("utf-8"))
    difference = max(abs(one / other - 1) for one, other in zip(answer["loss"], curve, strict=True))
    print(f"losses {', '.join(f'{loss:.6f}' for loss in curve)}; in {size} processes at most {difference:.1e} off")
    efficiency = alone / answer["seconds"] / size
    print(f"a step takes {alone:.3f} s alone and {answer['seconds']:.3f} s together: efficiency {efficiency:.0%}")
    print(f"a death ended the training after {ended:.2f} s")
    return 1 if difference > 1e-4 or ended > 10 else 0


if __name__ == "__main__":
    sys.exit(main())
