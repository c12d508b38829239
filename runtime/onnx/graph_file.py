"""Read ONNX files, and write them so that the same graph always gives the same bytes."""

from pathlib import Path
from typing import Any

import onnx  # noqa: TID253 - its very subject
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]

from titrant.runtime.values import OnnxModel
from titrant.schema.diagnostics import Diagnostic, StepError
from titrant.schema.first_line import first_line

# A protobuf message holds no more.
LIMIT = 2**31 - 1
# What libraries note for themselves: where a node was traced, which pass ran.
NOTES = ("metadata_props",)


def read(path: Path) -> onnx.ModelProto:
    """Read a file without external data; StepError X209 when it is none."""
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError) as error:
        raise StepError(
            Diagnostic("X209", f"{path.name} is not an ONNX file that can be read: {error}", help="export it again")
        ) from None
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise StepError(
            Diagnostic(
                "X209",
                f"{path.name} keeps weights in other files",
                help="save it as one file: onnx.save(onnx.load(path), path)",
            )
        )
    return model


def write(model: onnx.ModelProto, path: Path) -> OnnxModel:
    """Check and write a graph without remarks, producers and paths; StepError X209 when not valid or too large."""
    _strip(model)
    if model.ByteSize() > LIMIT:
        raise StepError(
            Diagnostic(
                "X209",
                f"the graph has {model.ByteSize() / 2**30:.1f} GiB, and a file without external data holds 2 GiB",
                help="use another format, or quantize the model first",
            )
        )
    try:
        onnx.checker.check_model(model)
        data = model.SerializeToString(deterministic=True)
    except (onnx.checker.ValidationError, EncodeError) as error:
        raise StepError(Diagnostic("X209", f"the graph is not valid ONNX: {first_line(error)}")) from None
    path.write_bytes(data)
    return OnnxModel(path)


def _strip(model: onnx.ModelProto) -> None:
    model.producer_name = model.producer_version = model.domain = model.doc_string = ""
    del model.metadata_props[:]
    _strip_graph(model.graph)


def _strip_graph(graph: Any) -> None:
    graph.doc_string = ""
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
        part.doc_string = ""
        for field in NOTES:
            if hasattr(part, field):
                del getattr(part, field)[:]
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    _strip_graph(inner)
