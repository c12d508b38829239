"""Ask a user's operator what it needs, would load, cost or do at all: its own code, so in the worker only."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from titrant.runtime.catalog import Declaration, never, no_modules, no_requirement, unknown_cost
from titrant.schema.canonical import plain
from titrant.schema.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.read_back import read_back
from titrant.schema.work import Work


def foretells(declaration: Declaration) -> list[str]:
    """Name what an operator says of itself before it runs: "requires", "predict", "loads", "idle"."""
    own = {
        "requires": declaration.requires is not no_requirement,
        "predict": declaration.predict is not unknown_cost,
        "loads": declaration.loads is not no_modules,
        "idle": declaration.idle is not never,
    }
    return [name for name, says in own.items() if says]


def foresee(declaration: Declaration, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer {"ask": "requires", "predict", "loads" or "idle", "params", "hardware", "model", "work"} with {"answer"}.

    The answer is the list of what is unmet, the prediction as JSON, the list of modules, or whether it has nothing to
    do; the last two go without hardware. Raises RecipeError X316 for options that the operator does not take, StepError
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
        made = declaration.loads(params) if asked == "loads" else declaration.idle(params, model)  # type: ignore[arg-type]
    if not _IS[asked](made):
        message = f"`{asked}` of {request['operator']} answers with {type(made).__name__}"
        raise StepError(Diagnostic("X316", message, help=f"return {_DUE[asked]}"))
    return {"answer": plain(made)}


def _are_texts(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(isinstance(text, str) for text in value)


# What each question must be answered with.
_IS: Mapping[str, Callable[[Any], bool]] = {
    "requires": _are_texts,
    "predict": lambda value: isinstance(value, Prediction),
    "loads": _are_texts,
    "idle": lambda value: isinstance(value, bool),
}
_DUE = {
    "requires": "a tuple of sentences, () where nothing is unmet",
    "predict": "titrant.Prediction(seconds=…, peak_bytes=…, output_bytes=…)",
    "loads": "a tuple of names of modules",
    "idle": "True where it would give the model back as it is, else False",
}


def _params(declaration: Declaration, request: Mapping[str, Any]) -> Any:
    try:
        return declaration.params.model_validate_json(json.dumps(request["params"]))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = ".".join(str(part) for part in first["loc"])
        message = f"{request['operator']} does not take its option {option}: {first['msg']}"
        key = f"quantization.options.{option}"
        raise RecipeError(Diagnostic("X316", message, help="see the operator's parameter model", key=key)) from None
