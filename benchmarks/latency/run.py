"""Compare predicted with measured latency, of every candidate of networks that constants were fitted to and of others.

    TITRANT_DATA=/path python benchmarks/latency/run.py [--only NAME …] [--kept FOLDER] [--off]

Every method that `auto` may take without being asked for a format makes its candidate of each network in
`networks.py`, with drawn weights and rows: what a kernel takes does not depend on them. They are timed in turns, one
thread, by process CPU time, at batch 1, 8 and 32; predictions are made without a bench, as those that choose are.
`--kept` keeps what was measured, a file a network, and takes it from there: then only predictions are made anew.

Two promises, each of the networks that nobody fitted a constant to: nine predictions in ten within 2 ×, and none off by
more than 4 ×. Printed too is how well predictions order the candidates of a network: Kendall's tau, and how much slower
than the fastest the one is that was predicted to be. Exits 1 where a promise is missed.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from candidates import methods
from networks import FITTED, NETWORKS, UNSEEN

import titrant
from titrant.runtime.backends import backend
from titrant.runtime.cost.forward import Speed, forward_seconds, speed_of
from titrant.schema.cost import FP32, Arithmetic
from titrant.schema.facts import ModelFacts
from titrant.schema.values.frozen import dataclass

FACTOR, WORST, SHARE = 2.0, 4.0, 0.9


@dataclass(frozen=True)
class Timed:
    """One candidate of a network at one batch: seconds measured and predicted."""

    network: str
    candidate: str
    batch: int
    measured: float
    predicted: float

    @property
    def ratio(self) -> float:
        """Predicted over measured."""
        return self.predicted / self.measured

    def within(self, factor: float) -> bool:
        """Whether the prediction is off by no more than a factor."""
        return 1 / factor <= self.ratio <= factor


@cache
def _facts(name: str) -> ModelFacts:
    return NETWORKS[name].facts(NETWORKS[name].build())


@cache
def _speed() -> Speed:
    return speed_of(replace(titrant.detect(), bench=None))


@cache
def _arithmetic() -> dict[str, Arithmetic]:
    return {label: arithmetic for label, _, _, arithmetic in methods()}


def timed(name: str, folder: Path) -> Iterator[Timed]:
    """Yield every candidate of a network, measured in a process of its own unless the folder has it."""
    kept = folder / f"{name}.json"
    if not kept.exists():
        print(f"measuring {name}", file=sys.stderr, flush=True)
        command = [sys.executable, str(Path(__file__).with_name("candidates.py")), name, str(kept)]
        subprocess.run(command, check=True)
    for item in json.loads(kept.read_text("utf-8")):
        cost = backend.run_cost(item["engine"], item["kind"])
        arithmetic = _arithmetic().get(item["candidate"], FP32)
        predicted = forward_seconds(_facts(name), _speed(), cost, item["batch"], arithmetic)
        yield Timed(name, item["candidate"], item["batch"], item["seconds"], predicted)


def tau(items: Sequence[Timed]) -> float:
    """Return Kendall's tau (tau-a) between predicted and measured seconds."""
    signs = [
        math.copysign(1, (one.predicted - other.predicted) * (one.measured - other.measured))
        for place, one in enumerate(items)
        for other in items[place + 1 :]
    ]
    return statistics.mean(signs) if signs else 1.0


def tell(title: str, items: Sequence[Timed], *, off: bool) -> bool:
    """Print how well one set of networks is predicted; say whether both promises are kept."""
    good, worst = sum(item.within(FACTOR) for item in items), [item for item in items if not item.within(WORST)]
    print(f"\n{title}: {good} of {len(items)} within {FACTOR:g} × ({good / len(items):.3f}), {len(worst)} beyond 4 ×")
    for label, of_label in _grouped(items, lambda item: item.candidate):
        ratios = [item.ratio for item in of_label]
        kept = sum(item.within(FACTOR) for item in of_label)
        print(
            f"  {label:<24} {kept:3d} of {len(of_label):3d}, predicted/measured {min(ratios):.2f} to "
            f"{max(ratios):.2f}, median {statistics.median(ratios):.2f}"
        )
        for item in of_label if off else ():
            if not item.within(FACTOR):
                print(f"      {item.network} at batch {item.batch}: {item.ratio:.2f} of {item.measured * 1e3:.3f} ms")
    groups = [each for _, each in _grouped(items, lambda item: f"{item.network}, batch {item.batch}")]
    losses = [_loss(each) for each in groups]
    share = statistics.mean(loss <= 1.05 for loss in losses)
    print(
        f"  order: Kendall's tau {statistics.mean(map(tau, groups)):.2f} in the mean; the one predicted to be fastest "
        f"is {statistics.geometric_mean(losses):.2f} × as slow as the fastest, within 5 % of it {share:.0%} of the time"
    )
    return good >= SHARE * len(items) and not worst


def _loss(items: Sequence[Timed]) -> float:
    chosen = min(items, key=lambda item: item.predicted)
    return chosen.measured / min(item.measured for item in items)


def _grouped(items: Iterable[Timed], key: Callable[[Timed], str]) -> list[tuple[str, list[Timed]]]:
    groups: dict[str, list[Timed]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return sorted(groups.items())


def main() -> int:
    """Measure, predict and print."""
    parser = argparse.ArgumentParser(description="predicted against measured latency", epilog=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="networks by name")
    parser.add_argument("--kept", type=Path, help="folder of what was measured")
    parser.add_argument("--off", action="store_true", help="print every prediction that is off by more than 2 ×")
    options = parser.parse_args()
    kept = True
    with tempfile.TemporaryDirectory() as place:
        folder = options.kept or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        for title, names in (("fitted", FITTED), ("unseen", UNSEEN)):
            asked = [name for name in names if not options.only or name in options.only]
            items = [item for name in asked for item in timed(name, folder)]
            if items:
                kept = tell(title, items, off=options.off) or title == "fitted"
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
