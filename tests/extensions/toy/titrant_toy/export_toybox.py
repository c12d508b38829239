"""Pack an ONNX file into a toy box."""

from titrant.runtime.catalog import Params, operator
from titrant.runtime.cost.forward import modelled
from titrant.runtime.cost.sizes import missing, onnx_bytes
from titrant.schema.cost import NOTHING_KNOWN
from titrant.schema.plan import Prediction


class ExportToyboxParams(Params):
    """Nothing to choose."""


def requires(params, hardware, model):
    """Need the toy itself."""
    return missing(hardware, "titrant_toy", "onnx")


def predict(params, hardware, model, work=NOTHING_KNOWN):
    """Weights hardly compress."""
    if model is None:
        return Prediction()
    return modelled(hardware, 0.02, 3 * model.weight_bytes, onnx_bytes(model))


@operator(
    "export.toybox",
    version=1,
    family="export",
    params=ExportToyboxParams,
    inputs={"model": "onnx"},
    outputs={"model": "toybox"},
    requires=requires,
    predict=predict,
    loads=("onnx", "titrant_toy.engine"),
    libraries=("onnx",),
)
def export_toybox(params, context, *, model):
    """Compress the graph.

    Helps when: never; it is a toy.
    Inputs:     model - an ONNX file
    Outputs:    model - a toy box with the same graph
    Fails:      StepError when the file cannot be read
    Cost:       one pass over the weights
    """
    import onnx

    from titrant_toy.engine import write

    return {"model": write(onnx.load(model.path), context.scratch / "model.toybox")}
