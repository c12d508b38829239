"""What checkpoints cost a training, how fast a folder of thousands is searched, and whether kills leave a trace.

    python benchmarks/training/checkpoints.py [--kills 100] [--runs 0] [--files 5000]

Cost: how long the loop waits for a checkpoint after 100 steps, and the CPU time of the thread that writes it, which is
what the loop loses where both share one core. Both are told in steps, a hundredth of which is the share of a step on
average: whole epochs differ by more than this on a busy machine. The budget is 5 %. Kills: a process that trains is
ended by SIGKILL at a random moment and started again, until it has been killed so often; its weights must be those of
a process that was left alone. `--runs` does so with `titrant run`, which takes seconds each time.
"""

import argparse
import hashlib
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch  # noqa: TID253 - its very subject

from titrant import checkpoints
from titrant.runtime.training.epoch_checkpoints import CheckpointPlan, EpochCheckpoints
from titrant.runtime.training.loop import train
from titrant.runtime.training.task import TrainingSettings, TrainingTask

STEPS = 100
BUDGET = 0.05


def conv_net():
    layers = []
    for before, after in ((3, 32), (32, 64), (64, 64)):
        layers += [torch.nn.Conv2d(before, after, 3, padding=1), torch.nn.BatchNorm2d(after), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(64, 10))


def dense_net():
    return torch.nn.Sequential(torch.nn.Linear(784, 1024), torch.nn.ReLU(), torch.nn.Linear(1024, 1024),
                               torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(1024, 10))  # fmt: skip


NETS = {"convolutions": (conv_net, (3, 16, 16)), "dense, 1.9 M": (dense_net, (784,))}


def make_task(build, shape, epochs, *, rows=32, steps=STEPS):
    torch.manual_seed(0)
    net, data = build(), torch.randn(rows * steps, *shape)
    labels = torch.randint(10, (rows * steps,))
    generator = np.random.default_rng(0)
    return TrainingTask(
        module=net,
        train=lambda: (
            (data[part], labels[part]) for part in torch.from_numpy(generator.permutation(len(data))).split(rows)
        ),
        tuning=lambda: [(data[:64], labels[:64])],
        objective=lambda output, labels, _: torch.nn.functional.cross_entropy(output, labels),
        settings=TrainingSettings(epochs=epochs, learning_rate=1e-4),
        generator=generator,
        call=lambda net, inputs: net(inputs),
        right=lambda output, labels: int((output.argmax(1) == labels).sum()),
        progress=lambda *_: None,
        batches=steps,
    )


class Timed(EpochCheckpoints):
    """Notes how long the loop waits for it, and the CPU time of the thread that writes."""

    def __init__(self, plan):
        super().__init__(plan, print)
        self.waited, self.wrote, self.steps = [], [], []

    def after_step(self, state):  # noqa: ARG002, D102
        self.steps.append(time.perf_counter())

    def after_epoch(self, state):  # noqa: D102
        began = time.perf_counter()
        super().after_epoch(state)
        self.waited.append(time.perf_counter() - began)

    def _write(self, *given):
        began = time.thread_time()
        super()._write(*given)
        self.wrote.append(time.thread_time() - began)


def cost(name, epochs=6):
    """Print what a checkpoint costs a training; return whether it keeps within the budget."""
    build, shape = NETS[name]
    with tempfile.TemporaryDirectory() as folder:
        saving = Timed(CheckpointPlan(Path(folder), resume=False))
        train(make_task(build, shape, epochs), [saving])
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    step = statistics.median(after - before for before, after in pairwise(saving.steps))
    waits, writes = (statistics.median(times) / step / STEPS for times in (saving.waited, saving.wrote))
    print(
        f"{name}: {size / 1e6:.1f} MB, a step takes {step * 1e3:.1f} ms; with a checkpoint every {STEPS} steps the loop"
    )
    print(f"  waits {waits:.2%} of a step on average; where the writing thread shares its core, {waits + writes:.2%}")
    return waits + writes <= BUDGET


def search(count):
    """Print how long it takes to find the latest and the best of many; return whether each takes under a second."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        net = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(40)))
        optimizer = torch.optim.AdamW(net.parameters())
        net(torch.zeros(1, 4)).sum().backward()
        optimizer.step()
        content = checkpoints.save(folder, {"model": net, "optimizer": optimizer}, step=0, metrics={"loss": 0.5})
        content = content.read_bytes()
        for step in range(count):
            (folder / f"checkpoint-{step:010d}.safetensors").write_bytes(content)
        times = []
        for find in (checkpoints.latest, lambda path: checkpoints.best(path, "loss")):
            for _ in range(2):
                began = time.process_time()
                find(folder)
                times.append(time.process_time() - began)
    print(f"{count:,} files of {len(content):,} bytes: latest {times[0]:.3f} s, again {times[1]:.3f} s; "
          f"best {times[2]:.3f} s, again {times[3]:.3f} s (CPU)")  # fmt: skip
    return max(times) < 1


def small_task():
    return make_task(
        lambda: torch.nn.Sequential(
            torch.nn.Linear(8, 64), torch.nn.BatchNorm1d(64), torch.nn.Dropout(0.2), torch.nn.Linear(64, 10)
        ),
        (8,), 25, rows=8, steps=5,
    )  # fmt: skip


def digest(task):
    state = task.module.state_dict()
    return hashlib.sha256(b"".join(state[name].numpy().tobytes() for name in sorted(state))).hexdigest()


def kills(count):
    """Kill a training so often, and print whether it ends with the weights of one that was left alone."""
    with tempfile.TemporaryDirectory() as name:  # what is imported late is imported before the first fork
        train(small_task(), [EpochCheckpoints(CheckpointPlan(Path(name)), print)])
        checkpoints.load(name, {})
    alone = small_task()
    train(alone)
    chance, done, rounds, landed, epochs = random.Random(0), 0, 0, [], []
    while done < count:
        rounds += 1
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            while True:
                child = os.fork()
                if child == 0:
                    task = small_task()
                    train(task, [EpochCheckpoints(CheckpointPlan(folder / "saved"), lambda _: None)])
                    (folder / "digest").write_text(digest(task), "utf-8")
                    os._exit(0)
                time.sleep(chance.uniform(0, 0.5))
                if os.waitpid(child, os.WNOHANG)[0] == 0 and done < count:
                    os.kill(child, signal.SIGKILL)
                    done += 1
                    os.waitpid(child, 0)
                    newest = checkpoints.latest(folder / "saved")
                    epochs.append(0 if newest is None else int(newest.stem.rpartition("-")[2]))
                    continue
                if not (folder / "digest").exists():
                    os.waitpid(child, 0)
                break
            landed.append((folder / "digest").read_text("utf-8") == digest(alone))
    places = len(set(epochs))
    print(f"{done} kills of {rounds} trainings, after {places} different epochs: {sum(landed)} end bit-identical")
    return all(landed)


RECIPE = """\
titrant: 1
name: killed
task: binary_classification
model: {factory: "titrant.recipes.models:TabularNet", args: {features: 30, classes: 2}}
data: {source: {sklearn: breast_cancer}, label: target, positive: malignant, transform: [standardize]}
train: {epochs: 400, batch_size: 4, early_stop: none, checkpoints: {keep_best: 1}}
quantization: {method: none}
export: [{format: onnx}]
"""


def runs(count):
    """Kill `titrant run` so often; return whether the released file is that of a run that was left alone."""
    chance, results, resumed = random.Random(0), [], 0
    with tempfile.TemporaryDirectory() as name:
        recipe = Path(name) / "killed.yaml"
        recipe.write_text(RECIPE, "utf-8")
        command = [sys.executable, "-m", "titrant", "run", str(recipe)]
        for home, killed in (("alone", 0), ("killed", count)):
            environment = {**os.environ, "TITRANT_HOME": str(Path(name) / home)}
            done = 0
            while True:
                process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                saved = Path(name) / home / "training"
                while done < killed and process.poll() is None and not any(saved.glob("*/checkpoint-*")):
                    time.sleep(0.01)
                if done < killed:
                    time.sleep(chance.uniform(0, 1.0))
                if done < killed and process.poll() is None:
                    process.kill()
                    done += 1
                    process.communicate()
                    continue
                resumed += b"goes on after epoch" in process.communicate()[1]
                break
            files = sorted((Path(name) / home / "runs").glob("*/outputs/model.onnx"))
            results.append(hashlib.sha256(files[-1].read_bytes()).hexdigest())
            print(f"titrant run, {done} kills: {results[-1][:12]}")
    print("bit-identical" if results[0] == results[1] else "DIFFERENT", f"({resumed} told that they went on)")
    return results[0] == results[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--files", type=int, default=5000)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    kept = [cost(name) for name in NETS]
    kept.append(search(asked.files))
    kept.append(kills(asked.kills))
    if asked.runs:
        kept.append(runs(asked.runs))
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
