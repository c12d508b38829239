"""Measure what the training loop costs over a bare torch loop that does the same.

    python benchmarks/training/run.py [--rounds 41] [--only NAME …]

Each network is trained by a loop as torch's tutorials write it and by `titrant.train.fit`, in turns, in one process, on
one thread, on rows that lie in memory; what is compared is process CPU time, and both end with the same weights, bit
for bit. Printed is the time of a step and the ratio of each round: its median, and the quarter and three quarters of
the rounds. Exits 1 where the median is above 1.03 for a network whose step takes a millisecond or more.
"""

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch  # noqa: TID253 - a bare torch loop is what is compared with
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

import titrant

LIMIT, COUNTED_SECONDS = 1.03, 1e-3
RATE, BATCH = 1e-3, 64
Batches = Sequence[tuple[torch.Tensor, torch.Tensor]]


def convolutional() -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in ((3, 16), (16, 32), (32, 32)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 16, 10))


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 2))


# Name → network, shape of a case, classes, steps a round.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int, int]] = {
    "convolutional": (convolutional, (3, 32, 32), 10, 8),
    "perceptron": (perceptron, (256,), 10, 40),
    "small": (small, (30,), 2, 400),  # a step is all overhead; not held to the limit
}


def bare(module: nn.Module, batches: Batches) -> None:
    module.train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=RATE, weight_decay=0.01)
    for x, labels in batches:
        optimizer.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(module(x), labels)
        loss.backward()
        optimizer.step()
        float(loss.detach())  # to show it, as everybody does


def ours(module: nn.Module, batches: Batches) -> None:
    titrant.train.fit(module, batches, settings=titrant.train.TrainingSettings(epochs=1, learning_rate=RATE))


def seconds(run: Callable[[nn.Module, Batches], None], module: nn.Module, batches: Batches) -> float:
    began = time.process_time()
    run(module, batches)
    return time.process_time() - began


def compare(name: str, rounds: int) -> tuple[float, list[float]]:
    """Return the CPU seconds of a bare step, and ours over bare of each round, sorted."""
    build, shape, classes, steps = NETWORKS[name]
    torch.manual_seed(0)
    module = build()
    batches = [(torch.randn(BATCH, *shape), torch.randint(classes, (BATCH,))) for _ in range(steps)]
    ends = []
    for run in (bare, ours):  # not timed
        trained = copy.deepcopy(module)
        run(trained, batches)
        ends.append(list(trained.parameters()))
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True)), "the two loops do not do the same"
    times: list[float] = []
    ratios: list[float] = []
    for place in range(rounds):
        order = (bare, ours) if place % 2 == 0 else (ours, bare)
        took = {run: seconds(run, copy.deepcopy(module), batches) for run in order}
        times.append(took[bare] / steps)
        ratios.append(took[ours] / took[bare])
    return statistics.median(times), sorted(ratios)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--only", nargs="*", choices=sorted(NETWORKS), default=sorted(NETWORKS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    missed = []
    print(f"{'network':<14} {'bare step':>10} {'ours / bare':>12}   quarters")
    for name in options.only:
        step, ratios = compare(name, options.rounds)
        quarters = statistics.quantiles(ratios, n=4)
        print(f"{name:<14} {step * 1e3:>7.2f} ms {quarters[1]:>12.3f}   {quarters[0]:.3f}–{quarters[2]:.3f}")
        if step >= COUNTED_SECONDS and quarters[1] > LIMIT:
            missed.append(name)
    if missed:
        print(f"above {LIMIT}: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
