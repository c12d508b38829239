"""Summarize a model: the parameters with their statistics, whether they are sound, and the architecture."""

from typing import Any

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import basis_of
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

# Statistics read every value a few times; a line of the table, an operation of the drawing; what following it takes.
_BYTES_PER_SECOND, _LINE_BYTES, _OPERATION_BYTES, _SECONDS = 1e9, 260, 220, 0.1


class SummaryParams(Params):
    """There is nothing to choose."""


def predict(
    params: SummaryParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Read every weight, one parameter at a time, and follow the model once."""
    if model is None:
        return Prediction()
    largest = max((layer.weight_bytes for layer in model.layers), default=0)
    seconds = _SECONDS + model.weight_bytes / _BYTES_PER_SECOND
    size = (2 * _LINE_BYTES + _OPERATION_BYTES) * (len(model.layers) + 1)
    return Prediction(seconds=seconds, peak_bytes=2 * largest, output_bytes=size, basis=basis_of(hardware))


@operator(
    "inspect.summary",
    version=2,
    family="inspect",
    params=SummaryParams,
    inputs={"model": ("torch", "onnx", "torchscript", "exported")},
    outputs={"seen": "value"},
    determinism="tolerance",
    predict=predict,
    libraries=("torch", "onnx", "numpy"),
    user_code=True,
)
def inspect_summary(params: SummaryParams, context: Context, *, model: Any) -> dict[str, Any]:
    """List each parameter of a model with its statistics, whether it holds NaN or infinity, and how layers follow.

    Helps when: somebody asks what is in a model, which weights are tied, and whether all of them are sound.
    Inputs:     model - any nn.Module, or an ONNX, TorchScript or torch.export file; its parameters and saved buffers
                are read, one at a time
    Outputs:    seen - {"lines": [{name, shape, dtype, bytes, count, trainable, tied, mean, deviation, minimum, maximum,
                nan, infinite}], "counts": {total, trainable, bytes}, "architecture": {name, operations, shapes, ...} or
                null, "undrawn": why there is none}; statistics are over finite values, null where there are none
    Fails:      StepError where a file cannot be read; a model that cannot be followed is only not drawn
    Cost:       a few passes over the weights, and one call without values; peak memory is two copies of the largest
    """
    from titrant.runtime.instruments.summary import summary_of_value
    from titrant.schema.values.canonical import plain

    table = summary_of_value(model)
    context.measure("parameters", table.counts.total)
    architecture, undrawn = _architecture(model)
    return {"seen": {**plain(table), "architecture": architecture, "undrawn": undrawn}}


def _architecture(model: Any) -> tuple[dict[str, Any] | None, str]:
    """Return the architecture in plain values, or why there is none."""
    from titrant.runtime.instruments.architecture.readers.handed_on import MOST_OPERATIONS, value_architecture
    from titrant.runtime.user_code import reason_of
    from titrant.schema.diagnostics.diagnostics import RecipeError, StepError
    from titrant.schema.values.canonical import without_defaults

    try:
        drawn = value_architecture(model)
    except RecipeError as error:
        return None, error.diagnostics[0].message
    except StepError as error:
        return None, reason_of(error)
    count = len(drawn.operations)
    if count > MOST_OPERATIONS:
        advice = "titrant inspect MODEL --out model.html draws it"
        return None, f"it has {count:,} operations, and a report draws up to {MOST_OPERATIONS:,}; {advice}"
    return without_defaults(drawn), ""
