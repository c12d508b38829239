"""Compare a whole job with a script that does the same by hand, and time what people wait for beside it.

    python benchmarks/clean_job.py [--runs 9] [--only job|commands]

The job: a network for digits with given weights and a factory for its rows is exported, quantized to int8 with
calibration, answers the evaluation rows, is timed beside the original and judged, and a report says so. The script,
`digits_by_hand.py`, does all of that but the contract, the checks and the report, and times as often. Both are whole
processes on one thread, from an empty home, and take turns; the ratios are paired, and what counts on a shared machine
is the processor's part. What is asked of a job that ran takes turns with the script as well: its budgets are seconds
of a machine on which the script takes 2.6. Prints one line a budget and exits 1 when one is missed.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from budgets import ROOT, TITRANT, missed, newest_record, report, seconds, worked

RECIPE = """\
titrant: 1
name: clean
level: balanced
task: multiclass_classification
model:
  factory: titrant.recipes.models:DigitsNet
  args: {classes: 10}
  weights: weights.safetensors
data:
  source: {factory: "rows:load", files: [rows.npz]}
  inputs: [image]
  label: label
  split: {tuning: tuning, calibration: calibration, evaluation: evaluation}
quantization: {method: ort.static, bits: 8}
export: [{format: onnx}]
profile: {iterations: 100, warmup: 10}
"""
ROWS = """\
import numpy as np

def load():
    rows = np.load("rows.npz")
    roles = ("calibration", "tuning", "evaluation")
    return {role: {"image": rows[role], "label": rows[f"{role}_labels"]} for role in roles}
"""
BY_HAND = [sys.executable, str(ROOT / "benchmarks" / "digits_by_hand.py"), "weights.safetensors", "rows.npz", "out"]
# What the script took on the machine on which the budgets of commands were set, in seconds.
SCRIPT_SECONDS = 2.6
# What the contract asks of the original and of a candidate beside their answers; the script checks nothing.
CHECKS = ("validate.repeats", "validate.reference", "validate.batch_invariance", "validate.executed")


def make(folder: Path) -> None:
    """Write recipe, factory, rows and the weights of a trained network; as `python clean_job.py --make FOLDER`."""
    import numpy as np
    import torch
    from safetensors.torch import save_file
    from sklearn.datasets import load_digits

    from titrant.recipes.models import DigitsNet

    loaded = load_digits()
    images, labels = ((loaded.images / 16 - 0.5) / 0.5).astype(np.float32)[:, None], loaded.target
    order = np.random.default_rng(0).permutation(len(labels))
    train, *parts = np.split(order, [900, 1080, 1260])
    torch.manual_seed(0)
    model = DigitsNet(classes=10)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    shown, due = torch.from_numpy(images[train]), torch.from_numpy(labels[train])
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(shown), due).backward()
        optimizer.step()
    save_file(model.state_dict(), folder / "weights.safetensors")
    roles = dict(zip(("tuning", "calibration", "evaluation"), parts, strict=True))
    rows = {role: images[part] for role, part in roles.items()}
    named = {f"{role}_labels": labels[part] for role, part in roles.items()}
    np.savez(folder / "rows.npz", **rows, **named, labels=labels[roles["evaluation"]])
    (folder / "rows.py").write_text(ROWS, "utf-8")
    (folder / "clean.yaml").write_text(RECIPE, "utf-8")


def job(runs: int, folder: Path) -> None:
    """Let the job and the script take turns, each first in every other round."""
    command = [*TITRANT, "run", "-q", "clean.yaml"]
    seconds(BY_HAND, folder / "home", folder=folder)
    _once(command, folder)  # compiles what is compiled once
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    parts: list[Mapping[str, float]] = []
    for turn in range(runs):
        for is_ours in (turn % 2 == 0, turn % 2 == 1):
            if is_ours:
                taken = _once(command, folder)
                ours.append((taken, worked[-1]))
                parts.append(_parts(newest_record(folder / "home")))
            else:
                theirs.append(_timed(BY_HAND, folder))
    if find_spec("olive") is None:
        print("        Olive is not installed here, so nothing is compared with it")
    else:
        _beside_olive(min(runs, 3), folder, [statistics.median(pair[place] for pair in ours) for place in (0, 1)])
    worked.clear()
    for place, clock in enumerate(("wall", "processor")):
        medians = [statistics.median(pair[place] for pair in pairs) for pairs in (ours, theirs)]
        least = [min(pair[place] for pair in pairs) for pairs in (ours, theirs)]
        said = f"the job {medians[0]:.2f} s, by hand {medians[1]:.2f} s; of the least {least[0] / least[1]:.2f} ×"
        print(f"        {clock}: {said}")
        ratios = [mine[place] / other[place] for mine, other in zip(ours, theirs, strict=True)]
        report(f"clean job over the script, {clock}", ratios, 1.3, "×")
    checks = [part["checks"] / pair[0] for part, pair in zip(parts, theirs, strict=True)]
    report("checks and controls over the script", checks, 0.25, "×")
    for name in parts[0]:
        print(f"        of the job: {name} {statistics.median(part[name] for part in parts):.2f} s")


def _once(command: list[str], folder: Path) -> float:
    shutil.rmtree(folder / "home", ignore_errors=True)
    (folder / "clean.lock.yaml").unlink(missing_ok=True)
    return seconds(command, folder / "home", folder=folder)


def _parts(record: Mapping[str, Any]) -> Mapping[str, float]:
    """Return what the steps of a run took, in seconds of the wall."""
    steps = [step["result"] for step in record["steps"] if step["result"]]
    by_operator = [(str(step["operator"]), float(step["seconds"])) for step in steps]
    return {
        "checks": sum(taken for operator, taken in by_operator if operator in CHECKS),
        "timing the models": sum(taken for operator, taken in by_operator if operator == "profile.latency"),
        "all steps": sum(taken for _, taken in by_operator),
    }


def _beside_olive(runs: int, folder: Path, ours: list[float]) -> None:
    """Say what Olive takes for its part of the job; it is told to look for nothing that it kept."""
    command = [sys.executable, str(ROOT / "benchmarks" / "digits_by_olive.py"), "olive"]
    taken = []
    for _ in range(runs):
        shutil.rmtree(folder / "olive", ignore_errors=True)
        taken.append((seconds(command, folder / "home", folder=folder), worked[-1]))
    for place, clock in enumerate(("wall", "processor")):
        median = statistics.median(pair[place] for pair in taken)
        print(f"        {clock}: Olive {median:.2f} s, the job {ours[place] / median:.2f} × that")


def commands(runs: int, folder: Path) -> None:
    """Time what is asked again and again of a job that ran, beside the script."""
    home = folder / "home"
    if not home.is_dir():
        _once([*TITRANT, "run", "-q", "clean.yaml"], folder)
    asked = (
        ("titrant --help", ["--help"], 0.06),
        ("titrant plan, facts cached", ["plan", "clean.yaml"], 0.25),
        ("titrant run, everything reused", ["run", "clean.yaml"], 0.25),
    )
    for _, arguments, _ in asked:
        seconds([*TITRANT, *arguments], home, folder=folder)
    by_hand: list[tuple[float, float]] = []
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name, _, _ in asked}
    for _ in range(runs):
        by_hand.append(_timed(BY_HAND, folder))
        for name, arguments, _ in asked:
            taken[name].append(_timed([*TITRANT, *arguments], folder))
    worked.clear()
    for name, _, limit in asked:
        wall, cpu = zip(*taken[name], strict=True)
        print(f"        {name}: {statistics.median(wall):.3f} s ({min(wall):.3f} to {max(wall):.3f}), ", end="")
        print(f"{statistics.median(cpu):.3f} of the processor (from {min(cpu):.3f})")
        for place, clock in enumerate(("wall", "processor")):
            ratios = [mine[place] / script[place] for mine, script in zip(taken[name], by_hand, strict=True)]
            report(f"{name} over the script, {clock}", ratios, limit / SCRIPT_SECONDS, "×")


def _timed(command: list[str], folder: Path) -> tuple[float, float]:
    """Return what a command takes in a home that stays, in seconds of the wall and of the processor."""
    return seconds(command, folder / "home", folder=folder), worked[-1]


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--only", choices=("job", "commands"))
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        make(options.make)
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds([sys.executable, __file__, "--make", name], folder / "home")
        if options.only in (None, "job"):
            job(options.runs, folder)
        if options.only in (None, "commands"):
            commands(options.runs, folder)
    print(f"missed: {', '.join(missed)}" if missed else "every budget is kept")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
