"""Put an ONNX file's weights into a file of their own beside it."""

from typing import Any

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import modelled
from titrant.runtime.cost.sizes import missing
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

_SECONDS, _BYTES_PER_SECOND = 0.05, 200e6


class ExternalDataParams(Params):
    """Nothing to choose."""


def requires(params: ExternalDataParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need onnx to read and write."""
    return missing(hardware, "onnx")


def predict(
    params: ExternalDataParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the file that goes in."""
    if model is None:
        return Prediction()
    use = work.models.get("model")
    size = use.bytes if use is not None and use.bytes is not None else model.weight_bytes
    return modelled(hardware, _SECONDS + size / _BYTES_PER_SECOND, 3 * size, size)


@operator(
    "export.external_data",
    version=1,
    family="export",
    params=ExternalDataParams,
    inputs={"model": "onnx"},
    outputs={"model": "onnx"},
    requires=requires,
    predict=predict,
    loads=("onnx", "titrant.runtime.backends.onnxruntime.graph"),
    libraries=("onnx",),
)
def export_external_data(params: ExternalDataParams, context: Context, *, model: Any) -> dict[str, Any]:
    """Write the graph and its weights apart: `model.onnx`, and `model.onnx.data`, which it names.

    Helps when: the loader maps weights into memory, or a tool cannot read a file above 2 GB whole.
    Inputs:     model - an ONNX file
    Outputs:    model - the same graph; constants of 1 KiB and more stand in `model.onnx.data`, which belongs beside it
    Fails:      StepError X209 for a graph that is not valid ONNX
    Cost:       one read and one write of the file
    """
    from titrant.runtime.backends.onnxruntime.graph import read, write

    return {"model": write(read(model.path), context.scratch / "model.onnx", external=True)}
