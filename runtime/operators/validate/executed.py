"""Read back from an engine in which precision it runs each layer of a file, beside the one that was planned."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field

from titrant.runtime.backends import backend
from titrant.runtime.backends.backend import ExecutedLayer, run_cost
from titrant.runtime.catalog import ANY_MODEL, Context, Params, Port, operator
from titrant.runtime.cost.forward import BASE_SECONDS, opened_bytes, opening_seconds, speed_of
from titrant.runtime.operators.validate.predict import PredictParams, loads, requires
from titrant.schema.cost import NOTHING_KNOWN, ModelUse, Work
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.record import ENGINES_CHOICE, UNKNOWN, LayerPrecision, is_unlike
from titrant.schema.values.layout import CHANNELS_LAST

_LAYER_BYTES, _FIXED_BYTES = 90, 60


class ExecutedParams(Params):
    """Where the model runs, and the layers of the original with what is planned for each."""

    engine: str = Field(description="the engine that runs the file, such as torch or onnxruntime")
    threads: int = Field(1, ge=1, description="threads of the engine")
    layers: tuple[str, ...] = Field((), description="the original's layers with a precision of their own, by name")
    planned: tuple[str, ...] = Field((), description="the precision planned for each of them, in their order")
    custom: tuple[str, ...] = Field((), description="those that a file need not have: weights of the user's own module")
    laid_out: tuple[str, ...] = Field(
        (), exclude_if=lambda value: not value, description="those whose weights shall lie channels last in memory"
    )


def _needs(params: ExecutedParams, hardware: Hardware, model: ModelFacts | None) -> Any:
    return requires(PredictParams(engine=params.engine), hardware, model)


def _loads(params: ExecutedParams) -> tuple[str, ...]:
    return loads(PredictParams(engine=params.engine))


def predict(
    params: ExecutedParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Open the file once, and write down a line for each layer."""
    if model is None:
        return Prediction()
    use, speed = work.models.get("model", ModelUse()), speed_of(hardware, params.threads, "cpu")
    cost = run_cost(params.engine, use.kind)
    # The graph that the engine made of the file is read as well.
    seconds = BASE_SECONDS + 2 * opening_seconds(model, use, cost, speed)
    size = _FIXED_BYTES + _LAYER_BYTES * len(params.layers)
    peak = 2 * opened_bytes(model, use, cost)
    return Prediction(seconds=seconds, peak_bytes=peak, output_bytes=size, basis=speed.basis)


@operator(
    "validate.executed",
    version=2,
    family="validate",
    params=ExecutedParams,
    inputs={
        "model": ANY_MODEL,
        "allocation": Port(("value",), optional=True),
        "removed": Port(("value",), optional=True),
    },
    outputs={"executed": "value"},
    determinism="exact",
    requires=_needs,
    predict=predict,
    loads=_loads,
    libraries=("torch", "onnxruntime", "numpy"),
    engines=("engine",),
    user_code=True,
)
def validate_executed(
    params: ExecutedParams,
    context: Context,
    *,
    model: Any,
    allocation: Mapping[str, Any] | None = None,
    removed: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Ask the engine in which precision it runs each layer of a file, and how it lies, and set that beside the plan.

    Helps when: always; an engine may quantize again what a file leaves in float, or compute "fp32" in fewer bits.
    Inputs:     model - a file or live module that the engine loads; allocation - the layers that a mixture leaves in
                fp32, planned so whatever the parameters say; removed - the blocks that were taken out with their
                layers
    Outputs:    executed - {"layers": [{"name", "planned", "executed", "engine_op"}], "untold": why the engine could
                not tell, or ""}; a layer that it runs in two ways has a line for each, "executed" is "unknown" for one
                that was not found
    Fails:      never: what an engine cannot tell leaves the contract's row open
    Cost:       opening the file once more, with the engine's own optimization
    """
    params = _there(params, removed)
    try:
        ran = backend.get(params.engine).executed(model, threads=params.threads, layers=params.layers)
    except StepError as error:
        return {"executed": {"layers": [], "untold": error.diagnostics[0].message}}
    from titrant.schema.values.canonical import plain

    rows = tuple(beside(params, ran, frozenset(allocation["leave"] if allocation else ())))
    context.measure("unlike_planned", sum(map(is_unlike, rows)))
    return {"executed": {"layers": plain(rows), "untold": ""}}


def _there(params: ExecutedParams, removed: Mapping[str, Any] | None) -> ExecutedParams:
    """Leave out the layers of blocks that were removed."""
    gone = tuple(f"{block}." for block in (removed or {}).get("blocks", ()))
    if not gone:
        return params
    kept = [place for place, name in enumerate(params.layers) if not name.startswith(gone)]
    layers, planned = (tuple(values[place] for place in kept) for values in (params.layers, params.planned))
    return params.model_copy(update={"layers": layers, "planned": planned})


def beside(
    params: ExecutedParams, ran: Sequence[ExecutedLayer], left: frozenset[str] = frozenset()
) -> Iterator[LayerPrecision]:
    """Set what ran beside what was planned: every layer in the original's order, then what is none of them."""
    planned = dict(zip(params.layers, params.planned, strict=True))
    laid_out = {name for name in params.laid_out if planned.get(name) != ENGINES_CHOICE}
    by_name: dict[str, dict[tuple[str, str], None]] = {}
    for layer in ran:
        lies = f"{layer.precision}, {layer.layout or 'contiguous'}" if layer.name in laid_out else layer.precision
        by_name.setdefault(layer.name, {})[lies, layer.engine_op] = None
    for name, asked in planned.items():
        precision = "fp32" if name in left else asked
        precision = f"{precision}, {CHANNELS_LAST}" if name in laid_out else precision
        for executed, engine_op in by_name.get(name, {}):
            yield LayerPrecision(name, precision, executed, engine_op)
        if name not in by_name and name not in params.custom:
            yield LayerPrecision(name, precision, UNKNOWN, "")
    for executed, engine_op in by_name.get("", {}):
        yield LayerPrecision("", ENGINES_CHOICE, executed, engine_op)
