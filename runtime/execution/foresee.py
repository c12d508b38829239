"""Ask a user's operator what it needs and what it would cost: its own code, so in the worker only."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from titrant.runtime.catalog import Declaration, no_requirement, unknown_cost
from titrant.schema.canonical import plain
from titrant.schema.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.read_back import read_back
from titrant.schema.work import Work


def foretells(declaration: Declaration) -> list[str]:
    """Name what an operator says of itself before it runs: "requires", "predict"."""
    own = {"requires": declaration.requires is not no_requirement, "predict": declaration.predict is not unknown_cost}
    return [name for name, says in own.items() if says]


def foresee(declaration: Declaration, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer {"ask": "requires" or "predict", "params", "hardware", "model", "work"} with {"answer"}.

    The answer is the list of what is unmet, or the prediction as JSON. Raises RecipeError X316 for options that the
    operator does not take, StepError X316 where it answers with something else than it must.
    """
    name = request["operator"]
    params = _params(declaration, request)
    hardware = read_back(Hardware, request["hardware"])
    model = None if request["model"] is None else read_back(ModelFacts, request["model"])
    if request["ask"] == "requires":
        unmet: Any = declaration.requires(params, hardware, model)
        if isinstance(unmet, (tuple, list)) and all(isinstance(sentence, str) for sentence in unmet):
            return {"answer": list(unmet)}
        raise _wrong(name, "requires", unmet, "a tuple of sentences, () where nothing is unmet")
    made: Any = declaration.predict(params, hardware, model, read_back(Work, request["work"]))
    if not isinstance(made, Prediction):
        raise _wrong(name, "predict", made, "titrant.Prediction(seconds=…, peak_bytes=…, output_bytes=…)")
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


def _wrong(operator: str, asked: str, given: Any, due: str) -> StepError:
    message = f"`{asked}` of {operator} answers with {type(given).__name__}"
    return StepError(Diagnostic("X316", message, help=f"return {due}"))
