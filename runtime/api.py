"""Run one operator on live values, without a recipe, and the plain context that it runs in."""

import atexit
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, get_args, get_origin

import numpy as np

from titrant.runtime import catalog
from titrant.runtime.catalog import Applied, Declaration, Params
from titrant.runtime.user_code import said_by, unloaded
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.language.nearest import nearest
from titrant.schema.record import Measurement
from titrant.schema.values.text import covered

Listener = Callable[[float, float, str], None]


def silent(done: float, total: float, note: str) -> None:
    """Ignore progress."""


@dataclass
class PlainContext:
    """A context that keeps measurements in a list and hands progress to a listener.

    `scratch` is an empty folder that outlives the call, as output values may refer to files in it.
    """

    seed: int
    threads: int
    scratch: Path
    listen: Listener = silent
    measurements: list[Measurement] = field(default_factory=list)
    not_reused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    checkpoints: Path | None = None
    code: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def generator(self) -> np.random.Generator:
        """The step's one source of randomness; each call of it goes on where the last one ended."""
        return np.random.default_rng(self.seed)

    def measure(self, name: str, value: float, unit: str = "") -> None:
        """Keep a number in the step's result; ValueError for NaN and infinity."""
        if not math.isfinite(value):
            raise ValueError(f"the measurement {name} is {value}")
        self.measurements.append(Measurement(name, float(value), unit))

    def progress(self, done: float, total: float, note: str = "") -> None:
        """Say how far the step is."""
        self.listen(done, total, note)

    def curve(self, place: int, figures: Mapping[str, float]) -> None:
        """Ignore it: the operator gives the whole curve in the end."""

    def note(self, text: str) -> None:
        """Keep what whoever calls may want to know."""
        self.notes.append(text)

    def do_not_reuse(self, because: str) -> None:
        """Remember why the result counts for this call only."""
        self.not_reused.append(because)

    def row_key(self) -> bytes:
        """Return a key of no home: what is called directly names rows for nobody else."""
        return bytes(32)

    def attend(self, model: str) -> None:
        """Ignore it: what ends this process ends whoever called."""


def apply(
    operator: str | Callable[..., Mapping[str, Any]],
    inputs: Mapping[str, Any],
    params: Mapping[str, Any] | Params | None = None,
    *,
    seed: int = 42,
    threads: int = 1,
    scratch: Path | None = None,
    listen: Listener = silent,
) -> Applied:
    """Run an operator by name (`quantize.ort_static`, `module:name`) or as the decorated function itself.

    `inputs` is port → value; an input that the operator consumes must not be used afterwards. Files that outputs
    refer to are in `scratch`, by default a new folder that goes when this process ends. Raises RecipeError
    X230 for an unknown operator, X231 for parameters and X232 for ports that do not fit.
    """
    declaration = declaration_of(operator)
    checked = check_params(declaration, {} if params is None else params)
    check_ports(declaration, inputs)
    check_layers(declaration, checked, inputs)
    folder = passing_folder() if scratch is None else scratch
    context = PlainContext(seed, threads, folder, listen)
    outputs = declaration.run(checked, context, **inputs)
    measured = {measurement.name: measurement.value for measurement in context.measurements}
    return Applied(dict(outputs), measured, tuple(context.notes))


def passing_folder() -> Path:
    """Make a temporary folder that goes when this process ends: values that refer to files in it live no longer."""
    folder = Path(tempfile.mkdtemp(prefix="titrant-"))
    atexit.register(_remove, folder, os.getpid())
    return folder


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a copy of the process ends too, and has not made it
        shutil.rmtree(folder, ignore_errors=True)


def check_params(declaration: Declaration, params: Mapping[str, Any] | Params) -> Params:
    """Return an operator's parameters, checked; RecipeError X231 with every misfit."""
    from pydantic import ValidationError

    if isinstance(params, declaration.params):
        return params
    if isinstance(params, Params):
        raise RecipeError(
            Diagnostic("X231", f"{declaration.name} takes {declaration.params.__name__}, not {type(params).__name__}")
        )
    fields = declaration.params.model_fields
    listed = {
        name: tuple(value)
        if isinstance(value, list) and name in fields and _is_tuple(fields[name].annotation)
        else value
        for name, value in params.items()
    }
    try:
        return declaration.params.model_validate(listed)
    except ValidationError as error:
        names = tuple(declaration.params.model_fields)
        raise RecipeError(
            *(_misfit(declaration.name, names, problem["loc"], problem["msg"]) for problem in error.errors())
        ) from None


def _is_tuple(annotation: Any) -> bool:
    return get_origin(annotation) is tuple or any(get_origin(item) is tuple for item in get_args(annotation))


def check_layers(declaration: Declaration, params: Params, inputs: Mapping[str, Any]) -> None:
    """Raise RecipeError X231 where `skip`, a pattern, covers no part of the module given, or `leave` names none."""
    module = getattr(inputs.get("model"), "module", None)
    if module is None:
        return
    own = [type(module).__name__, *(name for name, _ in module.named_modules() if name)]
    # A part with several names is left by its first, as inspection lists it.
    layers = {*own, *(name for name, _ in module.named_parameters())}
    every = layers | {name for name, _ in module.named_modules(remove_duplicate=False)}
    every |= {name for name, _ in module.named_parameters(remove_duplicate=False)}
    skipped, left = getattr(params, "skip", ()), getattr(params, "leave", ())
    missing = [("skip", name) for name in skipped if not any(covered(part, (name,)) for part in every)]
    missing += [("leave", name) for name in left if name not in layers]
    if missing:
        key, name = missing[0]
        near = nearest(name, own)
        advice = f"did you mean {near}?" if near else f"its parts are {', '.join(own[1:])}"
        message = f"{declaration.name}: {key}: `{name}` is no part of {own[0]}"
        raise RecipeError(Diagnostic("X231", message, help=advice))


def declaration_of(operator: str | Callable[..., Mapping[str, Any]]) -> Declaration:
    """Return the declaration of an operator that is named or decorated; RecipeError X230 where there is none."""
    if not isinstance(operator, str):
        declaration = getattr(operator, "declaration", None)
        if isinstance(declaration, Declaration):
            return declaration
        raise RecipeError(
            Diagnostic(
                "X230", f"{operator!r} is not an operator", help="decorate it with titrant.runtime.catalog.operator"
            )
        )
    try:
        return catalog.get(operator)
    except KeyError:
        near = nearest(operator, catalog.names())
        raise RecipeError(
            Diagnostic(
                "X230",
                f"there is no operator {operator}",
                help=f"did you mean {near}?" if near else f"there are {', '.join(catalog.names())}",
            )
        ) from None
    except (ImportError, AttributeError) as error:
        raise RecipeError(
            Diagnostic(
                "X230",
                f"{operator} does not name an operator: {unloaded(error)}",
                help="write it as module:function",
                said=said_by(error),
            )
        ) from None


def _misfit(operator: str, names: tuple[str, ...], place: tuple[int | str, ...], message: str) -> Diagnostic:
    name = ".".join(str(part) for part in place)
    near = nearest(name, names) if name not in names else None
    return Diagnostic(
        "X231",
        f"{operator}: {name + ': ' if name else ''}{message[:1].lower()}{message[1:]}",
        help=f"did you mean {near}?" if near else f"its parameters are {', '.join(names) or 'none'}",
    )


def check_ports(declaration: Declaration, inputs: Mapping[str, Any]) -> None:
    """Raise RecipeError X232 where a needed input is missing, or one is given that there is not."""
    needed = {name for name, port in declaration.inputs.items() if not port.optional}
    wrong = [f"{name} is missing" for name in sorted(needed - set(inputs))]
    wrong += [f"{name} is not a port" for name in sorted(set(inputs) - set(declaration.inputs))]
    if wrong:
        ports = ", ".join(f"{name} ({' or '.join(port.kinds)})" for name, port in declaration.inputs.items())
        raise RecipeError(
            Diagnostic("X232", f"{declaration.name}: {'; '.join(wrong)}", help=f"its inputs are {ports or 'none'}")
        )
