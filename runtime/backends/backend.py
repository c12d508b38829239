"""What an engine is to titrant, and every engine that is installed: the one place where all of them are found.

An engine is one folder whose `BACKEND` says everything that the rest of titrant asks about it: the folders beside this
file, and the modules that installed packages name in the entry point group `titrant.backends`. Reading it imports no
engine.
"""

import contextlib
import importlib
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from titrant.runtime.backends.model_kind import ModelKind, RunCost
from titrant.runtime.backends.profile import Profiled, nothing_profiled
from titrant.schema.cost import Unmet
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.facts import Gpu, Hardware
from titrant.schema.values.distributions import installed_version
from titrant.schema.values.extensions import extensions
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import first_line

_FOLDER = Path(__file__).parent
_GROUP = "backends"
# Kinds of artifacts that are no models; see `titrant.runtime.backends.kinds`.
_NO_MODELS = ("outputs", "report", "rows", "split", "tables", "transforms", "value")


def runs_anywhere(device: str, hardware: Hardware) -> Unmet | None:
    """Answer that nothing keeps an engine from a device."""
    return None


@dataclass(frozen=True)
class GpuNote:
    """What `titrant doctor` says of an accelerator and an engine: that it works, or what is wrong and what helps."""

    subject: str  # cuda:0, or the package that it is about
    works: bool
    text: str
    remedy: str = ""


def no_notes(gpu: Gpu, packages: Mapping[str, str], details: Mapping[str, str]) -> tuple[GpuNote, ...]:
    """Say nothing of accelerators."""
    return ()


def no_details() -> dict[str, str | None]:
    """Say nothing of an engine beside its version."""
    return {}


# Why a layer may answer otherwise next time: it draws random numbers, normalizes by the batch as in training, or finds
# the scale of what it quantizes from the whole batch.
DRAWS, TRAINS, SCALES = "draws", "trains", "scales"


def nothing_unsteady(model: Any, answer: Callable[[], object]) -> Mapping[str, str]:
    """Name no layer: what a model does is then told from its answers alone."""
    return {}


def nothing_runnable(value: Any) -> None:
    """Call nothing that a user holds."""
    return


@dataclass(frozen=True)
class ExecutedLayer:
    """A layer with weights as an engine really runs it, which may differ from what a file says.

    `name` is the layer of the original that it computes, a module's name or an ONNX node's; "" where none can be told.
    `precision` is that of its products: fp64, fp32, bf16, fp16, int8 or int4, whose weights are unpacked in the kernel.
    Weights that another node unpacks before count as what they are unpacked to.
    """

    name: str
    node: str  # the engine's own name of it
    precision: str
    engine_op: str  # as the engine calls it: QLinearConv, FullyConnected, Linear
    layout: str = ""  # of weights that lie otherwise than contiguous in memory: channels_last


class Executed(Protocol):
    """Reads back from an engine in which precision it runs each layer with weights.

    `layers` are the names of the original's layers, module names or ONNX node names, which the answer then uses.
    Raises StepError X212 for a file that the engine cannot load.
    """

    def __call__(self, model: Any, *, threads: int = 1, layers: Collection[str] = ()) -> tuple[ExecutedLayer, ...]:
        """Open the model and look."""


@dataclass(frozen=True)
class Backend:
    """An engine: `BACKEND` in its folder is the only place that knows it.

    `packages` maps each installed distribution that brings the engine, the usual one first, to the module that loads
    its native code. `kinds` are those that it brings, `costs` those that it runs. `open(model, threads=, device=)`
    returns a `titrant.runtime.backends.session.Session`, and `executed(model, threads=, layers=)` how each layer
    really runs, as the engine itself tells; `profiled(model, inputs, threads=, device=, layers=, seconds=)` what each
    takes. `device_unmet` says what keeps it from a device ("cpu", "cuda:1"),
    None where nothing does. `unsteady(model, answer)` names the layers that draw random numbers, are in training mode
    or find scales from the batch, by `DRAWS`, `TRAINS` or `SCALES`; `answer()` runs a batch through the model, for an
    engine that watches it. `runnable(value)` returns what a user holds of the engine's, live or as the path of a file,
    as a `titrant.runtime.backends.runnable.Runnable`, and None for anything else.
    """

    name: str
    packages: Mapping[str, str]
    kinds: Mapping[str, ModelKind]
    costs: Mapping[str, RunCost]
    open: Callable[..., Any]
    executed: Executed
    profiled: Profiled = nothing_profiled
    device_unmet: Callable[[str, Hardware], Unmet | None] = runs_anywhere
    details: Callable[[], Mapping[str, str | None]] = no_details  # what it says of itself, in a child that loaded it
    # Of an accelerator, given the installed packages and `details`.
    gpu_notes: Callable[[Gpu, Mapping[str, str], Mapping[str, str]], tuple[GpuNote, ...]] = no_notes
    unsteady: Callable[[Any, Callable[[], object]], Mapping[str, str]] = nothing_unsteady
    runnable: Callable[[Any], Any] = nothing_runnable
    loads: Mapping[str, float] = field(default_factory=dict)  # module → its share of what starting a worker takes
    # Distributions beside it that some of its methods need, each with the module that loads its native code.
    tools: Mapping[str, str] = field(default_factory=dict)

    @property
    def package(self) -> str:
        """The distribution that usually brings it."""
        return next(iter(self.packages))

    @property
    def module(self) -> str:
        """The module that loads its native code."""
        return self.packages[self.package]


@cache
def _folders() -> tuple[str, ...]:
    return tuple(sorted(file.parent.name for file in _FOLDER.glob("*/__init__.py")))


def names() -> tuple[str, ...]:
    """List the engines, titrant's own first, each part sorted; none is imported."""
    own = _folders()
    return (*own, *(name for name in extensions(_GROUP) if name not in own))


def get(name: str) -> Backend:
    """Return an engine by name; KeyError for one that is not there, RecipeError P064 where its module is broken."""
    if name in _folders():
        return _declared(f"titrant.runtime.backends.{name}")
    return _extension(name)


@cache
def _declared(module: str) -> Backend:
    backend: Backend = importlib.import_module(module).BACKEND
    return backend


def _extension(name: str) -> Backend:
    extension = extensions(_GROUP)[name]
    try:
        backend = _declared(extension.module)
        why = _wrong(backend, name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a package's code may raise anything when imported
        why = f"{type(error).__name__}: {first_line(error)}"
    if why:
        message = f"the engine {name}, which the package {extension.distribution} brings, cannot be used: {why}"
        raise RecipeError(Diagnostic("P064", message, help=f"mend it, or: pip uninstall {extension.distribution}"))
    return backend


def _wrong(backend: object, name: str) -> str:
    """Say what keeps a package's `BACKEND` from being used; "" where nothing does."""
    if not isinstance(backend, Backend):
        return f"its BACKEND is of type {type(backend).__name__}"
    own = [kind for engine in _folders() for kind in get(engine).kinds.values()]
    priced = {*backend.costs}
    checks = {
        f"its BACKEND is named {backend.name}": backend.name != name,
        "its BACKEND names no package": not backend.packages,
        "it runs no kind of model: `costs` is empty": not priced,
    }
    for kind_name, kind in backend.kinds.items():
        checks |= {
            f"{kind_name} is a kind of what is no model": kind_name in _NO_MODELS,
            f"the snippet of its kind {kind_name} has braces that mean nothing": not all(
                map(_can_be_filled, (kind.snippet, kind.columns_snippet))
            ),
            f"the kind {kind_name} is named {kind.name}": kind.name != kind_name,
            f"titrant has a kind {kind_name} itself": kind_name in {other.name for other in own},
            f"titrant has a format {kind.format} itself": kind.format != "" and kind.format in _formats_of_all(own),
            f"no RunCost is stated for its kind {kind_name}": kind_name not in priced,
        }
    return next((why for why, is_so in checks.items() if is_so), "")


def _can_be_filled(snippet: str) -> bool:
    try:
        snippet.format(file="'f'", batch="b", output="0", decide="d")
    except (KeyError, ValueError, IndexError):
        return False
    return True


def _formats_of_all(every: Iterable[ModelKind]) -> set[str]:
    return {kind.format for kind in every}


def broken() -> tuple[Diagnostic, ...]:
    """Say what is wrong with each engine that a package brings and that cannot be used."""
    diagnostics: list[Diagnostic] = []
    for name in names():
        try:
            get(name)
        except RecipeError as error:
            diagnostics += error.diagnostics
    return tuple(diagnostics)


def all_backends() -> tuple[Backend, ...]:
    """Return every engine."""
    return tuple(map(get, names()))


def kinds() -> Mapping[str, ModelKind]:
    """Return every kind of model, by name."""
    return _kinds(names())


@cache
def _kinds(engines: tuple[str, ...]) -> Mapping[str, ModelKind]:
    every: dict[str, ModelKind] = {}
    formats: dict[str, str] = {}
    for engine in engines:
        for name, kind in get(engine).kinds.items():
            if name in every or (kind.format and kind.format in formats):
                what = f"the kind {name}" if name in every else f"the format {kind.format}"
                message = f"the engine {engine} brings {what}, which another engine brings too"
                raise RecipeError(Diagnostic("P064", message, help=f"pip uninstall one of them: {engine} is the later"))
            every[name] = kind
            formats[kind.format] = engine
    return every


def kind_of_source(source: str) -> ModelKind:
    """Return the kind of the original that a key of `model` gives (factory, onnx …); KeyError where none does."""
    return _first((kind for kind in kinds().values() if source in kind.sources), source)


def kind_of_format(form: str) -> ModelKind:
    """Return the kind that `export` calls by this name; KeyError where none is called so."""
    return _first((kind for kind in kinds().values() if form and kind.format == form), form)


def _first(matching: Iterator[ModelKind], name: str) -> ModelKind:
    kind = next(matching, None)
    if kind is None:
        raise KeyError(name)
    return kind


def formats() -> tuple[str, ...]:
    """List what `export` may ask for, besides `auto`: files that stand alone first."""
    return _formats_in_order(kinds().values())


def _formats_in_order(every: Iterable[ModelKind]) -> tuple[str, ...]:
    return tuple(kind.format for kind in sorted(every, key=lambda kind: kind.user_code) if kind.format)


def engines_of(kind: str) -> tuple[str, ...]:
    """List the engines that run a kind, its own first."""
    running = [backend for backend in all_backends() if kind in backend.costs]
    return tuple(backend.name for backend in sorted(running, key=lambda backend: kind not in backend.kinds))


def formats_of(engine: str) -> tuple[str, ...]:
    """List the formats that an engine runs, files that stand alone first; KeyError for an engine that is not there."""
    every = kinds()
    return _formats_in_order(every[kind] for kind in get(engine).costs if kind in every)


def run_cost(engine: str, kind: str) -> RunCost:
    """Return what running a kind in an engine costs; of "", where the kind is not known, its first one's.

    KeyError for a kind that the engine does not run.
    """
    costs = get(engine).costs
    return costs[kind] if kind else next(iter(costs.values()))


def conversion(kind: str, needed: str) -> tuple[tuple[str, str], ...] | None:
    """Return the shortest way from one kind to another as (operator, kind that it gives).

    () where both are the same, None where there is no way. Of ways of one length the one through the kinds that stand
    first counts.
    """
    every = kinds()
    waiting: deque[tuple[str, tuple[tuple[str, str], ...]]] = deque([(kind, ())])
    seen = {kind}
    while waiting:
        at, chain = waiting.popleft()
        if at == needed:
            return chain
        for target in every.values():
            if at in target.converts and target.name not in seen:
                seen.add(target.name)
                waiting.append((target.name, (*chain, (target.converts[at], target.name))))
    return None


def distribution(installed: Collection[str], package: str) -> str | None:
    """Return the name of the installed distribution that brings a package, its own or another of the same engine's.

    None where there is none: onnxruntime-gpu is imported as onnxruntime.
    """
    others = (name for engine in all_backends() if package == engine.package for name in engine.packages)
    return next((name for name in (package, *others) if name in installed), None)


def added_packages() -> dict[str, str]:
    """Return the installed packages that bring engines and operators to titrant, and what these engines rest on."""
    brought = {added.distribution for group in (_GROUP, "operators") for added in extensions(group).values()}
    for name in names():
        if name not in _folders():
            with contextlib.suppress(RecipeError):  # whoever uses it is told
                brought |= {*get(name).packages}
    every = sorted(brought)
    return {name: version for name in every if (version := installed_version(name)) is not None}
