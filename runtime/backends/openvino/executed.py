"""Read back from OpenVINO in which precision it runs each operation with weights: it decides that as it compiles."""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends.backend import ExecutedLayer
from titrant.runtime.backends.openvino.convert import BEFORE_BIAS, layer_of

if TYPE_CHECKING:
    import openvino

# What multiplies weights, as the compiled graph calls it.
_PRODUCTS = ("Convolution", "Deconvolution", "FullyConnected", "MatMul", "RNNCell", "RNNSeq", "LLMMLP", "QKVProjection")
_RECURRENT = ("RNNCell", "RNNSeq")
_CONSTANT = "Const"
# What may stand between a constant and its product.
_MOVES = ("Reorder", "Convert", "Reshape", "Transpose")
_PRECISIONS = {
    "f64": "fp64", "f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8", "u8": "int8", "i4": "int4", "u4": "int4",
}  # fmt: skip


def executed(model: Any, *, threads: int = 1, layers: Collection[str] = ()) -> tuple[ExecutedLayer, ...]:
    """Return every operation of the compiled graph that has weights.

    One whose kernel unpacks its weights counts as what these are kept in. Raises StepError X212 for a file that
    OpenVINO cannot load.
    """
    from titrant.runtime.backends.openvino.ir import precision_of, read
    from titrant.runtime.backends.openvino.library import compiled

    graph = read(model)
    runs = compiled(graph, model.path.name, precision=precision_of(graph), threads=threads)
    return tuple(_layers(runs.get_runtime_model(), layers))


def _layers(runtime: "openvino.Model", layers: Collection[str]) -> Iterator[ExecutedLayer]:
    for operation in runtime.get_ordered_ops():
        kind = _say(operation, "layerType")
        weights = _weights(operation) if kind in _PRODUCTS else ""
        if kind in _RECURRENT or weights:
            computed = _PRECISIONS.get(_say(operation, "runtimePrecision"), _say(operation, "runtimePrecision"))
            precision = weights if weights in ("int8", "int4") else computed
            yield ExecutedLayer(_name(operation, layers), operation.get_friendly_name(), precision, kind)


def _weights(operation: Any) -> str:
    """Return the format of the constant that an operation multiplies with; "" where it multiplies two values."""
    for port in operation.input_values()[1:2]:
        source = port.get_node()
        while _say(source, "layerType") in _MOVES and source.get_input_size():
            source = source.input_value(0).get_node()
        if _say(source, "layerType") == _CONSTANT:
            given: str = port.get_element_type().get_type_name()
            return _PRECISIONS.get(given, given)
    return ""


def _name(operation: Any, layers: Collection[str]) -> str:
    """Return the original's layer: of what was fused into an operation the first that is one."""
    for original in _say(operation, "originalLayersNames").split(","):
        if name := layer_of(original.removesuffix(BEFORE_BIAS), layers):
            return name
    return ""


def _say(operation: Any, key: str) -> str:
    about = operation.get_rt_info()
    return str(about[key].astype(str)) if key in about else ""
