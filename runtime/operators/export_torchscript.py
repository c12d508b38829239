"""Export a model to TorchScript."""

from typing import Any

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.installed import missing
from titrant.runtime.sizes import torchscript_bytes
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction


class ExportTorchScriptParams(Params):
    """How far answers may move."""

    tolerance: float = Field(
        1e-4, gt=0, description="largest difference to the torch answers, relative to the largest answer"
    )
    rows: int = Field(32, ge=1, description="example rows that are compared, at most")


def requires(params: ExportTorchScriptParams, hardware: Hardware, model: ModelFacts | None) -> tuple[str, ...]:
    """Need torch."""
    return missing(hardware, "torch")


def predict(params: ExportTorchScriptParams, hardware: Hardware, model: ModelFacts | None) -> Prediction:
    """Count the weights and add what the code and the alignment of constants spend."""
    if model is None:
        return Prediction()
    seconds = 0.3 + 0.01 * len(model.layers) + model.weight_bytes / 200e6
    size = torchscript_bytes(model)
    return Prediction(seconds=seconds, peak_bytes=3 * size, output_bytes=size, basis="modelled")


@operator(
    "export.torchscript",
    version=1,
    family="export",
    params=ExportTorchScriptParams,
    inputs={"model": "torch", "example": "rows"},
    outputs={"model": "torchscript", "parity": "value"},
    requires=requires,
    predict=predict,
    libraries=("torch",),
    user_code=True,
)
def export_torchscript(
    params: ExportTorchScriptParams, context: Context, *, model: Any, example: Any
) -> dict[str, Any]:
    """Trace and freeze the model into a TorchScript file, and compare the file's answers with the module's.

    Helps when: the model shall run in libtorch, or in torch without its Python source.
    Inputs:     model - a module without branches on tensor values; example - rows whose arrays it takes by name
    Outputs:    model - one file with a free batch size, weights as constants, no paths of this machine, the same bytes
                every time; parity - largest absolute and relative difference over the example rows
    Fails:      PreconditionError when the forward takes decisions on tensor values; StepError when the trace gives
                other answers than the module, or answers differ beyond `tolerance`
    Cost:       four forward passes of two rows, one of the example rows; peak memory is three times the weights
    """
    from titrant.runtime.torch.script_export import export

    exported, parity = export(model, example, params.tolerance, params.rows, context)
    context.measure("parity_relative", parity["relative"])
    return {"model": exported, "parity": parity}
