"""Remove whole blocks of a ResNet-20, train it again, and hold it against int8 alone and the fine-tuned original.

    TITRANT_DATA=/path python benchmarks/reduction/run.py [--epochs 3] [--copies 3] [--out FOLDER]

One recipe: the pretrained CIFAR ResNet-20 on JPEG images, blocks removed one after the other as long as enough is kept,
recovery on the 5,000 training images (and changed copies of them) with the control as teacher, then int8. The control,
which the recipe's contract compares with, is the original after the same training. A fifth of the test images chooses,
the others judge. Everything is timed in turns, in one process with one thread, by process CPU time.

Promises: what is released is at least 1.25 × as fast as int8 of the network as it is (aim 1.4 ×), by the paired ratio
of the joint timing, and at most a point below the fine-tuned original; recovery takes five minutes of CPU time at most.
Results go to --out as results.md. Exits 1 where a promise is missed.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from titrant.schema.values.frozen import dataclass

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MODULES = (
    HERE / "augmented.py",
    ROOT / "tests" / "models" / "resnet20.py", ROOT / "tests" / "real" / "modules" / "cifar.py",
)  # fmt: skip
RECIPE = """\
titrant: 1
name: resnet20-reduced
seed: {seed}
task: multiclass_classification
model:
  factory: "resnet20:ResNet20"
  args: {{classes: 10}}
  weights: {data}/resnet20_cifar10/resnet20-12fca82f.th
data:
  source: {{factory: "augmented:sources", args: {{folder: {data}/cifar10_jpeg, copies: {copies}}}}}
  inputs: [image]
  label: label
  classes: [airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck]
  split:
    train: {{train: 0.95}}
    calibration: {{train: 0.05}}
    tuning: {{test: 0.2}}
    evaluation: {{test: 0.8}}
    overlap: drop
  transform: [{{normalize: {{mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}}}}]
train:
  epochs: {epochs}
  batch_size: 128
  optimizer: sgd
  learning_rate: 0.05
  momentum: 0.9
  weight_decay: 0.0005
  schedule: one_cycle
  precision: {precision}
  early_stop: none
memory: {{layout: channels_last}}
reduction:
  pruning: {{method: blocks}}
  distillation: {{teacher: fine_tuned, temperature: 4, weight: 0.9, layers: [layer3]}}
quantization: {{method: ort.static}}
validation: {{retention: 0.9877, require: evidence}}
"""
FASTER, AIM, POINT, MINUTES = 1.25, 1.4, 0.01, 5.0
INT8 = "ort.static"


def laid_out(folder: Path, data: Path, options: argparse.Namespace) -> Path:
    """Write the recipe and the modules that it names into a folder."""
    folder.mkdir(parents=True)
    for module in MODULES:
        shutil.copy(module, folder)
    recipe = folder / "reduced.yaml"
    terms = {"epochs": options.epochs, "copies": options.copies, "precision": options.precision, "seed": options.seed}
    recipe.write_text(RECIPE.format(data=data, **terms), "utf-8")
    return recipe


@dataclass(frozen=True)
class Row:
    """One candidate: what became of it, its speed over int8 alone, and its and the control's accuracy where judged."""

    name: str
    status: str
    speed: Any  # an estimate with its 95 % interval, of paired runs
    size: int | None
    accuracy: float | None
    control: float | None
    cpu_seconds: float  # of its training


class Heard:
    """Prints what is finished, so that somebody who waits sees it go on, and counts the CPU seconds of each step.

    They are those of the processes that this one started. Kept in a file beside the results, of which a later run with
    the same home takes what it does not do again.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._began = file, dict[str, float]()
        self.cpu_seconds: dict[str, float] = json.loads(file.read_text("utf-8")) if file.exists() else {}

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Hear of a step that starts or is finished, or of a note."""
        kind, step = event.get("event"), str(event.get("step", ""))
        if kind == "started":
            self._began[step] = started_seconds()
        elif kind == "finished" and step in self._began:
            self.cpu_seconds[step] = started_seconds() - self._began.pop(step)
            self._file.write_text(json.dumps(self.cpu_seconds), "utf-8")
        if kind in ("finished", "note"):
            print(step, event.get("text", ""), file=sys.stderr, flush=True)


def started_seconds() -> float:
    """Return the CPU seconds of all living processes that this one started."""
    times = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return sum(time.user + time.system for time in times)


def rows(home: Path, record: Any, cpu_seconds: Mapping[str, float]) -> Iterator[Row]:
    """Yield the candidates that were timed, with how long their training took."""
    from titrant.runtime.contract.statistics.paired_runs import compare_runs, timed_runs
    from titrant.runtime.store.artifacts import Store
    from titrant.runtime.store.home import open_home

    results = {step.step: step.result for step in record.steps if step.result is not None}
    timings = Store(open_home(home)).value(results["latency"].outputs["timings"])
    base = timed_runs(timings[INT8]["1"])
    for candidate in record.candidates:
        name = candidate.candidate
        compared = compare_runs(timed_runs(timings.get(name, {}).get("1", {})), base)
        if compared is None:
            continue
        judged = {} if candidate.judgement is None else {each.gate: each for each in candidate.judgement.results}
        kept, beside = judged.get("retention"), judged.get("fine_tuned")
        yield Row(
            name, candidate.status, compared.ratio, candidate.size, kept.candidate if kept else None,
            beside.original if beside else None, cpu_seconds.get(f"{name}.recovery", 0.0),
        )  # fmt: skip


def percent(value: float | None) -> str:
    """Write a fraction as percent, a dash where there is none."""
    return "–" if value is None else f"{100 * value:.2f} %"


def table(measured: list[Row]) -> str:
    """Lay the candidates out as Markdown."""
    lines = ["| candidate | status | speed over int8 alone | size | accuracy | control | training |", "|---" * 7 + "|"]
    for row in measured:
        speed = f"{row.speed.estimate:.2f} ({row.speed.lower:.2f}–{row.speed.upper:.2f})"
        accuracy, control = percent(row.accuracy), percent(row.control)
        size = "–" if row.size is None else f"{row.size / 1024:.0f} KiB"
        training = f"{row.cpu_seconds:.0f} s" if row.cpu_seconds else "–"
        cells = (row.name, row.status, speed, size, accuracy, control, training)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def promises(measured: list[Row]) -> Iterator[tuple[str, bool]]:
    """Yield each promise with what was measured, and whether it is kept."""
    released = next((row for row in measured if row.status == "released" and row.control is not None), None)
    if released is None:
        yield "a reduced network is released", False
        return
    lost = (released.control or 0.0) - (released.accuracy or 0.0)
    yield (
        f"{released.name} is {FASTER} × as fast as int8 alone: {released.speed.estimate:.2f}",
        (released.speed.estimate >= FASTER),
    )
    yield f"it loses a point at most against the control: {100 * lost:.2f}", lost <= POINT
    minutes = released.cpu_seconds / 60
    yield f"its training takes {MINUTES:g} minutes of CPU time at most: {minutes:.1f}", 0 < minutes <= MINUTES


def main() -> int:
    """Run the recipe, write what came of it, and hold it against the promises."""
    parser = argparse.ArgumentParser(description="reduction of a residual network", epilog=__doc__)
    parser.add_argument("--epochs", type=int, default=3, help="epochs of recovery and of the control")
    parser.add_argument("--copies", type=int, default=3, help="changed copies of each training image")
    parser.add_argument("--precision", default="bf16", help="of the training: bf16, or fp32 where that is emulated")
    parser.add_argument("--seed", type=int, default=42, help="of the split, the order of rows and everything else")
    parser.add_argument("--home", type=Path, help="where results are kept, to go on from; default: nowhere")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of results.md")
    options = parser.parse_args()
    if "TITRANT_DATA" not in os.environ:
        sys.exit("set TITRANT_DATA to the folder of real data and models")
    import titrant

    with tempfile.TemporaryDirectory() as work:
        home = (options.home or Path(work) / "home").absolute()
        os.environ["TITRANT_HOME"] = str(home)
        recipe = laid_out(Path(work) / "recipe", Path(os.environ["TITRANT_DATA"]), options)
        home.mkdir(parents=True, exist_ok=True)
        listener = Heard(home.with_name(f"{home.name}-cpu-seconds.json"))
        record = titrant.run(titrant.plan(titrant.read(recipe), trust=True), listen=listener)
        measured = list(rows(home, record, listener.cpu_seconds))
    kept = list(promises(measured))
    said = "\n".join(f"- {'kept' if holds else 'MISSED'}: {text}" for text, holds in kept)
    text = f"{table(measured)}\n\n{said}\n"
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.md").write_text(text, "utf-8")
    return 0 if all(holds for _, holds in kept) else 1


if __name__ == "__main__":
    sys.exit(main())
