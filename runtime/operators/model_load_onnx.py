"""Take an existing ONNX file as the model."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.data.parameters import File, Files
from titrant.runtime.data_cost import BASE_SECONDS
from titrant.runtime.forward_cost import basis_of
from titrant.runtime.sizes import ONNX_NODE_BYTES
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.work import NOTHING_KNOWN, Work

# Reading, checking, writing and keeping the file.
_READ_BYTES_PER_SECOND = 100e6
# What onnx itself takes when it is first used.
_READER_BYTES = 9 << 20


class ModelLoadOnnxParams(Params):
    """The file, and those beside it that hold its weights."""

    onnx: File
    parts: Files = Field((), description="files outside it that hold weights; it names them itself")


def predict(
    params: ModelLoadOnnxParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the weights, which are nearly the whole file."""
    if model is None:
        return Prediction(seconds=0.1, basis="guess")
    size = model.weight_bytes + ONNX_NODE_BYTES * len(model.layers)
    seconds = 2 * BASE_SECONDS + size / _READ_BYTES_PER_SECOND
    return Prediction(seconds=seconds, peak_bytes=3 * size + _READER_BYTES, output_bytes=size, basis=basis_of(hardware))


@operator(
    "model.load_onnx",
    version=1,
    family="model",
    params=ModelLoadOnnxParams,
    inputs={},
    outputs={"model": "onnx"},
    predict=predict,
    loads=("onnx", "onnxruntime", "titrant.runtime.models.onnx_loading"),
    libraries=("onnx",),
)
def model_load_onnx(params: ModelLoadOnnxParams, context: Context) -> Mapping[str, Any]:
    """Check the file and bring external weights inside it.

    Helps when: the model already is ONNX.
    Inputs:     none
    Outputs:    model - one ONNX file without external data
    Fails:      StepError when the file is not valid ONNX, its external data is missing, or its opset or IR version is
                newer than the installed onnx and onnxruntime know
    Cost:       one read and one write of the file
    """
    from titrant.runtime.models.onnx_loading import load_onnx

    return {"model": load_onnx(params.onnx.path, context.scratch)}
