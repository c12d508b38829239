"""Compare predictions with what happened, over every shipped recipe and real models, and print the distribution.

    TITRANT_DATA=/path python benchmarks/predictions.py [--only NAME …] [--threads 1] [--steps]

Every recipe starts in an empty home, after one `titrant hardware --bench`: `first` is what the formulas say. Then it is
changed (another seed, more epochs) and runs again in the same home: `learned` is what they say after one run here.
A difference of up to 0.1 s, 16 MiB of memory or 16 KiB of a file counts as kept: below it the clock, the allocator and
the disk decide. Nothing else should run beside it: what shares the processor makes every step slower than predicted.
Exits 1 when fewer than nine steps in ten are within the budgets of the first run.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prediction_cases import cases, changed, lay_out

TITRANT = [sys.executable, "-m", "titrant"]
SHARE = 0.9
# What does not count: seconds, bytes of memory, bytes of a file.
FLOORS = {"seconds": 0.1, "memory": 16 << 20, "size": 16 << 10}
# How far a prediction may be off: a factor for seconds, a share of the actual value for the others.
FACTOR, SHARES = 2.0, {"memory": 0.25, "size": 0.03}


@dataclass(frozen=True)
class Figure:
    """One quantity of one step, predicted and actual."""

    recipe: str
    step: str
    kind: str  # seconds, memory, size
    predicted: float
    actual: float
    basis: str

    @property
    def kept(self) -> bool:
        """Whether it is within its budget."""
        difference = abs(self.predicted - self.actual)
        if difference <= FLOORS[self.kind]:
            return True
        if self.kind == "seconds":
            return self.actual / FACTOR <= self.predicted <= self.actual * FACTOR
        return difference <= SHARES[self.kind] * self.actual


def run(recipe: Path, home: Path, options: list[str]) -> Mapping[str, Any]:
    """Plan, so that facts are cached and the worker starts anew as it usually does, then run; return the record."""
    environment = {**os.environ, "TITRANT_HOME": str(home), "OMP_NUM_THREADS": "1", "CI": "true"}
    for verb in ("plan", "run"):
        done = subprocess.run(
            [*TITRANT, verb, recipe.name, *options],
            cwd=recipe.parent, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode not in (0, 5):
            sys.exit(f"titrant {verb} {recipe.name} exited {done.returncode}:\n{done.stdout}\n{done.stderr}")
    latest = max(home.glob("runs/*/record.json"), key=lambda path: path.stat().st_mtime_ns)
    record: Mapping[str, Any] = json.loads(latest.read_text("utf-8"))
    return record


def figures(recipe: str, record: Mapping[str, Any], seen: set[str]) -> Iterator[Figure]:
    """Yield what the steps that ran in this run were predicted to cost; `seen` are the keys of earlier ones."""
    for step in record["steps"]:
        result = step["result"]
        if result is None or step["key"] in seen:
            continue
        seen.add(step["key"])
        told = result["predicted"]
        size = sum(artifact["size"] for artifact in result["outputs"].values())
        pairs = {
            "seconds": ("seconds", result["seconds"]),
            "memory": ("peak_bytes", result["peak_bytes"]),
            "size": ("output_bytes", size),
        }
        for kind, (name, actual) in pairs.items():
            basis = told["bases"].get(name, told["basis"])
            yield Figure(recipe, step["step"], kind, float(told[name] or 0), float(actual), basis)


def measure(data: Path | None, only: list[str], options: list[str]) -> dict[str, list[Figure]]:
    """Run every recipe twice, the second time changed, each in a home of its own."""
    found: dict[str, list[Figure]] = {"first": [], "learned": []}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        lay_out(folder)
        bench = folder / "measured"
        measured = {**os.environ, "TITRANT_HOME": str(bench)}
        subprocess.run([*TITRANT, "hardware", "--bench"], env=measured, cwd=folder, check=True, capture_output=True)
        for name, text in cases(data).items():
            if only and name not in only:
                continue
            home, seen = folder / f"home-{name}", set[str]()
            (home / "facts").mkdir(parents=True)
            shutil.copy(bench / "facts" / "bench.json", home / "facts" / "bench.json")
            for which, written in (("first", text), ("learned", changed(text))):
                recipe = folder / f"{name}.yaml"
                recipe.write_text(written, "utf-8")
                found[which] += figures(name, run(recipe, home, options), seen)
            print(f"ran {name}", file=sys.stderr, flush=True)
            shutil.rmtree(home)
    return found


def share(found: Iterable[Figure]) -> tuple[int, int, float]:
    """Count the figures that are kept, all, and the median of actual / predicted where both are known."""
    listed = list(found)
    ratios = [one.actual / one.predicted for one in listed if one.predicted and one.actual]
    return sum(one.kept for one in listed), len(listed), statistics.median(ratios) if ratios else 1.0


def tell(which: str, found: list[Figure], *, steps: bool) -> bool:
    """Print the distribution of each kind, and what is off; say whether all are kept."""
    kept = True
    print(f"\n{which} run")
    for kind, words in (("seconds", "within 2×"), ("memory", "within 25 %"), ("size", "within 3 % or 16 KiB")):
        of_kind = [one for one in found if one.kind == kind]
        good, count, ratio = share(of_kind)
        fraction = good / max(1, count)
        kept &= fraction >= SHARE
        word = "kept  " if fraction >= SHARE else "MISSED"
        print(
            f"{word}  {kind:<8} {good:4d} of {count:4d} {words:<22} {fraction:.3f}  median actual/predicted {ratio:.2f}"
        )
        for one in of_kind:
            if steps or not one.kept:
                mark = " " if one.kept else "!"
                ratio = one.actual / one.predicted if one.predicted else float("inf")
                print(
                    f"  {mark} {one.recipe:<22} {one.step:<28} predicted {one.predicted:14.6g}  "
                    f"actual {one.actual:14.6g}  {ratio:8.2f}  {one.basis}"
                )
    return kept


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="predicted against actual")
    parser.add_argument("--only", nargs="*", default=[], help="recipes by name")
    parser.add_argument("--threads", type=int, default=1, help="threads of every run")
    parser.add_argument("--steps", action="store_true", help="print every step, not only what is off")
    options = parser.parse_args()
    folder = os.environ.get("TITRANT_DATA")
    settings = ["--set", f"reproducibility.threads={options.threads}"]
    found = measure(Path(folder) if folder else None, options.only, settings)
    first = tell("first", found["first"], steps=options.steps)
    tell("learned", found["learned"], steps=options.steps)
    return 0 if first else 1


if __name__ == "__main__":
    sys.exit(main())
