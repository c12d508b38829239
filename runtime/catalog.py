"""The operator catalog: what every operator declares, and how one is found without importing the others.

The libraries that a step needs can be loaded apart from its work, so that their cost is not the step's.
"""

import contextlib
import importlib
import inspect
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from titrant.runtime.method import LayerOutlook, Method
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, TitrantError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.values.extensions import extensions
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import first_line

Determinism = Literal["exact", "tolerance", "measured"]
Requires = Callable[[Any, Hardware, ModelFacts | None], tuple[Unmet, ...]]
Predict = Callable[[Any, Hardware, ModelFacts | None, Work], Prediction]
# Stands among the kinds of a port for every kind of model that an engine brings.
ANY_MODEL = "model"
# The parameter of a method that names the layers, of the original, that keep their precision.
LEAVE = "leave"


class Params(BaseModel):
    """Base of every operator's parameter model: frozen, strict, no unknown names.

    One of titrant's own is made ready when it is first used: a plan uses half of them.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", defer_build=True)


class Context(Protocol):
    """What an operator may use besides its arguments."""

    seed: int
    threads: int
    scratch: Path  # an empty folder; what an output value refers to may live here
    checkpoints: Path | None  # of this very step alone, until it is finished; also of a process that was killed
    code: Mapping[str, str]  # what of the user's code a training rests on: path → digest

    @property
    def generator(self) -> Any:
        """A `numpy.random.Generator` seeded for this step."""

    def measure(self, name: str, value: float, unit: str = "") -> None:
        """Keep a number in the step's result."""

    def progress(self, done: float, total: float, note: str = "") -> None:
        """Say how far the step is."""

    def curve(self, place: int, figures: Mapping[str, float]) -> None:
        """Tell a point of a learning curve, by its place from 1, to whoever follows the run."""

    def note(self, text: str) -> None:
        """Tell whoever follows the run something that matters to them."""

    def do_not_reuse(self, because: str) -> None:
        """Let the result count for this run only: something that may pass, such as a lack of memory, shaped it."""

    def row_key(self) -> bytes:
        """Return the 32 bytes that key the names of rows in files that leave the home."""

    def attend(self, model: str) -> None:
        """Say which of several models is at work: should native code end the process, the step is done without it."""


@dataclass(frozen=True)
class Port:
    """An input: the kinds it takes, whether it may be left out, whether it takes a mapping of name to value.

    `when` is the parameter and its value with which alone it is read.
    """

    kinds: tuple[str, ...]
    optional: bool = False
    many: bool = False
    when: tuple[str, Any] | None = None

    def is_read(self, params: Mapping[str, Any]) -> bool:
        """Whether it is read with some parameters; those that are left out have another value than `when`."""
        return self.when is None or params.get(self.when[0]) == self.when[1]


def no_requirement(params: Any, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Answer that nothing is required."""
    return ()


def unknown_cost(params: Any, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN) -> Prediction:
    """Predict nothing."""
    return Prediction()


def never(params: Any, model: ModelFacts) -> bool:
    """Answer that there is always something to do."""
    return False


def same_model(params: Any, model: ModelFacts) -> ModelFacts:
    """Answer that a model's layers stay as they are."""
    return model


def nothing_by_layer(params: Any, model: ModelFacts) -> tuple[LayerOutlook, ...]:
    """Say nothing of single layers."""
    return ()


def no_modules(params: Any) -> tuple[str, ...]:
    """Answer that no modules are imported."""
    return ()


def always(modules: tuple[str, ...]) -> Callable[[Any], tuple[str, ...]]:
    """Return the function that answers with these modules whatever the parameters are."""
    return (lambda _: modules) if modules else no_modules


@dataclass(frozen=True)
class Declaration:
    """What is known of an operator without running it.

    `requires` answers what is unmet, and what would make it possible. `predict` is asked with
    what the step has to work on; what it does not know it leaves out. `libraries` are the
    installed packages whose version can change its bytes; they enter the step key. `user_code` says that its result
    can depend on the user's modules and files.
    """

    name: str
    version: int
    family: str
    params: type[Params]
    inputs: Mapping[str, Port]
    outputs: Mapping[str, str]
    consumes: tuple[str, ...]
    determinism: Determinism
    requires: Requires
    predict: Predict
    libraries: tuple[str, ...]
    user_code: bool
    run: Callable[..., Mapping[str, Any]]
    doc: str
    method: Method | None = None  # how a quantization method is lowered; None elsewhere
    # The modules that it is going to import, so that their cost is apart from that of its work.
    loads: Callable[[Any], tuple[str, ...]] = no_modules
    costless: tuple[str, ...] = ()  # parameters that change what comes out and not what it costs
    # Whether it would give back the model that it is given, so that the plan leaves it out.
    idle: Callable[[Any, ModelFacts], bool] = never
    # What the facts of a model are after it: what follows in a chain is predicted by them.
    model_after: Callable[[Any, ModelFacts], ModelFacts] = same_model
    # Parameters that name engines, alone or by name of a model: the versions of their packages enter the step key.
    engines: tuple[str, ...] = ()
    # What becomes of each layer, of an operator that takes some and leaves others: the plan shows it.
    by_layer: Callable[[Any, ModelFacts], tuple[LayerOutlook, ...]] = nothing_by_layer
    verified: tuple[str, ...] = ()  # kinds of devices on which the project's own checks run it: cpu, cuda, mps


@dataclass(frozen=True)
class Applied:
    """An operator's outputs when called directly, with what it measured and what it noted.

    `converted` names the operators that ran first, by the input that each list made of what was handed over.
    """

    outputs: Mapping[str, Any]
    measurements: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    converted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


_catalog: dict[str, Declaration] = {}
_FOLDER = Path(__file__).parent / "operators"
_GROUP = "operators"
_OWN = "titrant.runtime.operators."
# The families that hold what `quantization.method` can name.
_METHODS = ("quantize", "model")


def operator(
    name: str,
    *,
    version: int,
    family: str,
    params: type[Params],
    inputs: Mapping[str, str | tuple[str, ...] | Port],
    outputs: Mapping[str, str],
    consumes: tuple[str, ...] | list[str] = (),
    determinism: Determinism = "exact",
    requires: Requires = no_requirement,
    predict: Predict = unknown_cost,
    libraries: tuple[str, ...] = (),
    user_code: bool = False,
    method: Method | None = None,
    loads: tuple[str, ...] | Callable[[Any], tuple[str, ...]] = (),
    costless: tuple[str, ...] = (),
    idle: Callable[[Any, ModelFacts], bool] = never,
    model_after: Callable[[Any, ModelFacts], ModelFacts] = same_model,
    engines: tuple[str, ...] = (),
    by_layer: Callable[[Any, ModelFacts], tuple[LayerOutlook, ...]] = nothing_by_layer,
    verified: tuple[str, ...] | None = None,
) -> Callable[[Callable[..., Mapping[str, Any]]], Callable[..., Mapping[str, Any]]]:
    """Declare an operator and enter it in the catalog; the conformance suite verifies titrant's own on the CPU."""
    ports = {port: _port(kinds) for port, kinds in inputs.items()}

    def declare(run: Callable[..., Mapping[str, Any]]) -> Callable[..., Mapping[str, Any]]:
        is_own = run.__module__.startswith(_OWN)
        # What is wrong in a user's parameters is said where they are declared, but what are none at all.
        if not is_own and isinstance(params, type) and issubclass(params, Params):
            params.model_rebuild(raise_errors=False)
        declaration = Declaration(
            name, version, family, params, ports, dict(outputs), tuple(consumes), determinism, requires, predict,
            libraries, user_code, run, inspect.getdoc(run) or "", method,
            always(loads) if isinstance(loads, tuple) else loads, costless, idle, model_after, engines, by_layer,
            verified if verified is not None else ("cpu",) if is_own else (),
        )  # fmt: skip
        _catalog[name] = declaration
        run.declaration = declaration  # type: ignore[attr-defined]
        return run

    return declare


def full_params(params: type[Params], given: Mapping[str, Any]) -> Params:
    """Check parameters as JSON, as the worker will read them."""
    from titrant.schema.values.canonical import canonical_json

    return params.model_validate_json(canonical_json(given))


def _port(kinds: str | tuple[str, ...] | Port) -> Port:
    if isinstance(kinds, Port):
        return kinds
    return Port((kinds,) if isinstance(kinds, str) else kinds)


@cache
def _files() -> tuple[str, ...]:
    return tuple(sorted(f"{path.parent.name}.{path.stem}" for path in _FOLDER.glob("*/[!_]*.py")))


def names() -> tuple[str, ...]:
    """List the operators, sorted, without importing any: folder and file make the name of titrant's own.

    Installed packages add theirs by entry points; one that has the name of titrant's own does not count.
    """
    added = extensions(_GROUP)
    return tuple(sorted({*_files(), *added})) if added else _files()


def get(name: str) -> Declaration:
    """Return an operator's declaration, importing only its file; a `module:Name` reference imports user code.

    Raises KeyError for a name that is not there. A reference must only be resolved in a worker or inspection child.
    """
    if ":" in name and name not in _catalog:
        module, _, attribute = name.partition(":")
        declaration: Declaration = getattr(importlib.import_module(module), attribute).declaration
        return declaration
    if name not in _catalog:
        if name in _files():
            importlib.import_module(f"titrant.runtime.operators.{name}")
        else:
            _import_extension(name)
    return _catalog[name]


def _import_extension(name: str) -> None:
    extension = extensions(_GROUP)[name]
    try:
        importlib.import_module(extension.module)
        why = _wrong(name) if name in _catalog else f"{extension.module} declares no operator of this name"
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a package's code may raise anything when imported
        why = f"{type(error).__name__}: {first_line(error)}"
    if not why:
        _catalog[name] = _guarded(_catalog[name], extension.distribution)
    else:
        _catalog.pop(name, None)
        message = f"the operator {name}, which the package {extension.distribution} brings, cannot be used: {why}"
        raise RecipeError(Diagnostic("P064", message, help=f"mend it, or: pip uninstall {extension.distribution}"))


def _wrong(name: str) -> str:
    """Say what keeps a package's operator from being planned; "" where nothing does."""
    declaration = _catalog[name]
    family, _, file = name.partition(".")
    method = declaration.method
    if method is None or family not in _METHODS:
        return ""
    if "model" not in declaration.inputs or "model" not in declaration.outputs:
        return "a method has `model` in and out"
    if method.name.replace(".", "_") != file:
        return f"its method is named {method.name}, which is no name of {name}"
    unsaid = [part for part in ("bits", "engine", "format") if not getattr(method, part)]
    return f"its method states no {' and no '.join(unsaid)}" if unsaid else ""


def _guarded(declaration: Declaration, distribution: str) -> Declaration:
    """Let what a package's operator says of itself be refused by name where it raises, or answers with another type."""

    def guard(part: str, default: Callable[..., Any], kind: type) -> Callable[..., Any]:
        answer: Callable[..., Any] = getattr(declaration, part)
        if answer is default:
            return answer

        def answered(*given: Any) -> Any:
            try:
                made = answer(*given)
            except TitrantError:
                raise
            except Exception as error:  # noqa: BLE001 - a package's own code
                made, why = None, f"raises {type(error).__name__}: {first_line(error)}"
            else:
                why = f"answers with {type(made).__name__}"
            if not isinstance(made, kind):
                message = f"`{part}` of {declaration.name}, which the package {distribution} brings, {why}"
                raise RecipeError(Diagnostic("P064", message, help=f"it is due to answer with {kind.__name__}"))
            return made

        return answered

    return replace(
        declaration,
        requires=guard("requires", no_requirement, tuple),
        predict=guard("predict", unknown_cost, Prediction),
        idle=guard("idle", never, bool),
        model_after=guard("model_after", same_model, ModelFacts),
        by_layer=guard("by_layer", nothing_by_layer, tuple),
    )


def broken() -> tuple[Diagnostic, ...]:
    """Say what is wrong with each operator that a package brings and that cannot be used."""
    diagnostics: list[Diagnostic] = []
    for name in extensions(_GROUP):
        if name not in _files():
            try:
                get(name)
            except RecipeError as error:
                diagnostics += error.diagnostics
    return tuple(diagnostics)


def enter(declaration: Declaration) -> None:
    """Enter a user's operator as a child process described it, so that it can be planned without running its code."""
    _catalog[declaration.name] = declaration


def method_operator(method: str) -> str:
    """Return the operator that carries a quantization method: `ort.static` is `quantize.ort_static`."""
    if ":" in method:
        return method
    file = method.replace(".", "_")
    # What only casts a model stands with the other operators on models.
    return next((name for name in (f"{family}.{file}" for family in _METHODS) if name in names()), f"quantize.{file}")


def quantization_methods() -> tuple[str, ...]:
    """List every quantization method in the catalog, from gentle to aggressive."""
    declared = (get(name).method for name in names() if name.partition(".")[0] in _METHODS)
    return tuple(name for _, name in sorted((method.rank, method.name) for method in declared if method is not None))


def reductions(family: str) -> tuple[str, ...]:
    """List the operators of a family (prune, factorize) that reduce a model, from gentle to aggressive."""
    declared = [get(name) for name in names() if name.partition(".")[0] == family]
    ranked = [(item.method.rank, item.name) for item in declared if item.method is not None]
    return tuple(name for _, name in sorted(ranked))


def load(modules: Iterable[str]) -> dict[str, float]:
    """Import the modules that are not there yet; returns the seconds that each took.

    One that cannot be imported is left to the step, which says what it needs and what would make it possible.
    """
    taken: dict[str, float] = {}
    for module in modules:
        if module in sys.modules:
            continue
        begun = time.perf_counter()
        with contextlib.suppress(ImportError, OSError):
            importlib.import_module(module)
            taken[module] = time.perf_counter() - begun
    return taken
