"""Convert an ONNX file to an OpenVINO IR, compare the answers of both, and predict how large an IR becomes."""

import math
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from pydantic import Field

from titrant.runtime.backends.backend import distribution, run_cost
from titrant.runtime.backends.openvino import group_size
from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import forward_seconds, modelled, speed_of
from titrant.runtime.cost.matrices import quantized_already, recurrent_sizes
from titrant.runtime.cost.sizes import (
    CONVOLUTIONS,
    EMBEDDINGS,
    LAYER_NORMS,
    PRODUCTS_IN_FILE,
    folded_bytes,
    layers_of,
    missing,
    saved_once,
    tied_to_table,
)
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.facts import Hardware, Layer, ModelFacts
from titrant.schema.plan import Prediction

QUANTIZED = (*CONVOLUTIONS, *PRODUCTS_IN_FILE, *EMBEDDINGS)
RECURRENT = ("LSTM", "GRU", "RNN")
# Those that OpenVINO has int8 kernels for.
IN_INT8 = ("LSTM",)

# Bytes of text that describe a graph, fitted to a residual, a depthwise and two plain convolutional networks, two
# encoders and two multilayer perceptrons: once, for each convolution with what follows it, matrix product, layer norm
# (which is several operations), attention layer and recurrent layer of torch's.
_TEXT_BYTES, _CONVOLUTION_BYTES, _PRODUCT_BYTES, _NORM_BYTES = 1700, 2250, 1180, 7000
_ATTENTION_BYTES, _RECURRENT_BYTES = 13000, 8500
# The same where operations of a forward pass were seen: for each node that they become, what a convolution says of its
# window, and once. Measured on the same, and on transformers whose attention and norms are functions.
_NODE_TEXT_BYTES, _WINDOW_BYTES, _ONCE_BYTES = 365, 150, 300
# Of a graph made elsewhere, whose activations and additions are nodes of their own.
_FOLDED_BYTES, _NODE_BYTES = 1750, 180
# What unpacking weights in few bits adds to a convolution and to a matrix product, and what groups add to that; what
# the ranges of activations add to either, around a layer norm and to a recurrent layer.
_CONVOLUTION_UNPACKING_BYTES, _PRODUCT_UNPACKING_BYTES, _GROUPS_BYTES = 1580, 1375, 745
_CONVOLUTION_RANGE_BYTES, _PRODUCT_RANGE_BYTES, _NORM_RANGE_BYTES, _RECURRENT_RANGE_BYTES = 1850, 1150, 3200, 7000
# Where the ranges were counted: the text of one with its four limits, of unpacking weights with wide scales, and of the
# second step in which a place of a dimension is taken in int8. They follow from how OpenVINO writes its nodes.
_RANGE_TEXT_BYTES, _SELECTION_BYTES = 1530, 480
_WIDE_CONVOLUTION_TEXT_BYTES, _WIDE_PRODUCT_TEXT_BYTES = 1150, 1025
# A scale of 16 bits, of 32 bits, and what the ranges of a layer's activations take beside the weights.
_SCALE_BYTES, _WIDE_SCALE_BYTES, _RANGES_BYTES = 2, 4, 16

# Reading, simplifying, writing and opening both files: at all, for each layer, and for their weights.
_SECONDS, _LAYER_SECONDS = 0.08, 0.004
_WRITTEN_BYTES_PER_SECOND = 60e6
# Batches of activations that are held while the example rows are answered twice.
_HELD = 2.6


def unfit(model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Refuse to quantize what is quantized already, and what a loop is made of in ONNX: NNCF 3.4 cannot follow one."""
    if model is None:
        return ()
    names = [layer.name for layer in layers_of(model, "EmbeddingBag")]
    if not names:
        return quantized_already(model)
    cause = f"{', '.join(names)} (EmbeddingBag) becomes a loop in the graph, which NNCF cannot follow"
    return (Unmet(cause, "use quantization.method ort.dynamic, or Embedding and a mean in the model"),)


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
    version=2,
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


def not_installed(hardware: Hardware, *packages: str) -> tuple[Unmet, ...]:
    """Name every package that is not installed on the machine: one extra of titrant's brings them all."""
    return tuple(
        Unmet(f"{package} is not installed", "pip install 'titrant[openvino]'")
        for package in packages
        if distribution(hardware.identity.packages, package) is None
    )


def ir_bytes(model: ModelFacts) -> int:
    """Predict an fp32 IR: the weights that are read, once, and the text."""
    unread = sum(layer.weight_bytes for layer in model.layers if layer.unread)
    return folded_bytes(model) - unread + _text_bytes(model)


def _text_bytes(model: ModelFacts) -> int:
    """Return the bytes of the description, and of a mask, which are no weights."""
    if model.exported_nodes:
        # A graph's recurrent nodes are among those that were counted.
        recurrent = 0 if model.is_graph else _RECURRENT_BYTES * len(layers_of(model, *RECURRENT))
        windows = _WINDOW_BYTES * len(layers_of(model, *CONVOLUTIONS))
        nodes = _NODE_TEXT_BYTES * model.exported_nodes + recurrent + windows
        return nodes + model.mask_bytes + _ONCE_BYTES
    if model.is_graph:
        convolutions, products = layers_of(model, *CONVOLUTIONS), layers_of(model, *PRODUCTS_IN_FILE, *EMBEDDINGS)
        heavy = _FOLDED_BYTES * len(convolutions) + _PRODUCT_BYTES * len(products)
        return _TEXT_BYTES + heavy + _NODE_BYTES * (len(model.layers) - len((*convolutions, *products)))
    return (
        _TEXT_BYTES
        + _CONVOLUTION_BYTES * len(layers_of(model, *CONVOLUTIONS))
        + _PRODUCT_BYTES * len(layers_of(model, *PRODUCTS_IN_FILE, *EMBEDDINGS))
        + _RECURRENT_BYTES * len(layers_of(model, *RECURRENT))
        + _NORM_BYTES * len(layers_of(model, *LAYER_NORMS))
        + _ATTENTION_BYTES * len(layers_of(model, "MultiheadAttention"))
    )


def int8_bytes(model: ModelFacts, leave: Collection[str], *, ranges: bool) -> int:
    """Predict an IR with weights in 8 bits, with or without `ranges` of activations; layers to leave are left."""
    left = [layer.name for layer in model.layers if layer.excitation] if ranges else []
    model = _without(model, (*leave, *left))
    convolutions, products = layers_of(model, *CONVOLUTIONS), layers_of(model, *PRODUCTS_IN_FILE, *EMBEDDINGS)
    unpacking = _CONVOLUTION_UNPACKING_BYTES * len(convolutions) + _PRODUCT_UNPACKING_BYTES * len(products)
    size = ir_bytes(model) - saved_once(model, *QUANTIZED)
    if not ranges:
        return size + unpacking + _SCALE_BYTES * _channels(model)
    recurrent = layers_of(model, *IN_INT8)
    size += _WIDE_SCALE_BYTES * _channels(model) - 3 * sum(recurrent_sizes(layer)[0] for layer in recurrent)
    if model.activation_ranges:
        return size + _WIDE_CONVOLUTION_TEXT_BYTES * len(convolutions) + _ranged_bytes(model, len(products))
    return (
        size
        + unpacking
        + (_CONVOLUTION_RANGE_BYTES + _RANGES_BYTES) * len(convolutions)
        + (_PRODUCT_RANGE_BYTES + _RANGES_BYTES) * len(products)
        + _RECURRENT_RANGE_BYTES * len(recurrent)
        + _NORM_RANGE_BYTES * len(layers_of(model, *LAYER_NORMS))
    )


def _ranged_bytes(model: ModelFacts, matrices: int) -> int:
    """Return what counted ranges take, and unpacking that many matrices and those that no layer of its own holds."""
    size = _RANGE_TEXT_BYTES * model.activation_ranges + _SELECTION_BYTES * model.selections
    # Before a depthwise convolution each channel has a range of its own, of two numbers.
    size += 2 * _WIDE_SCALE_BYTES * sum(layer.groups for layer in layers_of(model, *CONVOLUTIONS) if layer.groups > 1)
    for layer in tied_to_table(model):  # NNCF gives a product that shares a table's weights a copy of its own
        size += math.prod(layer.weight_shape) + _WIDE_SCALE_BYTES * layer.weight_shape[0]
        matrices += 1
    for layer in layers_of(model, *IN_INT8):
        # A node of a graph has both directions.
        rows = layer.weight_shape[-2] if model.is_graph and layer.weight_shape else recurrent_sizes(layer)[1]
        size += _WIDE_SCALE_BYTES * rows  # both matrices of a direction share a scale a row
        matrices += 2 * rows // layer.weight_shape[-2] if layer.weight_shape else 2
    return size + _WIDE_PRODUCT_TEXT_BYTES * matrices


def _channels(model: ModelFacts) -> int:
    """Count the channels with a scale of their own; a tied product has those of its table."""
    return sum(layer.weight_shape[0] for layer in layers_of(model, *QUANTIZED) if layer.weight_shape)


def int4_bytes(model: ModelFacts, leave: Collection[str], group: int) -> int:
    """Predict an IR with the weights of matrix products and tables in 4 bits, and others in 8."""
    size = int8_bytes(model, leave, ranges=False)
    for layer in layers_of(_without(model, leave), *PRODUCTS_IN_FILE, *EMBEDDINGS):
        if layer.weight_shape:
            elements, length = math.prod(layer.weight_shape), _length(layer)
            grouped = group_size(length, group)
            scales = elements // (grouped if grouped > 0 else length)
            size += _SCALE_BYTES * (scales - elements // length) - (elements + 1) // 2
            size += _GROUPS_BYTES if grouped > 0 else 0
    return size


def _length(layer: Layer) -> int:
    """Return how many products a sum of a layer has: a node's weights may lie the other way."""
    return layer.weight_shape[-2 if layer.type in ("MatMul",) and len(layer.weight_shape) > 1 else -1]


def _without(model: ModelFacts, leave: Collection[str]) -> ModelFacts:
    """Return the facts as if the layers to leave were of a type that no method takes."""
    if not leave:
        return model
    return replace(
        model, layers=tuple(replace(layer, type="left") if layer.name in leave else layer for layer in model.layers)
    )
