"""The parameters of model.load and model.load_onnx, for inspection and for the plan alike."""

from collections.abc import Mapping
from typing import Any

from titrant.compiler.bound import BoundRecipe
from titrant.compiler.lowering.data import Files, model_inputs
from titrant.schema.facts import ModelFacts, TensorSpec

INCLUDED = "included"
# What the files beside an ONNX file, which hold its weights, are called among the recipe's files.
ONNX_PARTS = "model.onnx.parts."


def model_load(
    bound: BoundRecipe,
    files: Files,
    args: Mapping[str, Any] | None = None,
    facts: ModelFacts | None = None,
) -> tuple[str, dict[str, Any]]:
    """Return the operator that loads the original, and its parameters.

    Inspection gives neither `args` (the recipe's, with `auto` still in them) nor `facts` (what the recipe says of the
    inputs); a plan gives the resolved arguments and the inputs and outputs that were found.
    """
    model = bound.recipe.model
    if model.onnx is not None:
        parts = [file.as_param() for key, file in files.items() if key.startswith(ONNX_PARTS)]
        return "model.load_onnx", {"onnx": files["model.onnx"].as_param(), **({"parts": parts} if parts else {})}
    params: dict[str, Any] = {
        "factory": model.factory,
        "args": dict(model.args if args is None else args),
        "weights": _weights(bound, files),
        "inputs": model_inputs(bound.recipe) if facts is None else [_spec(spec) for spec in facts.inputs],
    }
    if facts is not None:
        params["outputs"] = [_spec(spec) for spec in facts.outputs]
    return "model.load", params


def _weights(bound: BoundRecipe, files: Files) -> dict[str, str] | str | None:
    written = bound.recipe.model.weights
    return files["model.weights"].as_param() if written not in (None, INCLUDED) else written


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "shape": list(spec.shape), "dtype": spec.dtype}
