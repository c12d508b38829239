"""Measure this machine in child processes, and keep the figures for predictions."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from titrant.schema.diagnostics import Diagnostic, StepError
from titrant.schema.facts import Bench

_MAIN = "titrant.runtime.instruments.machine_bench"
# Starting a worker is timed this often beside the child that measures, and no more once this many seconds have passed.
_STARTS = 2
_STARTS_SECONDS = 6.0
_PATIENCE_SECONDS = 120.0


def measure_machine(starts: int = _STARTS) -> Bench:
    """Measure arithmetic, memory, disk and the start of a worker, one thread each, and keep the figures in the home.

    Accelerators that torch can use are measured beside them. Takes some 10 to 20 s on a quiet machine. `starts` is how
    often starting a worker is timed apart from the child that measures; the median counts. `titrant.detect` gives the
    figures from then on, until the machine, torch or onnxruntime changes. Raises StepError P016 when the child fails.
    """
    from titrant.compiler.bench_file import read_figures, write_bench
    from titrant.compiler.hardware import detect_identity
    from titrant.compiler.limits import memory_available
    from titrant.runtime.execution.home import open_home, sweep, unfinished_folder

    home = open_home()
    sweep(home)
    available = memory_available()
    folder = unfinished_folder(home, "bench")
    try:
        free = "-" if available is None else str(available)
        begun: list[float] = []
        while len(begun) < starts and sum(begun) < _STARTS_SECONDS:
            begun.append(_child("start", folder, free)[0])
        seconds, figures = _child("bench", folder, free)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    bench = read_figures({**figures, "import_seconds": statistics.median([*begun, seconds])})
    write_bench(home.path, detect_identity(), bench)
    return bench


def _child(what: str, folder: Path, available: str) -> tuple[float, dict[str, Any]]:
    """Return the seconds until the child had started, and the figures where it measures."""
    from titrant.runtime.execution.home import Home
    from titrant.runtime.execution.worker import environment

    with tempfile.TemporaryFile("w+", dir=folder) as printed:
        start = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", _MAIN, what, str(folder), available],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=printed,
            text=True,
            env=os.environ | environment(Home(folder), folder, threads=1, seed=0),
        )
        assert child.stdout is not None
        try:
            started = child.stdout.readline()
            seconds = time.perf_counter() - start
            out, _ = child.communicate(timeout=_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            raise StepError(_failed(f"it took longer than {_PATIENCE_SECONDS:g} s")) from None
        finally:
            child.kill()
        if child.returncode != 0 or not started:
            printed.seek(0)
            raise StepError(_failed(printed.read().strip().rpartition("\n")[2] or f"exit code {child.returncode}"))
        return seconds, json.loads(out) if what == "bench" else {}


def _failed(reason: str) -> Diagnostic:
    return Diagnostic(
        "P016", f"this machine could not be measured: {reason}", help="see what is missing with: titrant doctor"
    )
