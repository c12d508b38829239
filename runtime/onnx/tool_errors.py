"""Turn what the quantization tools raise into errors for a person."""

from collections.abc import Iterator
from contextlib import contextmanager

from titrant.schema.diagnostics import Diagnostic, StepError
from titrant.schema.first_line import first_line


@contextmanager
def explained(kind: str) -> Iterator[None]:
    """Run onnxruntime's tools; what they raise becomes StepError X211."""
    from onnx.shape_inference import InferenceError
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    failures = (
        ValueError, RuntimeError, TypeError, AttributeError, KeyError, IndexError, AssertionError, InferenceError,
        state.Fail, state.InvalidArgument, state.InvalidGraph, state.NotImplemented, state.RuntimeException,
    )  # fmt: skip
    try:
        yield
    except failures as error:
        reason = first_line(error)
        raise StepError(
            Diagnostic(
                "X211",
                f"onnxruntime cannot quantize this graph ({kind}): {reason}",
                help="export with another opset, or choose another quantization.method",
            )
        ) from error
