"""Export a model by torch.export."""

from typing import Any

from pydantic import Field

from titrant.runtime.backends.backend import run_cost
from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import forward_seconds, modelled, speed_of
from titrant.runtime.cost.sizes import exported_bytes, missing
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

# Exporting, writing and loading: at all, and for each layer; writing and comparing the weights.
_SECONDS, _LAYER_SECONDS = 0.4, 0.03
_WRITTEN_BYTES_PER_SECOND = 100e6
# What torch.export leaves behind when it is first used.
_EXPORTER_BYTES = 60 << 20
# Batches of activations that are held while the example rows are answered twice.
_HELD = 5


class ExportExportedParams(Params):
    """How far answers may move."""

    tolerance: float = Field(
        1e-4,
        gt=0,
        description="largest difference to the torch answers, relative to the largest answer; of a model in 16 bits "
        "four roundings of its numbers are allowed",
    )
    rows: int = Field(32, ge=1, description="example rows that are compared, at most")


def requires(params: ExportExportedParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need torch, and a forward that decides on nothing that it computes."""
    return missing(hardware, "torch")


def predict(
    params: ExportExportedParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the weights and add what the graph's description spends on each layer."""
    if model is None:
        return Prediction()
    speed = speed_of(hardware, work.threads)
    rows = min(params.rows, work.rows.get("example", params.rows))
    answers = 2 * forward_seconds(model, speed, run_cost("torch", "torch"), rows)
    seconds = _SECONDS + _LAYER_SECONDS * len(model.layers) + model.weight_bytes / _WRITTEN_BYTES_PER_SECOND + answers
    use = work.models.get("model")
    halved = use is not None and use.arithmetic is not None and use.arithmetic.half
    size = exported_bytes(model, halved=halved)
    peak = 4 * size + _HELD * (model.activation_bytes or 0) * rows + _EXPORTER_BYTES
    return modelled(hardware, seconds, peak, size)


@operator(
    "export.exported",
    version=2,
    family="export",
    params=ExportExportedParams,
    inputs={"model": "torch", "example": "rows"},
    outputs={"model": "exported", "parity": "value"},
    requires=requires,
    predict=predict,
    loads=("torch", "torch.export", "torch._dynamo", "titrant.runtime.backends.torch.program.export"),
    costless=("tolerance",),
    libraries=("torch",),
    user_code=True,
)
def export_exported(params: ExportExportedParams, context: Context, *, model: Any, example: Any) -> dict[str, Any]:
    """Export the model by torch.export into a .pt2 file, and compare the file's answers with the module's.

    Helps when: something downstream takes torch.export files: AOTInductor, ExecuTorch, another converter.
    Inputs:     model - a module that decides on no value that it computes; example - rows whose arrays it takes by name
    Outputs:    model - one file with a free batch size where the model allows one, else of one row, without rows and
                paths, the same bytes every time; parity - largest absolute and relative difference over the example
                rows, and over the first of them alone
    Fails:      PreconditionError when torch.export cannot follow the forward; StepError when answers differ beyond
                `tolerance`
    Cost:       half a second and more to export; peak memory is four times the weights
    """
    from titrant.runtime.backends.torch.program.export import export
    from titrant.runtime.operators.model.fold import with_plain_weights

    exported, parity = export(with_plain_weights(model), example, params.tolerance, params.rows, context)
    context.measure("parity_relative", parity["relative"])
    return {"model": exported, "parity": parity}
