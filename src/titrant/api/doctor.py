"""Say what this environment cannot do yet, what would change it, and which levels and methods suit this machine.

Given a recipe, that covers all that it needs: its data, its code, engines, disk and memory.
"""

import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.api.doctor_machine import DoctorRow, Engine, SuitabilityRow, extra, install, is_installed
from titrant.compiler.decide.levels import LEVELS
from titrant.compiler.decide.number_format import seven_bits
from titrant.compiler.predict.memory import capacity_now, short_of
from titrant.compiler.predict.price import totals
from titrant.runtime import catalog
from titrant.runtime.backends import backend
from titrant.runtime.backends.backend import distribution
from titrant.runtime.method import Method
from titrant.runtime.operators.model.cast import computes
from titrant.runtime.trackers.tracker import TrackerError, refuse_unwritable
from titrant.runtime.trackers.wandb import WandbMode, has_login, mode_here
from titrant.schema.cost import WORKER_BYTES, Unmet
from titrant.schema.diagnostics.diagnostics import Diagnostic, InfeasibleError, StepError
from titrant.schema.facts import Hardware
from titrant.schema.plan import ASKED
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import format_size, format_time

if TYPE_CHECKING:
    from titrant.schema.language.parse import ParsedRecipe
    from titrant.schema.planned import Planned

BF16 = ("amx_bf16", "avx512_bf16", "bf16", "svebf16")
FP16 = ("avx512_fp16", "fp16")
# What a worker takes with torch loaded and nothing else, and how many copies of a model are in memory at once: the
# original, the one that is changed, and its export.
_WORKER_BYTES = 512 << 20
_COPIES = 3
# Tracker → the distribution that brings it.
_PACKAGES: Mapping[str, str] = {"wandb": "wandb", "tensorboard": "tensorboard", "mlflow": "mlflow-skinny"}
_GOES_ON = "a run goes on without it"
_PATIENCE_SECONDS = 2.0
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Checkup:
    """What was found out; `able` is False when anything lacks that the work needs."""

    able: bool
    recipe: str | None
    environment: tuple[DoctorRow, ...]
    needs: tuple[DoctorRow, ...]  # of the recipe; () without one
    capabilities: tuple[DoctorRow, ...]
    levels: tuple[SuitabilityRow, ...]
    methods: tuple[SuitabilityRow, ...]
    hardware: Hardware
    engines: tuple[Engine, ...]


def doctor(recipe: "ParsedRecipe | None" = None, *, trust: bool = False) -> Checkup:
    """Look at this environment and, given a recipe, at all that it needs; nothing is installed or changed.

    Engines are loaded in child processes (once for each set of versions), and a recipe's own code runs in one, as it
    does for a plan. Raises RecipeError when the recipe itself is wrong.
    """
    from titrant.api.doctor_machine import engines, examine_machine
    from titrant.compiler.bind.bind import bind
    from titrant.compiler.machine.detect import detect
    from titrant.schema.values.files import home_path

    if recipe is not None:
        bind(recipe, trust=trust)
    home = home_path()
    hardware = detect(home)
    broken = tuple(_broken())
    if broken:
        # What is installed is looked at by way of what packages add: first these must be mended.
        return Checkup(False, None if recipe is None else recipe.file, broken, (), (), (), (), hardware, ())
    tried = engines(hardware.identity, home)
    environment = (*examine_machine(hardware, tried, home), *trackers())
    needs: tuple[DoctorRow, ...] = ()
    if recipe is not None and not blocking_rows(environment):
        needs = tuple(examine_recipe(recipe, hardware, tried, trust=trust))
    return Checkup(
        able=not any(blocking_rows((*environment, *needs))),
        recipe=None if recipe is None else recipe.file,
        environment=environment,
        needs=needs,
        capabilities=tuple(capabilities(hardware)),
        levels=tuple(levels(hardware)),
        methods=tuple(methods(hardware)),
        hardware=hardware,
        engines=tried,
    )


def _broken() -> Iterator[DoctorRow]:
    """Yield what packages add to titrant that cannot be used."""
    for diagnostic in (*backend.broken(), *catalog.broken()):
        yield DoctorRow(diagnostic.code, "lack", diagnostic.message, diagnostic.help)


def blocking_rows(findings: Iterable[DoctorRow]) -> list[DoctorRow]:
    """Return the findings that stop work."""
    return [finding for finding in findings if finding.state == "lack"]


def all_findings(checkup: Checkup) -> Iterator[DoctorRow]:
    """Yield every finding about the environment and the recipe."""
    yield from checkup.environment
    yield from checkup.needs


def examine_recipe(
    recipe: "ParsedRecipe", hardware: Hardware, engines: tuple[Engine, ...], *, trust: bool = False
) -> Iterator[DoctorRow]:
    """Plan the recipe and yield what its plan needs and has; RecipeError when the recipe itself is wrong.

    Planning loads the data and the recipe's own code in a child process, so both are tried on the way.
    """
    from titrant.api.plan import plan

    yield DoctorRow("recipe", "ok", f"{recipe.file} is valid")
    try:
        planned = plan(recipe, hardware=hardware, trust=trust)
    except (InfeasibleError, StepError) as error:
        yield from (_refused(diagnostic) for diagnostic in error.diagnostics)
        return
    yield DoctorRow("data and model", "ok", "read in a child process, as a run does")
    yield from _engines(planned, hardware, engines)
    yield from _memory_rows(planned, hardware)
    yield from asked_trackers(planned.plan.tracking)
    yield from (DoctorRow("plan", "note", warning) for warning in planned.plan.warnings)


def _refused(diagnostic: Diagnostic) -> DoctorRow:
    where = f" ({diagnostic.where})" if diagnostic.where else ""
    return DoctorRow(diagnostic.code, "lack", f"{diagnostic.message}{where}", diagnostic.help)


def _engines(planned: "Planned", hardware: Hardware, engines: tuple[Engine, ...]) -> Iterator[DoctorRow]:
    """Yield each engine or library that a step needs, whether it is installed, and whether it loads."""
    steps = [step.operator for step in planned.plan.steps if step.operator in catalog.names()]
    needed = {library for name in steps for library in catalog.get(name).libraries}
    needed |= {backend.get(candidate.engine).package for candidate in planned.plan.candidates}
    problems = {engine.name: engine.problem for engine in engines}
    working = []
    for name in sorted(needed):
        installed = distribution(hardware.identity.packages, name)
        if installed is None:
            yield DoctorRow(name, "lack", "a step of the plan needs it, and it is not installed", install(extra(name)))
        elif problems.get(installed):
            yield DoctorRow(name, "lack", f"a step of the plan needs it, and it does not load: {problems[installed]}")
        else:
            working.append(name)
    if working:
        yield DoctorRow("libraries", "ok", ", ".join(working))


def _memory_rows(planned: "Planned", hardware: Hardware) -> Iterator[DoctorRow]:
    """Hold what the plan takes against what is free now: what is certain not to fit stops work, as it stops a run."""
    steps = planned.plan.steps
    certain = [step.id for step in steps if step.stage not in ASKED]
    yield from (_refused(lack) for lack in short_of(planned.needs, certain, capacity_now(hardware)))
    whole = totals(steps)
    yield _held("disk", whole.output_bytes or 0, hardware.volatile.disk_free_bytes, "free disk space first")
    peak = WORKER_BYTES + (whole.peak_bytes or 0)
    remedy = "end other programs, or use a machine with more memory"
    yield _held("memory", peak, hardware.volatile.memory_available_bytes, remedy)
    predicted = "unknown" if whole.seconds is None else f"predicted {format_time(whole.seconds)}"
    yield DoctorRow("time", "ok", f"{predicted} for {whole.steps} steps, nothing reused")


def _held(subject: str, needed: int, free: int | None, remedy: str) -> DoctorRow:
    text = f"the plan is predicted to take {format_size(needed)}"
    if free is None:
        return DoctorRow(subject, "note", f"{text}; it is not known how much is free")
    text += f", {format_size(free)} are free"
    return DoctorRow(subject, "ok", text) if needed <= free else DoctorRow(subject, "note", text, remedy)


def capabilities(hardware: Hardware) -> Iterator[DoctorRow]:
    """Yield what the processor and the memory are good for."""
    identity = hardware.identity
    seven, because = seven_bits(identity)
    yield DoctorRow("int8", "note" if seven else "ok", f"weights get {'7' if seven else '8'} bits: {because}")
    for name, kinds in (("bf16", BF16), ("fp16", FP16)):
        native = sorted(set(kinds) & set(identity.instructions))
        gpu = next((gpu.name for gpu in identity.gpus if computes(gpu, name)), "")
        if native:
            yield DoctorRow(name, "ok", f"native on the processor ({', '.join(native)})")
        elif gpu:
            yield DoctorRow(name, "ok", f"emulated on the processor, native on {gpu}")
        else:
            yield DoctorRow(name, "note", "emulated and slower than fp32")
    available = hardware.volatile.memory_available_bytes
    if available is not None:
        largest = max(0, (available - _WORKER_BYTES) // _COPIES)
        text = f"models of up to about {format_size(largest)} of weights (a guess: {_COPIES} copies at once)"
        text += "; larger ones by ort.nbits, where fp32 weights stand in a file beside the .onnx file"
        yield DoctorRow("largest model", "ok", text)


def methods(hardware: Hardware) -> Iterator[SuitabilityRow]:
    """Yield every quantization method, from gentle to aggressive, and whether it can work on this machine."""
    for name in catalog.quantization_methods():
        declaration = catalog.get(catalog.method_operator(name))
        assert declaration.method is not None
        unmet = (*_nowhere(declaration.method, hardware), *declaration.requires(declaration.params(), hardware, None))
        bits = " or ".join(map(str, declaration.method.bits))
        engine = declaration.method.engine
        yield SuitabilityRow(name, not unmet, "; ".join(map(str, unmet)) or f"{bits} bits, runs in {engine}")


def _nowhere(method: Method, hardware: Hardware) -> Iterator[Unmet]:
    """Say what keeps a method's kernels, or its engine, from every device of a machine."""
    devices = ("cpu", *dict.fromkeys(gpu.kind for gpu in hardware.identity.gpus))
    if not any(map(method.runs_on, devices)):
        yield Unmet(f"its kernels run on {' or '.join(method.devices)}, which this machine does not have")
    elif method.engine in backend.names():
        unmet = [backend.get(method.engine).device_unmet(device, hardware) for device in devices]
        if all(lack is not None for lack in unmet) and unmet[0] is not None:
            yield unmet[0]


def levels(hardware: Hardware) -> Iterator[SuitabilityRow]:
    """Yield every level and whether it gains anything on this machine; the first that suits best comes first.

    The contract of a level is a decision of its own; this says only which of its methods can work here.
    """
    widths = {suits.name: _bits(suits.name) for suits in methods(hardware) if suits.suits}
    rows = [_level(name, defaults.fewest_bits, widths) for name, defaults in LEVELS.items()]
    order = ("balanced", "medical_critical", "aggressive", "minimal")
    yield from sorted(rows, key=lambda row: (not row.suits, order.index(row.name)))


def _level(name: str, fewest: int, widths: dict[str, tuple[int, ...]]) -> SuitabilityRow:
    """Say what a level, which allows `fewest` bits, can choose from."""
    allowed = sorted(method for method, bits in widths.items() if max(bits) >= fewest)
    contract = f"retention {LEVELS[name].retention:g}"
    if fewest > 16:
        return SuitabilityRow(name, True, f"{contract}; conversions only, whatever the machine")
    if not allowed:
        return SuitabilityRow(name, False, f"{contract}; none of its methods can work here: it would convert only")
    if fewest < 8 and not any(min(widths[method]) < 8 for method in allowed):
        text = f"{contract}; nothing below 8 bits can work here: the same candidates as balanced, a looser contract"
        return SuitabilityRow(name, False, text)
    proof = ", and each gate must be proven" if LEVELS[name].require == "proof" else ""
    return SuitabilityRow(name, True, f"{contract}{proof}; chooses from {', '.join(allowed)}")


def _bits(name: str) -> tuple[int, ...]:
    method = catalog.get(catalog.method_operator(name)).method
    return () if method is None else method.bits


def trackers() -> Iterator[DoctorRow]:
    """Yield a row for each tracker, whatever the recipe."""
    yield from wandb_login(needed=False)
    for name in ("tensorboard", "mlflow"):
        if _installed(name):
            yield DoctorRow(name, "ok", "installed")
        else:
            yield DoctorRow(name, "note", "not installed: no recipe can track with it here", _install(name))


def asked_trackers(asked: Mapping[str, Mapping[str, Any]]) -> Iterator[DoctorRow]:
    """Yield a row for each tracker that a plan asks for; one that would fail lacks something, though no run would."""
    for name, options in asked.items():
        if not _installed(name):
            yield _unable(name, "not installed", _install(name))
        elif name == "wandb":
            yield from _wandb(options["mode"])
        elif name == "tensorboard":
            yield _folder(name, options["folder"])
        else:
            yield _server(options["uri"])


def wandb_login(needed: bool) -> Iterator[DoctorRow]:
    """Say whether Weights & Biases would take a run from here; only that a login is there is looked at."""
    if not _installed("wandb"):
        if needed:
            yield DoctorRow("wandb", "lack", "the recipe tracks with it, and it is not installed", install("wandb"))
        return
    if has_login():
        yield DoctorRow("wandb", "ok", "logged in")
    elif needed:
        said = "the recipe tracks online, and nobody is logged in: a run would be kept offline"
        yield DoctorRow("wandb", "lack", said, "wandb login")
    else:
        yield DoctorRow("wandb", "ok", "not logged in: runs are tracked offline only (log in with: wandb login)")


def _wandb(asked: WandbMode) -> Iterator[DoctorRow]:
    mode = mode_here(asked)
    if mode.mode == "offline" and asked == "online" and not has_login():
        yield from wandb_login(needed=True)
    elif mode.because:
        yield DoctorRow("wandb", "note", f"{mode.mode}, where the recipe says {asked}: {mode.because}")
    else:
        yield DoctorRow("wandb", "ok", mode.mode)
    if mode.mode != "disabled" and (folder := os.environ.get("WANDB_DIR")):
        yield _folder("wandb", folder)


def _folder(name: str, folder: str) -> DoctorRow:
    """Look whether the nearest folder that is there can be written; nothing is made."""
    if not folder:
        return DoctorRow(name, "ok", "in the run folder")
    where = Path(folder).absolute()
    there = next(place for place in (where, *where.parents) if place.exists())
    try:
        refuse_unwritable(there)
    except TrackerError as error:
        return _unable(name, str(error), error.remedy)
    return DoctorRow(name, "ok", f"in {where}")


def _server(uri: str) -> DoctorRow:
    """Look whether a server can be reached; what it would answer is not asked."""
    from urllib.parse import urlsplit

    if not uri:
        return DoctorRow("mlflow", "ok", "in a database of the home; the first run waits some 10 s for its tables")
    address = urlsplit(uri)
    if address.scheme not in _PORTS or not address.hostname:
        return DoctorRow("mlflow", "ok", f"in {uri}; not tried")
    try:
        place = (address.hostname, address.port or _PORTS[address.scheme])
        with socket.create_connection(place, _PATIENCE_SECONDS):
            return DoctorRow("mlflow", "ok", f"{uri} can be reached")
    except OSError as error:
        return _unable("mlflow", f"{uri} cannot be reached ({error})", "start the server, or mend tracking.mlflow.uri")


def _unable(name: str, why: str, remedy: str) -> DoctorRow:
    return DoctorRow(name, "lack", f"the recipe tracks with it, and {why}; {_GOES_ON}", remedy)


def _install(name: str) -> str:
    """Return the command that brings a tracker: wandb comes with titrant, others are extras of it."""
    return install(name if name == "wandb" else f"'titrant[{name}]'")


def _installed(name: str) -> bool:
    return is_installed(_PACKAGES[name]) or (name == "mlflow" and is_installed("mlflow"))
