"""Take an existing ONNX file as the model."""

from collections.abc import Mapping
from typing import Any

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.data.parameters import File
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction


class ModelLoadOnnxParams(Params):
    """The file."""

    onnx: File


def predict(params: ModelLoadOnnxParams, hardware: Hardware, model: ModelFacts | None) -> Prediction:
    """Count the weights, which are nearly the whole file."""
    size = model.weight_bytes if model else 0
    return Prediction(seconds=0.7 + size / 500e6, peak_bytes=3 * size, output_bytes=size, basis="modelled")


@operator(
    "model.load_onnx",
    version=1,
    family="model",
    params=ModelLoadOnnxParams,
    inputs={},
    outputs={"model": "onnx"},
    predict=predict,
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
