"""What this environment has and lacks, whatever the recipe.

Whether each installed engine really loads is tried in a child process; the answer is kept for its version.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from titrant.runtime.backends.backend import Backend, GpuNote, all_backends, distribution, get
from titrant.schema.facts import Gpu, Hardware, HardwareIdentity
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import os_reason
from titrant.schema.values.units import format_size

# Distributions beside the engines' own that bring native code, and the module that loads it.
LIBRARIES: Mapping[str, str] = {
    "onnx": "onnx",
    "torchao": "torchao.quantization",
    "bitsandbytes": "bitsandbytes",
    "transformers": "transformers",
    "tensorrt": "tensorrt",
    "mlx": "mlx.core",
}
# Below the first a worker with torch and a small model does not get far; above the second few recipes are short.
MEMORY_LEAST, MEMORY_PLENTY = 1 << 30, 4 << 30
DISK_LEAST, DISK_PLENTY = 1 << 30, 10 << 30
# What spinning disks reach; below it steps wait for their results to be written.
_DISK_BYTES_PER_SECOND = 80e6
_MAIN = "titrant.runtime.machine.engines"
_PATIENCE_SECONDS = 120.0

State = Literal["ok", "note", "lack"]


@dataclass(frozen=True)
class DoctorRow:
    """One thing that was looked at: ok, a note (worth knowing), or a lack (work cannot be done).

    `remedy` is the command, or the step, that would change it; "" where nothing needs to.
    """

    subject: str
    state: State
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class SuitabilityRow:
    """Whether a level or method suits this machine, and why."""

    name: str
    suits: bool
    because: str


@dataclass(frozen=True)
class Engine:
    """An installed engine: `problem` says why it does not load, or is ""; `details` is what it says of itself."""

    name: str
    version: str
    problem: str = ""
    seconds: float = 0.0  # that loading took when it was tried
    details: Mapping[str, str] = field(default_factory=dict)


def engines(identity: HardwareIdentity, home: Path) -> tuple[Engine, ...]:
    """Return every installed engine of a machine, loaded once for each set of versions and drivers.

    `identity` must be this machine's. The first call takes as long as loading them all does, mostly 3 to 20 s.
    """
    from titrant.schema.values.canonical import plain, sha256
    from titrant.schema.values.files import remember, remembered

    modules = native_modules()
    versions = {name: version for name, version in identity.packages.items() if name in modules}
    drivers = sorted({gpu.driver or "" for gpu in identity.gpus})
    asked = {"engines": versions, "python": identity.python, "prefix": sys.prefix, "drivers": drivers}
    place = home / "facts" / f"engines-{sha256(asked)[:16]}.json"
    kept = _read(remembered(place))
    if kept is None:
        tried = dict(_tried(list(dict.fromkeys(modules[name] for name in modules if name in versions))))
        kept = tuple(
            Engine(name, version, answer["problem"], answer["seconds"], answer["details"])
            for name, version in versions.items()
            for answer in (tried[modules[name]],)
        )
        # What did not load is tried again: its cause may be mended without another version.
        if not any(engine.problem for engine in kept):
            remember(place, {"engines": plain(kept)})
    return kept


def native_modules() -> dict[str, str]:
    """Return every distribution with native code that titrant can use, and the module that loads it."""
    brought = {
        name: module for engine in all_backends() for name, module in {**engine.tools, **engine.packages}.items()
    }
    return {**LIBRARIES, **brought}


def _read(kept: Mapping[str, Any]) -> tuple[Engine, ...] | None:
    from titrant.schema.values.canonical import WrongValueError, read_back

    try:
        return read_back(tuple[Engine, ...], kept.get("engines"))
    except WrongValueError:
        return None


def _tried(modules: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each module and what was found; one that ends the child is named, and the rest get another child."""
    waiting = list(modules)
    while waiting:
        answered, problem = _child(waiting)
        yield from answered.items()
        waiting = [module for module in waiting if module not in answered]
        if waiting:
            yield waiting.pop(0), {"problem": problem, "seconds": 0.0, "details": {}}


def _child(modules: Sequence[str]) -> tuple[dict[str, Mapping[str, Any]], str]:
    """Return what the child said of each module, and how it ended."""
    command = [sys.executable, "-P", "-m", _MAIN, *modules]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
        said, problem = done.stdout, f"loading it ends the process (code {done.returncode})"
    except subprocess.TimeoutExpired as error:
        said, problem = error.stdout or b"", f"it did not load within {_PATIENCE_SECONDS:g} s"
    answers = [json.loads(line) for line in said.split(b"\n")[:-1]]
    return {answer["module"]: answer for answer in answers if "module" in answer}, problem


def examine_machine(hardware: Hardware, engines: tuple[Engine, ...], home: Path) -> Iterator[DoctorRow]:
    """Yield what was looked at: home, disk, memory, packages, engines, accelerators, measurements."""
    yield _home(home)
    now = hardware.volatile
    yield _capacity_row("disk", now.disk_free_bytes, (DISK_LEAST, DISK_PLENTY), "free where the store lives",
                        "set TITRANT_HOME to a folder on a larger disk")  # fmt: skip
    yield _capacity_row("memory", now.memory_available_bytes, (MEMORY_LEAST, MEMORY_PLENTY), "available",
                        "end other programs, or use a machine with more memory")  # fmt: skip
    yield _packages()
    yield from (_engine(engine) for engine in engines)
    yield from _uninstalled(hardware)
    yield from _accelerators(hardware, engines)
    yield _measured(hardware)
    yield from _disk_speed(hardware)


def _home(home: Path) -> DoctorRow:
    where = home.absolute()
    existing = next((folder for folder in (where, *where.parents) if folder.exists()), where)
    remedy = "export TITRANT_HOME=/a/folder/that/you/can/write"
    if not existing.is_dir():
        return DoctorRow("home", "lack", f"{existing} is in the way: it is not a folder", remedy)
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return DoctorRow("home", "lack", f"cannot write in {existing}: {os_reason(error)}", remedy)
    made = "" if existing == where else " (made at the first run)"
    return DoctorRow("home", "ok", f"{where}{made}")


def _capacity_row(subject: str, free: int | None, limits: tuple[int, int], what: str, remedy: str) -> DoctorRow:
    least, plenty = limits
    if free is None:
        return DoctorRow(subject, "note", f"it is not known how much is {what}")
    text = f"{format_size(free)} {what}"
    if free < least:
        return DoctorRow(subject, "lack", f"{text}, and work needs at least {format_size(least)}", remedy)
    if free < plenty:
        return DoctorRow(subject, "note", f"{text}: enough for small models only", remedy)
    return DoctorRow(subject, "ok", f"{text} (at least {format_size(least)} are needed)")


def _packages() -> DoctorRow:
    """Look for every package that titrant itself needs."""
    names = _needed()
    missing = [name for name in names if not is_installed(name)]
    if missing:
        text = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
        return DoctorRow("packages", "lack", text, install(" ".join(missing)))
    return DoctorRow("packages", "ok", f"all {len(names)} that titrant needs are installed")


def _needed() -> list[str]:
    """Return the packages that titrant itself needs."""
    needed = [line for line in metadata.requires("titrant") or () if "extra ==" not in line]
    return [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in needed]


def is_installed(name: str) -> bool:
    """Whether a distribution is installed."""
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def install(names: str) -> str:
    """Return the command that installs packages."""
    return f"pip install {names}"


def _engine(engine: Engine) -> DoctorRow:
    if not engine.problem:
        details = ", ".join(f"{name}: {text}" for name, text in engine.details.items())
        return DoctorRow(engine.name, "ok", f"{engine.version} loads" + (f" ({details})" if details else ""))
    state: State = "lack" if engine.name in _needed() else "note"
    remedy = f"pip install --force-reinstall {engine.name}=={engine.version.partition('+')[0]}"
    return DoctorRow(engine.name, state, f"{engine.version} does not load: {engine.problem}", remedy)


def _uninstalled(hardware: Hardware) -> Iterator[DoctorRow]:
    """Name engines of methods in the catalog that are not installed."""
    from titrant.runtime import catalog

    unlocked: dict[str, list[str]] = {}
    for name in catalog.quantization_methods():
        declaration = catalog.get(catalog.method_operator(name))
        engine = () if declaration.method is None else (get(declaration.method.engine).package,)
        for package in {*declaration.libraries, *engine}:
            if distribution(hardware.identity.packages, package) is None and not is_installed(package):
                unlocked.setdefault(package, []).append(name)
    for package, names in sorted(unlocked.items()):
        yield DoctorRow(package, "note", f"not installed; it would allow {', '.join(names)}", install(extra(package)))


def extra(package: str) -> str:
    """Return what pip is to install: titrant's own extra where it has one of that name."""
    extras = metadata.metadata("titrant").get_all("Provides-Extra") or ()
    return f"'titrant[{package}]'" if package in extras else package


def _accelerators(hardware: Hardware, engines: tuple[Engine, ...]) -> Iterator[DoctorRow]:
    """Say of every accelerator what each engine makes of it."""
    identity = hardware.identity
    if not identity.gpus:
        yield DoctorRow("accelerator", "ok", "none found: work runs on the CPU")
    said = {engine.name: engine.details for engine in engines}
    for gpu in identity.gpus:
        own = f"{gpu.kind}:{gpu.index}"
        notes = [note for backend in all_backends() for note in _notes(backend, gpu, identity.packages, said)]
        for note in sorted(notes, key=lambda note: note.subject != own):
            yield DoctorRow(note.subject, "ok" if note.works else "note", note.text, note.remedy)


def _notes(
    backend: Backend, gpu: Gpu, packages: Mapping[str, str], said: Mapping[str, Mapping[str, str]]
) -> tuple[GpuNote, ...]:
    details = next((said[name] for name in backend.packages if name in said), {})
    return backend.gpu_notes(gpu, packages, details)


def _measured(hardware: Hardware) -> DoctorRow:
    if hardware.bench is None or not hardware.bench.measured:
        problem = "this machine has not been measured: predicted times are guesses"
        return DoctorRow("bench", "note", problem, "titrant hardware --bench")
    return DoctorRow("bench", "ok", "this machine has been measured")


def _disk_speed(hardware: Hardware) -> Iterator[DoctorRow]:
    """Note a disk that was measured and is slow."""
    bench = hardware.bench
    rates = (
        {}
        if bench is None
        else {"written": bench.disk_write_bytes_per_second, "read": bench.disk_read_bytes_per_second}
    )
    slow = {what: rate for what, rate in rates.items() if rate is not None and rate < _DISK_BYTES_PER_SECOND}
    if slow:
        measured = ", ".join(f"{format_size(rate)} {what} in a second" for what, rate in slow.items())
        remedy = "set TITRANT_HOME to a folder on a faster disk, and measure again: titrant hardware --bench"
        yield DoctorRow("disk speed", "note", f"{measured}: runs wait for the disk where the store lives", remedy)
