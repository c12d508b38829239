"""Export a model to ONNX."""

from typing import Any

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.forward_cost import forward_seconds, modelled, speed_of
from titrant.runtime.installed import missing
from titrant.runtime.sizes import onnx_bytes
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.work import NOTHING_KNOWN, Work

# The operator sets that torch's tracing exporter writes; the lowest in which quantization has a scale a channel.
LOWEST_OPSET, HIGHEST_OPSET = 13, 20


# Tracing, checking and opening a graph: at all, and for each layer; writing, folding and comparing the weights.
_SECONDS, _LAYER_SECONDS = 0.1, 0.004
_WRITTEN_BYTES_PER_SECOND = 40e6
_TRACER_BYTES = 25 << 20
# Batches of activations that are held while the example rows are traced and answered twice.
_HELD = 2.6


class ExportOnnxParams(Params):
    """The operator set, and how far answers may move."""

    opset: int | None = Field(
        None, ge=1, description="ONNX operator set; none: the lowest from 17 that can express the model"
    )
    tolerance: float = Field(
        1e-4, gt=0, description="largest difference to the torch answers, relative to the largest answer"
    )
    rows: int = Field(32, ge=1, description="example rows that are compared, at most")


def requires(params: ExportOnnxParams, hardware: Hardware, model: ModelFacts | None) -> tuple[str, ...]:
    """Need torch to export, onnx to check, onnxruntime to compare, and an operator set that can be written."""
    unmet = missing(hardware, "torch", "onnx", "onnxruntime")
    if params.opset is None or LOWEST_OPSET <= params.opset <= HIGHEST_OPSET:
        return unmet
    remedy = f"set it to a number from {LOWEST_OPSET} to {HIGHEST_OPSET}, or leave it out"
    return (*unmet, f"ONNX opset {params.opset} is not one that torch writes: {remedy}")


def predict(
    params: ExportOnnxParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the weights and add what a graph spends on names."""
    if model is None:
        return Prediction()
    speed = speed_of(hardware, work.threads)
    rows = min(params.rows, work.rows.get("example", params.rows))
    answers = forward_seconds(model, speed, "torch", rows) + forward_seconds(model, speed, "onnx", rows)
    seconds = _SECONDS + _LAYER_SECONDS * len(model.layers) + model.weight_bytes / _WRITTEN_BYTES_PER_SECOND + answers
    size = onnx_bytes(model)
    peak = 5 * size + int(_HELD * (model.activation_bytes or 0) * rows) + _TRACER_BYTES
    return modelled(hardware, seconds, peak, size)


@operator(
    "export.onnx",
    version=1,
    family="export",
    params=ExportOnnxParams,
    inputs={"model": "torch", "example": "rows"},
    outputs={"model": "onnx", "parity": "value"},
    requires=requires,
    predict=predict,
    loads=("torch.onnx", "onnx", "onnxruntime", "titrant.runtime.torch.onnx_export"),
    costless=("tolerance",),
    libraries=("torch", "onnx", "onnxruntime"),
    user_code=True,
)
def export_onnx(params: ExportOnnxParams, context: Context, *, model: Any, example: Any) -> dict[str, Any]:
    """Trace the model into an ONNX file with a free batch size, and compare the file's answers with the module's.

    Helps when: the model shall run without Python, or in an engine that is faster than eager torch.
    Inputs:     model - a module without branches on tensor values; example - rows whose arrays it takes by name
    Outputs:    model - one file without external data, named inputs and outputs, batch normalization folded, the same
                bytes every time; parity - largest absolute and relative difference over the example rows
    Fails:      StepError when the operator set is not one that can be written (names the range), when an operation has
                no ONNX form, when the file is over 2 GB, or when answers differ beyond `tolerance`;
                PreconditionError when the forward takes decisions on tensor values
    Cost:       one traced forward pass and one forward pass in either engine; peak memory is four times the weights
    """
    from titrant.runtime.torch.onnx_export import export

    exported, opset, parity = export(model, example, params, context)
    context.measure("opset", opset)
    context.measure("parity_relative", parity["relative"])
    return {"model": exported, "parity": parity}
