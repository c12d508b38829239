"""Summarize the parameters of a model: counts, shapes, bytes, statistics, and whether the values are sound."""

from typing import Any

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import basis_of
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

# Statistics read every value a few times; a line of the table.
_BYTES_PER_SECOND, _LINE_BYTES = 1e9, 260


class SummaryParams(Params):
    """There is nothing to choose."""


def predict(
    params: SummaryParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Read every weight, one parameter at a time."""
    if model is None:
        return Prediction()
    largest = max((layer.weight_bytes for layer in model.layers), default=0)
    seconds = 0.01 + model.weight_bytes / _BYTES_PER_SECOND
    size = _LINE_BYTES * (2 * len(model.layers) + 2)
    return Prediction(seconds=seconds, peak_bytes=2 * largest, output_bytes=size, basis=basis_of(hardware))


@operator(
    "inspect.summary",
    version=1,
    family="inspect",
    params=SummaryParams,
    inputs={"model": "torch"},
    outputs={"seen": "value"},
    determinism="tolerance",
    predict=predict,
    libraries=("torch",),
    user_code=True,
)
def inspect_summary(params: SummaryParams, context: Context, *, model: Any) -> dict[str, Any]:
    """List each parameter of a model with its statistics, and whether it holds NaN or infinity.

    Helps when: somebody asks what is in a model, which weights are tied, and whether all of them are sound.
    Inputs:     model - any nn.Module; its parameters and saved buffers are read, one at a time
    Outputs:    seen - {"lines": [{name, shape, dtype, bytes, count, trainable, tied, mean, deviation, minimum, maximum,
                nan, infinite}], "counts": {total, trainable, bytes}}; statistics are over finite values, null where
                there are none
    Fails:      never
    Cost:       a few passes over the weights; peak memory is two copies of the largest
    """
    from titrant.runtime.instruments.summary import summary
    from titrant.schema.values.canonical import plain

    table = summary(model.module)
    context.measure("parameters", table.counts.total)
    return {"seen": plain(table)}
