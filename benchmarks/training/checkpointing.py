"""Measure gradient checkpointing on a transformer of twelve layers: what it saves and costs, predicted and measured.

    python benchmarks/training/checkpointing.py [--layers 12] [--width 128] [--tokens 64] [--batch 16] [--turns 5]

Peaks are of activations and their gradients in one step, counted while it runs; `resident` is by how much the
process's own peak of memory grew in that step, each in a process of its own. Seconds are the fewest of turns
that alternate, one thread. Exit 1 where ratio 0.5 saves less than 35 %, or a prediction is off by more than 10 %.
"""

import argparse
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import torch  # noqa: TID253 - its very subject
from torch import nn  # noqa: TID253

import titrant

RATIOS = (0.25, 0.5, 0.75, 1.0)


def encoder(options: argparse.Namespace) -> tuple[nn.Module, torch.Tensor]:
    """Build the network and one batch (batch, tokens, width)."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(options.width, 4, 4 * options.width, dropout=0.1, batch_first=True)
    model = nn.TransformerEncoder(layer, options.layers, enable_nested_tensor=False)
    return model, torch.randn(options.batch, options.tokens, options.width)


def resident_growth(options: argparse.Namespace, ratio: float) -> int:
    """Return the bytes by which the peak of this process grows in a step, after one of a single case."""
    model, inputs = encoder(options)
    titrant.apply_gradient_checkpointing(model, ratio)
    model(inputs[:1]).float().mean().backward()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what it is now
    before = resident_peak()
    model(inputs).float().mean().backward()
    return resident_peak() - before


def resident_peak() -> int:
    """Return the peak of this process's resident memory in bytes, as Linux counts it."""
    return 1024 * int(Path("/proc/self/status").read_text("ascii").partition("VmHWM:")[2].split()[0])


def main() -> int:
    """Print a line a ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"layers": 12, "width": 128, "tokens": 64, "batch": 16, "turns": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    model, inputs = encoder(options)
    predicted = {ratio: titrant.estimate_memory_savings(model, inputs, ratio) for ratio in RATIOS}
    turns: dict[float, list[Any]] = {0: [], **{ratio: [] for ratio in RATIOS}}
    for _ in range(options.turns):
        for ratio, measured in turns.items():
            titrant.apply_gradient_checkpointing(model, ratio)
            measured.append(titrant.measure_activation_memory(model, inputs))
    before = turns[0][0].peak_bytes
    seconds = min(turn.seconds for turn in turns[0])
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        resident = {ratio: pool.apply(resident_growth, (options, ratio)) for ratio in turns}
    print(f"without: {before / 2**20:.1f} MiB, resident {resident[0] / 2**20:.1f} MiB, {seconds:.3f} s a step")
    print(
        "ratio  layers  peak MiB predicted/measured  saved predicted/measured  resident saved  lost predicted/measured"
    )
    wrong = []
    for ratio, forecast in predicted.items():
        peak = turns[ratio][0].peak_bytes
        saved, lost = 1 - peak / before, min(turn.seconds for turn in turns[ratio]) / seconds - 1
        print(
            f"{ratio:5.2f}  {len(forecast.layers):6}  {forecast.peak_bytes / 2**20:14.1f} / {peak / 2**20:<10.1f}"
            f"  {forecast.saved:13.1%} / {saved:<8.1%}  {1 - resident[ratio] / resident[0]:14.1%}"
            f"  {forecast.seconds_lost / forecast.seconds_before:10.1%} / {lost:.1%}"
        )
        if abs(forecast.peak_bytes / peak - 1) > 0.1 or abs(forecast.saved / saved - 1) > 0.1:
            wrong.append(f"the prediction at {ratio} is off by more than 10 %")
        if ratio == 0.5 and saved < 0.35:
            wrong.append("ratio 0.5 saves less than 35 %")
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
