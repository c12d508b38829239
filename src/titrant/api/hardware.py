"""A machine's facts: describe this machine or another, save and load a description, measure it, follow it.

Measurements run in child processes, and their figures are kept for predictions.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.api.planned import write_file
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.facts import Bench, Hardware, HardwareVolatile
from titrant.schema.values.canonical import plain
from titrant.schema.values.files import YAML_SUFFIXES
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import os_reason

if TYPE_CHECKING:
    from titrant.runtime.instruments.hardware.accelerators import Accelerator

_SAID = {"missing": "is missing", "extra_forbidden": "is not a key of a machine's description"}
_SAVE = "write one on that machine with: titrant hardware --save FILE"
_OF_SAVED = "identity"  # which no description by hand has
_MAIN = "titrant.runtime.machine.bench"
# Starting a worker is timed this often beside the child that measures, and no more once this many seconds have passed.
_STARTS = 2
_STARTS_SECONDS = 6.0
_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Sample:
    """What was seen `seconds` after the watch began; `cores` is how busy each core of the machine was since, 0..1.

    `accelerators` are all that answer, of any vendor, also those that are hidden from CUDA; both None where one no
    longer does.
    """

    seconds: float
    cores: tuple[float, ...]
    volatile: HardwareVolatile
    accelerators: "tuple[AcceleratorSample, ...]" = ()


@dataclass(frozen=True)
class AcceleratorSample:
    """What one accelerator does: the share of the time that it worked, 0..1, and its memory in bytes; None: unknown."""

    name: str
    utilization: float | None
    memory_bytes: int | None
    total_bytes: int | None


def save_hardware(hardware: Hardware, file: Path) -> None:
    """Write a machine's facts for `titrant plan --hardware FILE`, as YAML where the file's name says so, else as JSON.

    Raises RecipeError P003 where it cannot be written.
    """
    from titrant.schema.language.write import dump

    value = plain(hardware)
    in_yaml = file.suffix.lower() in YAML_SUFFIXES
    write_file(file, dump(value) if in_yaml else json.dumps(value, indent=1, sort_keys=True) + "\n")


def find_hardware(named: str) -> Hardware:
    """Return the machine that a name or path stands for: a shipped profile, or a saved file (.json, .yaml).

    Its source is the profile's or the file's name, so that a plan says that it is planned elsewhere. RecipeError P002
    for what is neither; for a misspelled profile it names the nearest.
    """
    from titrant.compiler.machine.profile import profiles, shipped_profile

    if named in profiles():
        return shipped_profile(named).hardware
    file = Path(named)
    if not file.exists() and file.parent == Path() and file.suffix.lower() not in (".json", *YAML_SUFFIXES):
        raise RecipeError(Diagnostic("P002", f"there is no profile '{named}'", help=_nearest(named, profiles())))
    return load_hardware(file)


def load_hardware(file: Path) -> Hardware:
    """Read a saved machine, or one described by hand as the shipped profiles are (in YAML)."""
    from titrant.compiler.machine.profile import read_profile, yaml_value

    try:
        text = file.read_text("utf-8")
        in_yaml = file.suffix.lower() in YAML_SUFFIXES
        value = yaml_value(text) if in_yaml else json.loads(text)
        if in_yaml and not (isinstance(value, dict) and _OF_SAVED in value):
            return read_profile(text, file.name).hardware
        return _saved(value, file.name)
    except FileNotFoundError:
        problem = f"there is no file {file}"
    except OSError as error:
        problem = f"{file} cannot be read: {os_reason(error)}"
    except (ValueError, TypeError, RecursionError) as error:
        problem = f"{file} does not describe a machine ({_reason(error)})"
    raise RecipeError(Diagnostic("P002", problem, help=_SAVE))


def _saved(value: Any, name: str) -> Hardware:
    from pydantic import TypeAdapter

    return TypeAdapter(Hardware).validate_python({**value, "source": name})


def _reason(error: Exception) -> str:
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] in _SAID:
            return f"{place} {_SAID[first['type']]}"
        return f"{place}: {first['msg'].removeprefix('Value error, ')}" if place else first["msg"]
    return str(error).splitlines()[0]


def _nearest(named: str, names: tuple[str, ...]) -> str:
    from titrant.schema.language.nearest import nearest

    near = nearest(named, names, 0.6)
    listed = f"the shipped profiles are: {', '.join(names)}"
    return f"did you mean '{near}'? {listed}" if near else f"{listed}; or {_SAVE}"


def measure_machine(starts: int = _STARTS) -> Bench:
    """Measure arithmetic, memory, disk and the start of a worker, one thread each, and keep the figures in the home.

    Accelerators that torch can use are measured beside them. Takes some 10 to 20 s on a quiet machine. `starts` is how
    often starting a worker is timed apart from the child that measures; the median counts. `titrant.detect` gives the
    figures from then on, until the machine, torch or onnxruntime changes. Raises StepError P016 when the child fails.
    """
    from titrant.compiler.machine.detect import detect_identity
    from titrant.compiler.machine.limits import memory_available
    from titrant.compiler.machine.speeds import read_figures, write_bench
    from titrant.runtime.store.home import open_home
    from titrant.runtime.store.locks import sweep, unfinished_folder

    home = open_home()
    sweep(home)
    available = memory_available()
    with unfinished_folder(home, "bench") as folder:
        free = "-" if available is None else str(available)
        begun: list[float] = []
        while len(begun) < starts and sum(begun) < _STARTS_SECONDS:
            begun.append(_child("start", folder, free)[0])
        seconds, figures = _child("bench", folder, free)
    bench = read_figures({**figures, "import_seconds": statistics.median([*begun, seconds])})
    write_bench(home.path, detect_identity(), bench)
    return bench


def _child(what: str, folder: Path, available: str) -> tuple[float, dict[str, Any]]:
    """Return the seconds until the child had started, and the figures where it measures."""
    import subprocess

    from titrant.runtime.store.home import Home
    from titrant.runtime.worker.parent import environment

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


def watch_machine(home: Path, seconds: float = float("inf"), every: float = 1.0) -> Iterator[Sample]:
    """Yield a sample `every` so many seconds, for `seconds`; the first comes after the first interval."""
    import psutil

    from titrant.compiler.machine.detect import detect_volatile
    from titrant.runtime.instruments.hardware.accelerators import accelerators

    devices = accelerators()
    start = time.monotonic()
    psutil.cpu_percent(percpu=True)  # what is counted from
    count = 0
    while count == 0 or (count + 1) * every <= seconds + every / 2:
        count += 1
        time.sleep(max(0.0, start + count * every - time.monotonic()))
        busy = tuple(percent / 100 for percent in psutil.cpu_percent(percpu=True))
        uses = tuple(map(_accelerator, devices))
        yield Sample(round(time.monotonic() - start, 1), busy, detect_volatile(home), uses)


def _accelerator(device: "Accelerator") -> AcceleratorSample:
    from titrant.runtime.instruments.hardware.accelerators import AcceleratorGoneError, AcceleratorUse

    try:
        use = device.read()
    except AcceleratorGoneError:
        use = AcceleratorUse()
    return AcceleratorSample(device.name, use.utilization, use.memory_bytes, device.total_bytes)
