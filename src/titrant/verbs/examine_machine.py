"""What this environment has and lacks, whatever the recipe."""

import os
import re
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from titrant.schema.distributions import distribution
from titrant.schema.facts import Hardware
from titrant.schema.os_reason import os_reason
from titrant.schema.units import format_size
from titrant.verbs.engines import Engine
from titrant.verbs.finding import Finding, State

# Below the first a worker with torch and a small model does not get far; above the second few recipes are short.
MEMORY_LEAST, MEMORY_PLENTY = 1 << 30, 4 << 30
DISK_LEAST, DISK_PLENTY = 1 << 30, 10 << 30


def examine_machine(hardware: Hardware, engines: tuple[Engine, ...], home: Path) -> Iterator[Finding]:
    """Yield what was looked at: home, disk, memory, packages, engines, accelerators, measurements, trackers."""
    yield _home(home)
    yield _room("disk", hardware.volatile.disk_free_bytes, (DISK_LEAST, DISK_PLENTY), "free where the store lives",
                "set TITRANT_HOME to a folder on a larger disk")  # fmt: skip
    yield _room("memory", hardware.volatile.memory_available_bytes, (MEMORY_LEAST, MEMORY_PLENTY), "available",
                "end other programs, or use a machine with more memory")  # fmt: skip
    yield _packages()
    yield from (_engine(engine) for engine in engines)
    yield from _uninstalled(hardware)
    yield from _accelerators(hardware, engines)
    yield _measured(hardware)
    yield from wandb_login(needed=False)


def _home(home: Path) -> Finding:
    where = home.absolute()
    existing = next((folder for folder in (where, *where.parents) if folder.exists()), where)
    remedy = "export TITRANT_HOME=/a/folder/that/you/can/write"
    if not existing.is_dir():
        return Finding("home", "lack", f"{existing} is in the way: it is not a folder", remedy)
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Finding("home", "lack", f"cannot write in {existing}: {os_reason(error)}", remedy)
    made = "" if existing == where else " (made at the first run)"
    return Finding("home", "ok", f"{where}{made}")


def _room(subject: str, free: int | None, limits: tuple[int, int], what: str, remedy: str) -> Finding:
    least, plenty = limits
    if free is None:
        return Finding(subject, "note", f"it is not known how much is {what}")
    text = f"{format_size(free)} {what}"
    if free < least:
        return Finding(subject, "lack", f"{text}, and work needs at least {format_size(least)}", remedy)
    if free < plenty:
        return Finding(subject, "note", f"{text}: enough for small models only", remedy)
    return Finding(subject, "ok", f"{text} (at least {format_size(least)} are needed)")


def _packages() -> Finding:
    """Look for every package that titrant itself needs."""
    needed = [line for line in metadata.requires("titrant") or () if "extra ==" not in line]
    names = [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in needed]
    missing = [name for name in names if not _is_installed(name)]
    if missing:
        one = len(missing) == 1
        return Finding(
            "packages", "lack", f"{', '.join(missing)} {'is' if one else 'are'} missing", install(" ".join(missing))
        )
    return Finding("packages", "ok", f"all {len(names)} that titrant needs are installed")


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def install(names: str) -> str:
    """Return the command that installs packages."""
    return f"pip install {names}"


def _engine(engine: Engine) -> Finding:
    if not engine.problem:
        details = ", ".join(f"{name}: {text}" for name, text in engine.details.items())
        return Finding(engine.name, "ok", f"{engine.version} loads" + (f" ({details})" if details else ""))
    state: State = "lack" if engine.name in ("torch", "onnx", "onnxruntime") else "note"
    remedy = f"pip install --force-reinstall {engine.name}=={engine.version.partition('+')[0]}"
    return Finding(engine.name, state, f"{engine.version} does not load: {engine.problem}", remedy)


def _uninstalled(hardware: Hardware) -> Iterator[Finding]:
    """Name engines of methods in the catalog that are not installed."""
    from titrant.compiler.rules.methods import methods
    from titrant.runtime import catalog

    unlocked: dict[str, list[str]] = {}
    for name in methods():
        declaration = catalog.get(catalog.method_operator(name))
        engine = () if declaration.method is None else (declaration.method.engine,)
        for package in {*declaration.libraries, *engine}:
            if distribution(hardware.identity.packages, package) is None and not _is_installed(package):
                unlocked.setdefault(package, []).append(name)
    for package, names in sorted(unlocked.items()):
        yield Finding(package, "note", f"not installed; it would allow {', '.join(names)}", install(extra(package)))


def extra(package: str) -> str:
    """Return what pip is to install: titrant's own extra where it has one of that name."""
    extras = metadata.metadata("titrant").get_all("Provides-Extra") or ()
    return f"'titrant[{package}]'" if package in extras else package


def _accelerators(hardware: Hardware, engines: tuple[Engine, ...]) -> Iterator[Finding]:
    identity = hardware.identity
    torch = next((engine for engine in engines if engine.name == "torch"), None)
    works = {} if torch is None else torch.details
    if not identity.gpus:
        yield Finding("accelerator", "ok", "none found: work runs on the CPU")
    for gpu in identity.gpus:
        subject = f"{gpu.kind}:{gpu.index}"
        question = "MPS works" if gpu.kind == "mps" else "CUDA works"
        if works.get(question) == "yes":
            yield Finding(subject, "ok", f"{gpu.name}: torch can use it")
        elif gpu.kind == "cuda" and "CUDA build" not in works:
            found = f"{gpu.name}: the installed torch is built without CUDA, so work runs on the CPU"
            yield Finding(subject, "note", found, "pip install --force-reinstall torch")
        else:
            found = f"{gpu.name}: torch cannot use it, so work runs on the CPU"
            yield Finding(subject, "note", found, "nvidia-smi" if gpu.kind == "cuda" else "update macOS and torch")
        if gpu.kind == "cuda" and gpu.index == 0 and "onnxruntime-gpu" not in identity.packages:
            yield Finding(
                "onnxruntime-gpu", "note", "not installed: onnxruntime runs on the CPU only",
                "pip uninstall onnxruntime && pip install onnxruntime-gpu",
            )  # fmt: skip


def _measured(hardware: Hardware) -> Finding:
    if hardware.bench is None or not hardware.bench.measured:
        found = "this machine has not been measured: predicted times are guesses"
        return Finding("bench", "note", found, "titrant hardware --bench")
    return Finding("bench", "ok", "this machine has been measured")


def wandb_login(needed: bool) -> Iterator[Finding]:
    """Say whether Weights & Biases would take a run from here; only that a login is there is looked at."""
    if not _is_installed("wandb"):
        if needed:
            yield Finding("wandb", "lack", "the recipe tracks with it, and it is not installed", install("wandb"))
        return
    if os.environ.get("WANDB_API_KEY") or _in_netrc("api.wandb.ai"):
        yield Finding("wandb", "ok", "logged in")
    elif needed:
        yield Finding("wandb", "lack", "the recipe tracks online, and nobody is logged in", "wandb login")
    else:
        yield Finding("wandb", "ok", "not logged in: runs are tracked offline only (log in with: wandb login)")


def _in_netrc(host: str) -> bool:
    import netrc

    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
