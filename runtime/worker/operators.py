"""A user's operator as the worker sees it: found, described, and asked what it needs, loads or costs."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from titrant.runtime import catalog
from titrant.runtime.catalog import Declaration, Params, no_modules, no_requirement, same_model, unknown_cost
from titrant.runtime.store.declarations import describe
from titrant.runtime.user_code import said_by, unloaded
from titrant.schema.cost import Unmet, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.values.canonical import plain, read_back


def find_operator(name: str) -> Declaration:
    """Return an operator's declaration; RecipeError X314 where there is none, or it cannot be loaded."""
    try:
        return catalog.get(name)
    except KeyError:
        raise RecipeError(Diagnostic("X314", f"there is no operator {name}")) from None
    except (ImportError, AttributeError) as error:
        raise RecipeError(
            Diagnostic(
                "X314",
                f"the operator {name} cannot be loaded: {unloaded(error)}",
                help="write module:name of a function that @operator declares, in the recipe's folder or installed",
                key="quantization.method",
                said=said_by(error),
            )
        ) from None


def described(declaration: Declaration, name: str) -> dict[str, Any]:
    """Return what there is to know of an operator without running it: {"operator", "declared"}.

    Raises RecipeError X314 where it is declared wrongly.
    """
    _check_declared(declaration, name)
    declared = {
        "family": declaration.family,
        "inputs": plain(declaration.inputs),
        "consumes": list(declaration.consumes),
        "doc": declaration.doc,
        "method": plain(declaration.method),
        "user_code": declaration.user_code,
        "costless": list(declaration.costless),
        "parameters": declaration.params.model_json_schema(),
        "answers_for": answers_for(declaration),
    }
    return {"operator": plain(describe(name)), "declared": declared}


def _check_declared(declaration: Declaration, name: str) -> None:
    """Raise RecipeError X314 for what of a declaration is no data, and so not checked by whoever reads it."""
    wrong = [
        part
        for part in ("requires", "predict", "loads", "idle", "model_after")
        if not callable(getattr(declaration, part))
    ]
    if not (isinstance(declaration.params, type) and issubclass(declaration.params, Params)):
        message, advice = "`params` is no class of parameters", "derive it from titrant.Params"
    elif wrong:
        message, advice = f"`{wrong[0]}` is no function", "give a function, or leave it out"
    else:
        return
    message = f"{name} is declared wrongly: {message}"
    raise RecipeError(Diagnostic("X314", message, help=advice, key="quantization.method"))


def answers_for(declaration: Declaration) -> list[str]:
    """Name what an operator says of itself before it runs: requires, predict, loads, idle, model_after."""
    own = {
        "requires": declaration.requires is not no_requirement,
        "predict": declaration.predict is not unknown_cost,
        "loads": declaration.loads is not no_modules,
        "idle": declaration.idle is not catalog.never,
        "model_after": declaration.model_after is not same_model,
    }
    return [name for name, says in own.items() if says]


def ask_operator(declaration: Declaration, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer {"ask": what of an operator, "params", "hardware", "model", "work"} with {"answer"}.

    To "requires" the answer is the list of what is unmet, to "predict" the prediction as JSON, to "loads" the list of
    modules, to "idle" whether it has nothing to do, to "model_after" the facts of the model that it makes; the last
    three go without hardware. Raises RecipeError X316 for options that the operator does not take, StepError
    X316 where it answers with something else than it must.
    """
    params = _params(declaration, request)
    hardware = None if request["hardware"] is None else read_back(Hardware, request["hardware"])
    model = None if request["model"] is None else read_back(ModelFacts, request["model"])
    asked: str = request["ask"]
    made: Any = None
    if asked == "predict":
        made = declaration.predict(params, hardware, model, read_back(Work, request["work"]))  # type: ignore[arg-type]
    elif asked == "requires":
        made = declaration.requires(params, hardware, model)  # type: ignore[arg-type]
    else:
        answer = {"idle": declaration.idle, "model_after": declaration.model_after}
        made = declaration.loads(params) if asked == "loads" else answer[asked](params, model)  # type: ignore[operator,arg-type]
    if not _IS[asked](made):
        message = f"`{asked}` of {request['operator']} answers with {type(made).__name__}"
        raise StepError(Diagnostic("X316", message, help=f"return {_DUE[asked]}"))
    return {"answer": plain(made)}


def _params(declaration: Declaration, request: Mapping[str, Any]) -> Any:
    try:
        return declaration.params.model_validate_json(json.dumps(request["params"]))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = ".".join(str(part) for part in first["loc"])
        message = f"{request['operator']} does not take its option {option}: {first['msg']}"
        key = f"quantization.options.{option}"
        raise RecipeError(Diagnostic("X316", message, help="see the operator's parameter model", key=key)) from None


def _are_texts(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(isinstance(text, str) for text in value)


def _are_unmet(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(unmet, Unmet) for unmet in value)


# What each question must be answered with.
_IS: Mapping[str, Callable[[Any], bool]] = {
    "requires": _are_unmet,
    "predict": lambda value: isinstance(value, Prediction),
    "loads": _are_texts,
    "idle": lambda value: isinstance(value, bool),
    "model_after": lambda value: isinstance(value, ModelFacts),
}
_DUE = {
    "requires": "a tuple of titrant.Unmet(cause, remedy), () where nothing is unmet",
    "predict": "titrant.Prediction(seconds=…, peak_bytes=…, output_bytes=…)",
    "loads": "a tuple of names of modules",
    "idle": "True where it would give the model back as it is, else False",
    "model_after": "the facts that it was given, with what changed replaced",
}
