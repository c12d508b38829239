"""Bring an old graph to what the quantization tools work on."""

import onnx  # noqa: TID253 - its very subject
from onnx import version_converter  # noqa: TID253 - its very subject

from titrant.runtime.onnx.domains import opset
from titrant.schema.diagnostics import Diagnostic, PreconditionError
from titrant.schema.first_line import first_line

# Quantize and dequantize nodes with a scale a channel came with this operator set.
LOWEST_OPSET = 13
# Since this version weights need not be listed among a graph's inputs; listed there they are not constant.
CONSTANT_WEIGHTS = 4


def modern(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with constant weights, in operator set 13 or later.

    Raises PreconditionError X211 when a node cannot be brought to that set.
    """
    constants = {one.name for one in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in constants]
    if len(inputs) < len(model.graph.input):
        model.ir_version = max(model.ir_version, CONSTANT_WEIGHTS)
        del model.graph.input[:]
        model.graph.input.extend(inputs)
    if opset(model) >= LOWEST_OPSET:
        return model
    try:
        return version_converter.convert_version(model, LOWEST_OPSET)
    except (version_converter.ConvertError, RuntimeError) as error:
        raise PreconditionError(
            Diagnostic(
                "X211",
                f"the graph is in operator set {opset(model)} and cannot be brought to {LOWEST_OPSET}: "
                f"{first_line(error)}",
                help=f"export the model again with opset {LOWEST_OPSET} or later",
            )
        ) from None
