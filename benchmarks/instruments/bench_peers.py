"""Hold `titrant.measure` against torch.utils.benchmark and a plain onnxruntime loop: the same work, in turns, one run.

Run: python benchmarks/instruments/bench_peers.py [ROUNDS]. One thread; CPU time of the process, since a shared machine
says little by the wall clock. Each round every tool times the same model on the same inputs, in an order drawn anew.
What is compared are medians of single runs, tool against tool within a round.
"""

import inspect
import io
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np

RUNS = 200
# What each gives of one model without code of one's own.
GIVES = {
    "percentiles with intervals": ("titrant",),
    "median and spread": ("titrant", "torch.utils.benchmark"),
    "wall and CPU time of the same runs": ("titrant",),
    "several models in turns, ratio run for run": ("titrant",),
    "peak memory, size, digest of the file": ("titrant",),
    "torch, ONNX, OpenVINO and functions alike": ("titrant",),
    "inputs drawn from a shape": ("titrant",),
    "evaluation mode, and back": ("titrant",),
    "says when the machine was busy": ("titrant", "torch.utils.benchmark"),
    "sets the number of threads": ("titrant", "torch.utils.benchmark"),
    "table, page and picture": ("titrant",),
    "instruction counts (Callgrind)": ("torch.utils.benchmark",),
    "picks the number of runs by itself": ("torch.utils.benchmark",),
    "timing of a statement given as text": ("torch.utils.benchmark",),
}
TOOLS = ("titrant", "torch.utils.benchmark", "a plain loop")


def networks():
    """Return networks and a batch for each: a few microseconds, tenths of a millisecond, milliseconds."""
    import torch

    torch.manual_seed(0)
    convolutions = torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(32, 64, 3, stride=2), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(64, 10),
    )  # fmt: skip
    dense = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))
    layer = torch.nn.TransformerEncoderLayer(128, 4, 256, batch_first=True)
    encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return {
        "dense, batch 1": (dense.eval(), torch.randn(1, 64)),
        "convolutions, batch 4": (convolutions.eval(), torch.randn(4, 3, 32, 32)),
        "encoder, batch 8": (encoder.eval(), torch.randn(8, 32, 128)),
    }


def torch_by_titrant(module, batch):
    import titrant

    return titrant.measure(module, batch, iterations=RUNS).times[0].cpu_p50.estimate


def torch_by_benchmark(module, batch):
    import torch
    from torch.utils.benchmark import Timer

    code, names = "with torch.no_grad(): module(batch)", {"torch": torch, "module": module, "batch": batch}
    timer = Timer(code, globals=names, num_threads=1, timer=time.process_time)
    timer.timeit(10)
    return statistics.median(timer._timer.timeit(1) for _ in range(RUNS))


def onnx_by_titrant(file, batch):
    import titrant

    return titrant.measure(file, batch, iterations=RUNS).times[0].cpu_p50.estimate


def onnx_by_loop(file, batch):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: batch}
    for _ in range(10):
        session.run(None, feed)
    taken = []
    for _ in range(RUNS):
        begun = time.process_time()
        session.run(None, feed)
        taken.append(time.process_time() - begun)
    return float(np.median(taken))


def exported(module, batch):
    import torch

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (batch,), file, dynamo=False)
    return file.getvalue()


def in_turns(tools: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Return what each tool says in every round."""
    said: dict[str, list[float]] = {name: [] for name in tools}
    chance = random.Random(0)
    for _ in range(rounds):
        for name in chance.sample(list(tools), len(tools)):
            said[name].append(tools[name]())
    return said


def compared(said: dict[str, list[float]]) -> str:
    (mine, ours), (theirs, peers) = said.items()
    ratios = sorted(own / other for own, other in zip(ours, peers, strict=True))
    spread = [f"{min(each) * 1e6:.1f}–{max(each) * 1e6:.1f}" for each in (ours, peers)]
    medians = [f"{statistics.median(each) * 1e6:.1f}" for each in (ours, peers)]
    return (
        f"| {mine} {medians[0]} µs ({spread[0]}) | {theirs} {medians[1]} µs ({spread[1]}) | "
        f"{statistics.median(ratios):.3f} ({ratios[0]:.3f}–{ratios[-1]:.3f}) |"
    )


def lines_of(function) -> int:
    """Count the lines of a function's body that are code."""
    return len([line for line in inspect.getsource(function).splitlines()[1:] if line.strip()])


def main(rounds: int) -> None:
    import torch

    torch.set_num_threads(1)
    print(f"{rounds} rounds of {RUNS} runs, one thread, CPU time; medians of the rounds, and their range\n")
    for name, (module, batch) in networks().items():
        file, array = exported(module, batch), batch.numpy()
        pairs = [
            {"titrant": partial(torch_by_titrant, module, batch),
             "torch.utils.benchmark": partial(torch_by_benchmark, module, batch)},
            {"titrant": partial(onnx_by_titrant, file, array), "a plain loop": partial(onnx_by_loop, file, array)},
        ]  # fmt: skip
        for what, pair in zip(("torch", "ONNX"), pairs, strict=True):
            print(f"| {name}, {what} {compared(in_turns(pair, rounds))}", flush=True)
    print("\nlines of code for one median:")
    for function in (torch_by_titrant, torch_by_benchmark, onnx_by_titrant, onnx_by_loop):
        print(f"  {function.__name__}: {lines_of(function)}")
    print("\n| what | " + " | ".join(TOOLS) + " |")
    print("|---|" + "---|" * len(TOOLS))
    for what, tools in GIVES.items():
        print(f"| {what} | " + " | ".join("yes" if tool in tools else "–" for tool in TOOLS) + " |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
