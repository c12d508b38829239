"""Run one operator on live values, without a recipe: on a module, a file or arrays that somebody holds in memory."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.api import Listener, check_layers, check_params, check_ports, declaration_of, silent
from titrant.runtime.catalog import Applied, Declaration, Params
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError

if TYPE_CHECKING:
    from titrant.runtime.values import Rows

# The input that a model alone is for.
_MODEL = "model"


def apply(
    operator: str | Callable[..., Mapping[str, Any]],
    inputs: Any = None,
    params: Mapping[str, Any] | Params | None = None,
    *,
    rows: "Mapping[str, Any] | tuple[Mapping[str, Any], Any] | Rows | None" = None,
    seed: int = 42,
    threads: int = 1,
    scratch: Path | None = None,
    listen: Listener = silent,
) -> Applied:
    """Run an operator by name (`quantize.ort_static`, `module:name`) or as the decorated function itself.

    `inputs` is the model that it takes, or whatever it takes first, alone, or all of its inputs as a mapping of port →
    value. A value is what another operator gave; a `torch.nn.Module`; the path of a model's file (.onnx, .pt2,
    TorchScript, OpenVINO's .xml); an ONNX model, torch.export program or TorchScript module in memory; rows as arrays
    or tensors by name, `{"x": array}`, or with labels `({"x": array}, labels)`. `rows` serve the one port of rows that
    is needed, and show what a module takes; with several ports each is named in the mapping, and a module can have
    rows of its own, `(module, {"x": array})`.

    What a recipe checks is checked: parameters, kinds, and what the operator needs of this machine and this model. A
    model of another kind is converted first; `converted` of the result says by which operators. A module stays as it
    is, on its device; what another operator gave and this one consumes must not be used afterwards. Files that outputs
    refer to are in `scratch`, by default a new temporary folder that goes when this process ends.

    Raises RecipeError X230 for an unknown operator, X231 for parameters and X232 for inputs that do not fit,
    InfeasibleError X373 for what is unmet, and what the operators themselves raise.
    """
    from titrant.api.live.convert import Setting, fitted
    from titrant.api.live.values import live_values
    from titrant.compiler.machine.detect import detect
    from titrant.runtime.api import apply as apply_operator
    from titrant.runtime.api import passing_folder

    declaration = declaration_of(operator)
    checked = check_params(declaration, {} if params is None else params)
    ports = _by_port(declaration, inputs)
    folder = passing_folder() if scratch is None else scratch
    try:
        live = live_values(declaration, ports, rows, folder)
        check_ports(declaration, live.values)
        check_layers(declaration, checked, live.values)
        values, converted = fitted(declaration, checked, live, Setting(seed, threads, folder, detect()))
        applied = apply_operator(operator, values, checked, seed=seed, threads=threads, scratch=folder, listen=listen)
    except BaseException:
        if scratch is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return replace(applied, converted=converted)


def _by_port(declaration: Declaration, inputs: Any) -> Mapping[str, Any]:
    """Return inputs by port: one that is given alone is the model, or else the first; RecipeError X232 for none."""
    if isinstance(inputs, Mapping) or inputs is None:
        return inputs or {}
    if not declaration.inputs:
        message = f"{declaration.name} takes no inputs, and is given a {type(inputs).__name__}"
        raise RecipeError(Diagnostic("X232", message, help="its parameters say what it reads"))
    return {_MODEL if _MODEL in declaration.inputs else next(iter(declaration.inputs)): inputs}
