"""Make of a model the kind that an operator takes, and refuse what an operator lacks here, as a plan does."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from titrant.api.live.files import facts_of
from titrant.api.live.values import OperatorInputs
from titrant.runtime import catalog
from titrant.runtime.api import apply, check_params
from titrant.runtime.backends import backend
from titrant.runtime.catalog import ANY_MODEL, Declaration, Params, Port, no_requirement
from titrant.runtime.values import Outputs, ReportFiles, Rows, RowSplit, Tables, Transforms
from titrant.schema.diagnostics.diagnostics import Diagnostic, InfeasibleError, RecipeError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.language.nearest import nearest

# What is no model, by its class, and what messages call one.
_PLAIN = {Rows: "rows", Outputs: "outputs", Tables: "tables", RowSplit: "split", Transforms: "transforms"}
_PLAIN |= {ReportFiles: "report"}
_TITLES = {
    "rows": "rows",
    "outputs": "what a model answered",
    "tables": "tables of data",
    "split": "a split of rows",
    "transforms": "fitted transforms",
    "report": "files of a report",
    "value": "a value, as mappings and lists hold it",
}


@dataclass(frozen=True)
class Setting:
    """How operators run on the way: what is drawn, threads, and the folder below which each has one of its own."""

    seed: int
    threads: int
    folder: Path
    hardware: Hardware


@dataclass
class Way:
    """What ran so far, by the input that it was for, and what is known of each model that was asked about."""

    converted: dict[str, tuple[str, ...]] = field(default_factory=dict)
    facts: dict[int, ModelFacts | None] = field(default_factory=dict)

    def facts_of(self, model: Any) -> ModelFacts | None:
        """Return what is known of a model, looked at once."""
        if id(model) not in self.facts:
            self.facts[id(model)] = facts_of(model)
        return self.facts[id(model)]


def fitted(
    declaration: Declaration, params: Params, live: OperatorInputs, setting: Setting
) -> tuple[dict[str, Any], Mapping[str, tuple[str, ...]]]:
    """Return inputs of the kinds that an operator takes, and the operators that made each, those that loaded included.

    A model of another kind is converted as a recipe would convert it, without what only pays (folding, fusing). Before
    anything runs the operator, and each on the way, is asked what it needs of this machine and of the model as it was
    handed over. Raises InfeasibleError X373 with what is unmet, RecipeError X232 for what cannot become what is taken.
    """
    way = Way(dict(live.loaded))
    engines = _engines(declaration, params)
    chains = {port: _chain(declaration, port, value, engines) for port, value in live.values.items()}
    original = live.values.get("model")
    of_model = original if _is_model(original) else None
    _refuse(declaration, params, way, of_model, setting)
    for chain in chains.values():
        for steps in chain.values():
            for operator, _ in steps:
                _refuse(catalog.get(operator), check_params(catalog.get(operator), {}), way, of_model, setting)
    values = dict(live.values)
    for port, chain in chains.items():
        made = {name: _converted(port, name, steps, live, setting) for name, steps in chain.items() if steps}
        if made and declaration.inputs[port].many:
            values[port] = {**values[port], **made}
        elif made:
            values[port] = made[""]
        ran = tuple(dict.fromkeys(operator for steps in chain.values() for operator, _ in steps))
        way.converted |= {port: (*way.converted.get(port, ()), *ran)} if ran else {}
    return values, way.converted


def _refuse(declaration: Declaration, params: Params, way: Way, model: Any, setting: Setting) -> None:
    """Raise InfeasibleError X373 with everything that an operator needs and does not have."""
    if declaration.requires is no_requirement:
        return
    # Of the machine first: a model is looked at by the very libraries that may be missing.
    unmet = declaration.requires(params, setting.hardware, None)
    if not unmet and model is not None:
        unmet = declaration.requires(params, setting.hardware, way.facts_of(model))
    if unmet:
        raise InfeasibleError(
            *(Diagnostic("X373", f"{declaration.name} cannot run: {lack.cause}", help=lack.remedy) for lack in unmet)
        )


def _engines(declaration: Declaration, params: Params) -> dict[str, str]:
    """Return the engines that parameters name, {"": …} where one runs every model; RecipeError X231 for another."""
    engines: dict[str, str] = {}
    for field_name in declaration.engines:
        asked = getattr(params, field_name)
        engines |= dict(asked) if isinstance(asked, Mapping) else {"": asked}
    for engine in engines.values():
        if engine not in backend.names():
            near = nearest(engine, backend.names())
            advice = f"did you mean {near}?" if near else f"the engines are {', '.join(backend.names())}"
            raise RecipeError(Diagnostic("X231", f"{declaration.name}: there is no engine {engine}", help=advice))
    return engines


def _chain(
    declaration: Declaration, port: str, value: Any, engines: Mapping[str, str]
) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return the operators from each value of a port to a kind that it takes, {"": …} where it takes one value."""
    asked = declaration.inputs[port]
    if not asked.many:
        return {"": _steps(f"{declaration.name}: {port}", asked, value, engines.get("", ""))}
    if not isinstance(value, Mapping):
        message = f"{declaration.name}: {port} takes several by name, and is {_title(_kind(value))}"
        raise RecipeError(Diagnostic("X232", message, help=f'name them: {{"{port}": {{"original": …}}}}'))
    return {
        str(name): _steps(f"{declaration.name}: {port} {name}", asked, item, engines.get(name, ""))
        for name, item in value.items()
    }


def _steps(place: str, asked: Port, value: Any, engine: str) -> tuple[tuple[str, str], ...]:
    """Return the shortest way from a value to a kind that a port takes, and that its engine, if it names one, runs.

    RecipeError X232 where there is none.
    """
    kind = _kind(value)
    any_model = ANY_MODEL in asked.kinds
    running = tuple(backend.get(engine).costs) if engine and any_model else ()
    if kind in asked.kinds or (any_model and kind in (running or backend.kinds())):
        return ()
    ways = [backend.conversion(kind, taken) for taken in running or asked.kinds] if kind in backend.kinds() else []
    ready = sorted((steps for steps in ways if steps), key=len)
    if ready:
        return ready[0]
    takes = " or ".join(map(_title, running or asked.kinds))
    plain = kind == "value" and not isinstance(value, Mapping)
    given = f"of type {type(value).__name__}" if plain else _title(kind)
    if ways:
        advice = f"nothing makes {takes} of it: begin with one"
    elif any_model or any(taken in backend.kinds() for taken in asked.kinds):
        advice = "give a module, the path of a model's file, or a model that another operator gave"
    else:
        advice = f"give {takes}"
    raise RecipeError(Diagnostic("X232", f"{place} takes {takes}, and is {given}", help=advice))


def _converted(port: str, name: str, steps: tuple[tuple[str, str], ...], live: OperatorInputs, setting: Setting) -> Any:
    value = live.values[port][name] if name else live.values[port]
    for operator, _ in steps:
        declaration = catalog.get(operator)
        inputs: dict[str, Any] = {"model": value}
        if "example" in declaration.inputs:
            if live.shown is None:
                message = f"{operator} converts the model of {port}, and nothing shows what that takes"
                help = 'hand over a few rows of its inputs: rows={"x": array}'
                raise RecipeError(Diagnostic("X232", message, help=help))
            inputs["example"] = replace(live.shown, role="example")
        folder = setting.folder / "-".join(part for part in (port, name, operator) if part)
        folder.mkdir(parents=True)
        value = apply(operator, inputs, seed=setting.seed, threads=setting.threads, scratch=folder).outputs["model"]
    return value


def _kind(value: Any) -> str:
    plain = _PLAIN.get(type(value))
    return plain if plain is not None else value.kind if _is_model(value) else "value"


def _is_model(value: Any) -> bool:
    return getattr(value, "kind", None) in backend.kinds() and not isinstance(value, Mapping)


def _title(kind: str) -> str:
    if kind == ANY_MODEL:
        return "a model"
    every = backend.kinds()
    return every[kind].title if kind in every else _TITLES.get(kind, kind)
