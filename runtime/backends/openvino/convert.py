"""Make an OpenVINO graph of an ONNX file, whose operations are called as the file's nodes are."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends.openvino.ir import About, IrModel, Precision, write
from titrant.runtime.backends.openvino.library import read_graph, reason, simplify
from titrant.runtime.backends.openvino.names import name_as, nodes_of, telling_weights
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

if TYPE_CHECKING:
    import onnx
    import openvino

    from titrant.runtime.values import Recurrence

OTHERWISE = "write export format onnx, which onnxruntime runs, or use other operations in the model"


def converted(path: Path) -> "tuple[openvino.Model, onnx.ModelProto]":
    """Return the graph, simplified as OpenVINO's own converter does, and the ONNX file it is made of.

    Raises StepError X209 for a file that is no ONNX, X250 for a graph that OpenVINO cannot take over.
    """
    from onnx.inliner import inline_local_functions

    from titrant.runtime.backends.onnxruntime.graph import read

    source = read(path)
    if source.functions:
        source = inline_local_functions(source)
    try:
        graph = _read_graph(path, source)
        # The converter itself would write the file's path into the graph.
        simplify(graph)
    except RuntimeError as error:
        message = f"OpenVINO cannot take over this graph: {reason(error)}"
        raise StepError(Diagnostic("X250", message, help=OTHERWISE)) from error
    name_as(graph, source)
    return graph, source


def _read_graph(path: Path, source: "onnx.ModelProto") -> "openvino.Model":
    import onnx

    try:
        return read_graph(path)
    except RuntimeError:  # it takes no sparse weights and none of a file's own functions: `source` has them written out
        file = onnx.load(path, load_external_data=False)
        if not file.graph.sparse_initializer and not file.functions:
            raise
        return read_graph(source.SerializeToString())


def write_ir(
    graph: "openvino.Model", source: "onnx.ModelProto", folder: Path, *, precision: Precision = "f32"
) -> IrModel:
    """Write what was made of an ONNX file; its outputs and recurrent state are the file's."""
    names = tuple(output.name for output in source.graph.output)
    about = About(names, telling_weights(source), _recurrence(source))
    return write(graph, folder, precision=precision, about=about, nodes=nodes_of(source))


def _recurrence(source: "onnx.ModelProto") -> "Recurrence | None":
    import json

    from titrant.runtime.backends import recurrent

    noted = next((item.value for item in source.metadata_props if item.key == recurrent.KEY), None)
    return recurrent.read(json.loads(noted)) if noted else None


def parity_of(model: IrModel, original: Any, rows: Any, count: int, threads: int) -> dict[str, Any]:
    """Compare a file's answers with those of the file that it was made of, over the first rows."""
    from titrant.runtime.backends.session import answer_rows, check_rows, measure_parity, open_session, taken

    check_rows(rows)
    answers = []
    for engine, file in (("onnxruntime", original), ("openvino", model)):
        with open_session(engine, file, threads=threads) as session:
            inputs = {name: taken(rows, name)[:count] for name in session.input_names}
            answers.append(answer_rows(session, inputs, min(count, len(rows)), min(count, len(rows))))
    return measure_parity(*answers)
