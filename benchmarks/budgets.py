"""Measure the budgets of the design on this machine and say which are kept.

    python benchmarks/budgets.py [--runs 5] [--only commands|scale|recipes|digits|resnet|demo]

Every figure is of whole processes, with a set thread count; where two programs are compared they take turns in one run,
and the median of the paired ratios is what counts. Prints one line a budget and exits 1 when one is missed.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TITRANT = [sys.executable, "-m", "titrant"]
# Copied, because a run writes a lock beside its recipe.
_COPY = tempfile.TemporaryDirectory()
RECIPES = Path(shutil.copytree(ROOT / "recipes", _COPY.name, dirs_exist_ok=True))
missed: list[str] = []


def environment(home: Path) -> dict[str, str]:
    """Return the environment of every measured process: one thread, a home of its own, bytecode kept as usual."""
    given = {**os.environ, "TITRANT_HOME": str(home), "OMP_NUM_THREADS": "1", "CI": "true"}
    # Where it is set, all of titrant is compiled anew by every process, which an installed package never is.
    given.pop("PYTHONDONTWRITEBYTECODE", None)
    return given


# What the processor worked for each command, user and system, since the last line of the report.
worked: list[float] = []


def seconds(command: list[str], home: Path, *, codes: tuple[int, ...] = (0,), folder: Path = ROOT) -> float:
    """Run a command to its end and return its wall time."""
    start, before = time.perf_counter(), os.times()
    done = subprocess.run(command, cwd=folder, env=environment(home), capture_output=True, text=True, check=False)
    if done.returncode not in codes:
        sys.exit(f"{command} exited {done.returncode}:\n{done.stdout}\n{done.stderr}")
    took, after = time.perf_counter() - start, os.times()
    worked.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return took


def report(
    name: str,
    samples: list[float],
    limit: float,
    unit: str = "s",
    *,
    at_least: bool = False,
    cpu: list[float] | None = None,
) -> None:
    """Print the median with its range against the budget, and of seconds the least that the processor worked.

    On a machine that others use as well the wall time says little, and the processor's part more. It is that of the
    commands since the last line, or `cpu`.
    """
    median = statistics.median(samples)
    kept = median >= limit if at_least else median <= limit
    if not kept:
        missed.append(name)
    sign = "≥" if at_least else "≤"
    spread = f"{min(samples):.3f} … {max(samples):.3f}, n={len(samples)}"
    if unit == "s" and (cpu or worked):
        spread += f", cpu from {min(cpu or worked):.3f}"
    worked.clear()
    print(
        f"{'kept  ' if kept else 'MISSED'}  {name:<58} {median:8.3f} {unit}  ({spread})  budget {sign} {limit:g}",
        flush=True,
    )


def commands(runs: int) -> None:
    """Time what people wait for most often, with facts cached and everything reused."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        recipe = str(RECIPES / "breast_cancer.yaml")
        for name, command, limit in (
            ("titrant --help", [*TITRANT, "--help"], 0.35),
            ("titrant check", [*TITRANT, "check", recipe], 0.35),
            ("titrant plan, facts cached", [*TITRANT, "plan", recipe], 0.6),
            ("titrant run, everything reused", [*TITRANT, "run", recipe], 1.0),
        ):
            seconds(command, home)
            report(name, [seconds(command, home) for _ in range(runs)], limit)


def scale(runs: int) -> None:
    """Time the same commands where there is much of everything; against a small one, the paired difference counts."""
    from scale import cases

    def run(command: list[str], home: Path) -> float:
        return seconds([*TITRANT, *command], home, folder=place)

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for case in cases(place, run):
            samples, cpu = [], []
            for _ in range(runs):
                took = run([*case.command], case.home)
                less = run([*case.against], case.against_home or case.home) if case.against else 0.0
                samples.append(took - less)
                cpu.append(worked[-2] - worked[-1] if case.against else worked[-1])
            report(case.name, samples, case.limit, cpu=cpu)


def recipes(runs: int) -> None:
    """Time the shipped recipes from an empty home."""
    for name, limit in (("breast_cancer", 20.0), ("digits_cnn", 40.0)):
        samples = []
        for _ in range(max(1, runs // 2)):
            with tempfile.TemporaryDirectory() as folder:
                samples.append(seconds([*TITRANT, "run", "-q", str(RECIPES / f"{name}.yaml")], Path(folder)))
        report(f"{name}, from an empty home", samples, limit)


def newest_record(home: Path) -> Mapping[str, Any]:
    """Read the record of the last run in a home."""
    record: Mapping[str, Any] = json.loads(sorted(home.glob("runs/*/record.json"))[-1].read_text("utf-8"))
    return record


def _forget(home: Path, keep: tuple[str, ...]) -> None:
    """Forget every result but those of the operators named, so that only the others run again."""
    for result in home.glob("results/*/*.json"):
        if json.loads(result.read_text("utf-8"))["operator"] not in keep:
            result.unlink()
    shutil.rmtree(home / "runs")


def digits(runs: int) -> None:
    """Compare the train-less part of digits with a script written by hand, and the model with eager torch."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        # As many timed runs as the script makes.
        same = ["--set", "profile.iterations=100", "--set", "profile.warmup=10"]
        ours_command = [*TITRANT, "run", "-q", str(RECIPES / "digits_cnn.yaml"), *same]
        seconds(ours_command, home)
        weights, rows = _trained_digits(home, Path(folder))
        hand = [
            sys.executable,
            str(ROOT / "benchmarks" / "digits_by_hand.py"),
            str(weights),
            str(rows),
            f"{folder}/hand",
        ]
        ours, theirs = [], []
        for _ in range(runs):
            _forget(home, ("data.load", "data.split", "data.transform", "model.load", "train.fit"))
            seconds(ours_command, home)
            ours.append(_work(home))
            theirs.append(seconds(hand, home))
        medians = statistics.median(ours), statistics.median(theirs)
        print(f"        digits without training: titrant {medians[0]:.2f} s, by hand {medians[1]:.2f} s")
        report(
            "digits without training, titrant / by hand", [a / b for a, b in zip(ours, theirs, strict=True)], 1.3, "×"
        )
        _speed(newest_record(home), home)


def _work(home: Path) -> float:
    """Return the seconds from the first step that ran, its process's start included, to the report.

    What the script does not do is left out: compiling the plan, and drawing the report.
    """
    journal = sorted(home.glob("runs/*/journal.jsonl"))[-1].read_text("utf-8").splitlines()
    started = {}
    for event in map(json.loads, journal):
        if event["event"] == "started":
            started[event["step"]] = datetime.fromisoformat(event["time"])
    return (started["report"] - min(started.values())).total_seconds()


def _trained_digits(home: Path, folder: Path) -> tuple[Path, Path]:
    """Take the trained weights and the rows out of the store, for the script written by hand."""
    import numpy as np

    from titrant.runtime.store.artifacts import Store
    from titrant.runtime.store.home import open_home
    from titrant.schema.record import Artifact

    store = Store(open_home(home))
    steps = {step["step"]: step["result"] for step in newest_record(home)["steps"]}
    fitted = Artifact(**steps["fit"]["outputs"]["model"])
    store.materialize(fitted, folder / "fit", copy=True)
    outputs = steps["transform"]["outputs"]
    sets = {}
    for role in ("calibration", "evaluation"):
        sets[role] = store.get(Artifact(**outputs[role]), folder / role)
    rows = folder / "rows.npz"
    np.savez(
        rows,
        calibration=sets["calibration"].inputs["image"],
        evaluation=sets["evaluation"].inputs["image"],
        labels=sets["evaluation"].labels,
    )
    return folder / "fit" / "model.safetensors", rows


def _speed(record: Mapping[str, Any], home: Path) -> None:
    """Compare the released digits model with eager torch at batch 1, from the joint timing, and its size."""
    from titrant.runtime.store.artifacts import Store
    from titrant.runtime.store.home import open_home
    from titrant.schema.record import Artifact

    steps = {step["step"]: step["result"] for step in record["steps"] if step["result"]}
    timings = Store(open_home(home)).get(Artifact(**steps["latency"]["outputs"]["timings"]), home / "look")
    ratio = timings["original"]["1"]["p50"] / timings["ort.static"]["1"]["p50"]
    report("digits int8, faster than eager torch at batch 1", [ratio], 3.0, "×", at_least=True)
    original = steps["fit"]["outputs"]["model"]["size"]
    report("digits int8, size over eager torch", [_size(record, "ort.static") / original], 0.31, "×")


def _size(record: Mapping[str, Any], candidate: str) -> float:
    return float(next(one["size"] for one in record["candidates"] if one["candidate"] == candidate))


def resnet(runs: int) -> None:
    """Time the int8 CIFAR ResNet-20 against onnxruntime fp32 (needs TITRANT_DATA).

    The budget is of the least of many interleaved runs, as the design states such figures; the median, which moves with
    what else the processor's core has to do, is printed beside it.
    """
    data = os.environ.get("TITRANT_DATA")
    if not data:
        print("        resnet: skipped, TITRANT_DATA does not name the real data")
        return
    text = (ROOT / "tests" / "real" / "test_real_models.py").read_text("utf-8")
    recipe = text.partition('RESNET = """\\\n')[2].partition('"""')[0].format(data=data)
    medians, least = [], []
    with tempfile.TemporaryDirectory() as folder:
        place, home = Path(folder), Path(folder) / "home"
        for module in ("tests/real/modules/cifar.py", "tests/models/resnet20.py"):
            shutil.copy(ROOT / module, place)
        (place / "resnet.yaml").write_text(recipe, "utf-8")
        for _ in range(max(1, runs // 2)):
            seconds([*TITRANT, "run", "-q", "resnet.yaml"], home, folder=place)
            record = newest_record(home)
            figures = {one["candidate"]: one["figures"] for one in record["candidates"]}
            medians.append(figures["onnx-fp32"]["latency_p50"] / figures["ort.static"]["latency_p50"])
            [written] = home.glob("runs/*/report.json")
            timings = json.loads(written.read_text("utf-8"))["record"]["values"]["timings"]
            least.append(min(timings["onnx-fp32"]["1"]["samples"]) / min(timings["ort.static"]["1"]["samples"]))
            for result in home.glob("results/*/*.json"):
                if json.loads(result.read_text("utf-8"))["operator"] == "profile.latency":
                    result.unlink()
            shutil.rmtree(home / "runs")
    print(f"        ResNet-20 int8, by the median: {statistics.median(medians):.3f} × onnxruntime fp32 at batch 1")
    report("ResNet-20 int8, faster than onnxruntime fp32 at batch 1", least, 1.5, "×", at_least=True)
    report("ResNet-20 int8, size over fp32 ONNX", [_size(record, "ort.static") / _size(record, "onnx-fp32")], 0.31, "×")


def demo(runs: int) -> None:
    """Time `make demo` in a fresh clone, installation included."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "--quiet", str(ROOT), f"{folder}/clone"], check=True)
        start = time.perf_counter()
        done = subprocess.run(["make", "demo"], cwd=f"{folder}/clone", capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"make demo exited {done.returncode}:\n{done.stdout}\n{done.stderr}")
        report("make demo on a fresh clone, installation included", [time.perf_counter() - start], 360.0)


GROUPS: Mapping[str, Callable[[int], None]] = {
    "commands": commands,
    "scale": scale,
    "recipes": recipes,
    "digits": digits,
    "resnet": resnet,
    "demo": demo,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=tuple(GROUPS))
    options = parser.parse_args()
    for name, measure in GROUPS.items():
        if options.only in (None, name):
            measure(options.runs)
    print(f"missed: {', '.join(missed)}" if missed else "every budget is kept")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
