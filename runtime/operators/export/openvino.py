"""Convert an ONNX file to an OpenVINO IR and compare the answers of both."""

from typing import Any

from pydantic import Field

from titrant.runtime.backends.backend import run_cost
from titrant.runtime.backends.openvino.sizes import ir_bytes, not_installed
from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import forward_seconds, modelled, speed_of
from titrant.runtime.cost.sizes import missing
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

# Reading, simplifying, writing and opening both files: at all, for each layer, and for their weights.
_SECONDS, _LAYER_SECONDS = 0.08, 0.004
_WRITTEN_BYTES_PER_SECOND = 60e6
# Batches of activations that are held while the example rows are answered twice.
_HELD = 2.6


class ExportOpenvinoParams(Params):
    """How far answers may move."""

    tolerance: float = Field(
        1e-4, gt=0, description="largest difference to onnxruntime's answers, relative to the largest answer"
    )
    rows: int = Field(32, ge=1, description="example rows that are compared, at most")


def requires(params: ExportOpenvinoParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need openvino to convert, and onnx and onnxruntime to compare."""
    return (*not_installed(hardware, "openvino"), *missing(hardware, "onnx", "onnxruntime"))


def predict(
    params: ExportOpenvinoParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the weights and add what the description of a graph spends."""
    if model is None:
        return Prediction()
    speed = speed_of(hardware, work.threads)
    rows = min(params.rows, work.rows.get("example", params.rows))
    answers = sum(
        forward_seconds(model, speed, run_cost(engine, kind), rows)
        for engine, kind in (("openvino", "ir"), ("onnxruntime", "onnx"))
    )
    seconds = _SECONDS + _LAYER_SECONDS * len(model.layers) + model.weight_bytes / _WRITTEN_BYTES_PER_SECOND + answers
    size = ir_bytes(model)
    peak = 5 * size + int(_HELD * (model.activation_bytes or 0) * rows)
    return modelled(hardware, seconds, peak, size)


@operator(
    "export.openvino",
    version=1,
    family="export",
    params=ExportOpenvinoParams,
    inputs={"model": "onnx", "example": "rows"},
    outputs={"model": "ir", "parity": "value"},
    requires=requires,
    predict=predict,
    loads=("titrant.runtime.backends.openvino.convert", "onnx", "onnxruntime"),
    costless=("tolerance",),
    libraries=("openvino", "onnx", "onnxruntime", "numpy"),
)
def export_openvino(params: ExportOpenvinoParams, context: Context, *, model: Any, example: Any) -> dict[str, Any]:
    """Convert an ONNX file to OpenVINO's own form, and compare its answers with onnxruntime's.

    Helps when: the model shall run on Intel's processors: OpenVINO's kernels for convolutions and larger batches are
                often the fastest there.
    Inputs:     model - an ONNX file; example - rows whose arrays it takes by name
    Outputs:    model - model.xml and model.bin, simplified, inputs and outputs named as in the ONNX file, the same
                bytes every time. The graph says in which precision it is to run (f32); OpenVINO reads that only where
                it is asked to, as the shown code does. parity - largest difference over the example rows
    Fails:      StepError X250 when OpenVINO cannot take over the graph, naming the operation; X208 when answers differ
                beyond `tolerance`
    Cost:       one read and write of the file, and two passes over the compared rows
    """
    from titrant.runtime.backends.openvino.convert import converted, parity_of, write_ir
    from titrant.runtime.backends.session import check_parity

    graph, source = converted(model.path)
    written = write_ir(graph, source, context.scratch / "ir")
    parity = check_parity(
        parity_of(written, model, example, params.rows, context.threads), params.tolerance, "OpenVINO"
    )
    context.measure("parity_relative", parity["relative"])
    return {"model": written, "parity": parity}
