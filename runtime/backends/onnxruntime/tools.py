"""Fold a graph, run onnxruntime's quantization tools quietly, and turn what they raise into StepErrors."""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.session import load
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.text import first_line


@contextlib.contextmanager
def quiet(scratch: Path) -> Iterator[None]:
    """Silence prints, warnings and log lines up to errors, and send temporary files to `scratch`.

    The quantization tools print progress, log advice on the root logger, and write next to the system's other
    temporary files; none of that can be configured. Say nothing of one's own within.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    folder, level = tempfile.tempdir, logging.root.manager.disable
    tempfile.tempdir = str(scratch)
    logging.disable(max(level, logging.ERROR))
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        tempfile.tempdir = folder


@contextlib.contextmanager
def explained(kind: str, *, sees_rows: bool = False) -> Iterator[None]:
    """Run onnxruntime's tools; what they raise becomes StepError X211.

    What they say of a graph is told; where they answer rows, an operation may name a value that it could not take.
    """
    from onnx.shape_inference import InferenceError
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    failures = (
        ValueError, RuntimeError, TypeError, AttributeError, KeyError, IndexError, AssertionError, InferenceError,
        state.Fail, state.InvalidArgument, state.InvalidGraph, state.NotImplemented, state.RuntimeException,
    )  # fmt: skip
    try:
        yield
    except failures as error:
        reason = type(error).__name__ if sees_rows else first_line(error)
        raise StepError(
            Diagnostic(
                "X211",
                f"onnxruntime cannot quantize this graph ({kind}): {reason}",
                help="export with another opset, or choose another quantization.method",
                said=first_line(error) if sees_rows else "",
            )
        ) from error


def folded(graph: onnx.ModelProto, scratch: Path) -> Path:
    """Write the graph with constants, normalizations and biases folded, as `folded.onnx`.

    Only by the basic level, whose result does not depend on the processor. What is left is what will run, and so what
    should be quantized.
    """
    source, target = scratch / "source.onnx", scratch / "folded.onnx"
    onnx.save(graph, str(source))
    load(source, threads=1, optimized="basic", written_to=target)
    source.unlink()
    return target
