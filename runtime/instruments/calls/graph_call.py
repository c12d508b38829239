"""Run an ONNX graph once and return tensors inside it, which become outputs of a copy."""

import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from titrant.runtime.instruments.refused.inputs import ADVICE, REFUSED
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.text import first_line

if TYPE_CHECKING:
    import onnx

# Tensors that are made outputs at once: all of them lie in memory together.
_AT_ONCE = 64


def graph_tensors_at(
    model: "onnx.ModelProto", inputs: Mapping[str, np.ndarray], tensors: Collection[str]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (tensor, its values) for tensors of a graph, outputs among them; the graph is not optimized.

    `model` has its weights inside, and stays as it is. It runs once for each 64 tensors, so that no more of them lie in
    memory. Raises StepError X683 where onnxruntime cannot run it on the inputs.
    """
    names = list(dict.fromkeys(tensors))
    outputs = {value.name for value in model.graph.output}
    for first in range(0, len(names), _AT_ONCE):
        asked = names[first : first + _AT_ONCE]
        session = _session(model, [name for name in asked if name not in outputs])
        try:
            answers = session.run(asked, dict(inputs))
        except Exception as error:
            if type(error).__module__.startswith("onnxruntime") or isinstance(error, (ValueError, RuntimeError)):
                raise _refused(inputs, error) from None
            raise
        yield from zip(asked, answers, strict=True)


def _session(model: "onnx.ModelProto", inside: list[str]) -> Any:
    import onnx
    import onnxruntime

    from titrant.runtime.backends.onnxruntime.graph import fits_one_file, write_apart

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    copied.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inside)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    providers = ["CPUExecutionProvider"]
    try:
        if fits_one_file(copied):
            return onnxruntime.InferenceSession(copied.SerializeToString(), options, providers=providers)
        with tempfile.TemporaryDirectory(prefix="titrant-") as folder:
            large = write_apart(copied, Path(folder) / "inside.onnx")
            return onnxruntime.InferenceSession(str(large.path), options, providers=providers)
    except Exception as error:
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        message = f"onnxruntime does not open the graph: {first_line(error)}"
        raise StepError(
            Diagnostic(REFUSED, message, help="export it again, for an operator set that it knows")
        ) from None


def _refused(inputs: Mapping[str, np.ndarray], error: Exception) -> StepError:
    given = ", ".join(f"{name} {array.shape} {array.dtype}" for name, array in inputs.items())
    message = f"the model cannot answer a batch of {given}: {first_line(error)}"
    return StepError(Diagnostic(REFUSED, message, help=ADVICE))
