"""Prune a live model by any method that a recipe can name."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError

if TYPE_CHECKING:
    import torch

    from titrant.runtime.catalog import Declaration
    from titrant.runtime.values import Rows

# Rows that show what a module takes and gives.
_SHOWN = 2


@dataclass(frozen=True)
class PruneResult:
    """A pruned model in evaluation mode, on the device of the one that was given, and what was done to it.

    `summary` is what the method says of itself: of one that removes what it removed and what it left whole and why, of
    one that masks the zeros of each layer. `measurements` always hold `parameters_removed` or `weights_masked`, shares
    of the parameters.
    """

    model: "torch.nn.Module"
    summary: Mapping[str, Any]
    measurements: Mapping[str, float]


def prune(
    model: "torch.nn.Module",
    rows: "Mapping[str, Any] | tuple[Mapping[str, Any], Any]",
    *,
    tuning: "Mapping[str, Any] | tuple[Mapping[str, Any], Any] | None" = None,
    method: str = "structured",
    sparsity: float | None = None,
    skip: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    seed: int = 42,
    threads: int = 1,
) -> PruneResult:
    """Return a pruned copy of a model; the model itself stays as it is.

    `rows` are arrays or tensors by the names of the forward's arguments, `{"x": array}`, or with labels
    `({"x": array}, labels)`; what a removal does to the answers is measured on `tuning` rows, which are the same where
    they are left out. `method` is what `reduction.pruning.method` names: structured, blocks, magnitude, n_m,
    activation, gradual. `sparsity` is the share that goes, the method's own where it is None, `skip` are patterns of
    module names left as they are, `options` are further parameters (`titrant show operators prune.structured`).

    Raises RecipeError X230 for a method that is not there, X231 for options, X232 for rows that do not fit, X675
    for a module without values yet, and
    what the operator raises where it cannot prune this model.
    """
    import torch

    from titrant.api.live.values import live_model, live_rows
    from titrant.runtime.api import apply, check_params, declaration_of
    from titrant.runtime.backends.torch.call import refuse_empty

    declaration = declaration_of(f"prune.{method}")
    given = {**(options or {}), **({} if sparsity is None else {"sparsity": sparsity})}
    params = check_params(declaration, given | ({"skip": tuple(skip)} if skip else {}))
    shown_rows = live_rows("train", rows)
    judged = shown_rows if tuning is None else live_rows("tuning", tuning)
    if not isinstance(model, torch.nn.Module):
        message = f"a {type(model).__name__} cannot be pruned here"
        raise RecipeError(Diagnostic("X232", message, help="give a torch.nn.Module; a recipe prunes what it trains"))
    refuse_empty(model)
    place = next((weight.device for weight in model.parameters()), None)
    module = model if place is None or place.type == "cpu" else copy.deepcopy(model).cpu()
    shown = {name: array[:_SHOWN] for name, array in shown_rows.inputs.items()}
    taken = copy.deepcopy(module) if "model" in declaration.consumes else module
    values = {"model": live_model(taken, shown), **_rows(declaration, params.model_dump(), shown_rows, judged)}
    applied = apply(declaration.name, values, params, seed=seed, threads=threads)
    pruned = applied.outputs["model"].module.eval()
    summaries = [value for port, value in applied.outputs.items() if port in ("removed", "masked")]
    said = summaries[0] if summaries else {}
    return PruneResult(pruned if place is None else pruned.to(place), said, applied.measurements)


def _rows(declaration: "Declaration", params: Mapping[str, Any], rows: "Rows", judged: "Rows") -> "dict[str, Rows]":
    """Return the rows of each port that is read: those that judge at `tuning`, the others elsewhere."""
    ports = {name: port for name, port in declaration.inputs.items() if "rows" in port.kinds and port.is_read(params)}
    return {name: judged if name == "tuning" else rows for name in ports}
