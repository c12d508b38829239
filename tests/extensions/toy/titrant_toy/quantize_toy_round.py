"""Round the weights of a toy box to 8 bits."""

from titrant.runtime.catalog import Params, operator
from titrant.runtime.cost.forward import modelled
from titrant.runtime.cost.sizes import missing, onnx_bytes, saved_by_int8
from titrant.runtime.method import Method
from titrant.schema.cost import NOTHING_KNOWN, Arithmetic, Unmet
from titrant.schema.plan import Prediction

LAYERS = ("Linear", "Gemm", "MatMul", "Conv", "Conv2d")


class ToyRoundParams(Params):
    """Nothing to choose."""


def requires(params, hardware, model):
    """Need the toy, and something with weights."""
    unmet = missing(hardware, "titrant_toy", "onnx")
    if model is None or any(layer.type in LAYERS for layer in model.layers):
        return unmet
    return (*unmet, Unmet("toy.round rounds products only and the model has none", "leave it out"))


def predict(params, hardware, model, work=NOTHING_KNOWN):
    """Count one byte a weight."""
    if model is None:
        return Prediction()
    return modelled(hardware, 0.03, 4 * model.weight_bytes, onnx_bytes(model) - saved_by_int8(model, *LAYERS))


@operator(
    "quantize.toy_round",
    version=1,
    family="quantize",
    params=ToyRoundParams,
    inputs={"model": "toybox"},
    outputs={"model": "toybox"},
    requires=requires,
    predict=predict,
    loads=("onnx", "titrant_toy.engine"),
    libraries=("onnx", "numpy"),
    method=Method(
        "toy.round",
        takes="toybox",
        engine="toy",
        format="toybox",
        bits=(8,),
        rank=5,
        devices=("cpu", "cuda"),
        arithmetic=Arithmetic(products=0.1, others=0.1),
        layers=LAYERS,
        named="products",
        precision=lambda params: "fp32",  # they are unpacked before they are multiplied
    ),
)
def quantize_toy_round(params, context, *, model):
    """Store every weight of two or more dimensions as int8 with one scale, unpacked before it is multiplied.

    Helps when: never; it is a toy.
    Inputs:     model - a toy box in fp32
    Outputs:    model - a toy box a quarter as large
    Fails:      StepError when the file is no toy box
    Cost:       one pass over the weights
    """
    import numpy as np
    import onnx
    from onnx import numpy_helper

    from titrant_toy.engine import read, write

    graph = read(model.path)
    rounded = 0
    for tensor in list(graph.graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.ndim < 2 or values.dtype != np.float32:
            continue
        scale = np.float32(max(float(np.abs(values).max()), 1e-12) / 127)
        whole = np.clip(np.rint(values / scale), -127, 127).astype(np.int8)
        name = tensor.name
        graph.graph.initializer.remove(tensor)
        graph.graph.initializer.extend(
            [numpy_helper.from_array(whole, f"{name}.int8"), numpy_helper.from_array(scale, f"{name}.scale")]
        )
        unpacked = onnx.helper.make_node("Cast", [f"{name}.int8"], [f"{name}.float"], to=onnx.TensorProto.FLOAT)
        scaled = onnx.helper.make_node("Mul", [f"{name}.float", f"{name}.scale"], [name])
        graph.graph.node.insert(0, scaled)
        graph.graph.node.insert(0, unpacked)
        rounded += 1
    context.measure("rounded_weights", rounded)
    return {"model": write(graph, context.scratch / "model.toybox")}
