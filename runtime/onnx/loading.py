"""Guard the quantization tools: their failures become errors, their results are loaded once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from titrant.runtime.engines.onnxruntime_engine import load
from titrant.runtime.onnx.quiet import quiet
from titrant.runtime.values import OnnxModel
from titrant.schema.diagnostics import Diagnostic, StepError


@contextmanager
def quantizing(kind: str, scratch: Path) -> Iterator[None]:
    """Run onnxruntime's tools quietly; what they raise becomes StepError X211."""
    from onnx.shape_inference import InferenceError

    try:
        with quiet(scratch):
            yield
    except (ValueError, RuntimeError, TypeError, AttributeError, KeyError, IndexError, InferenceError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise StepError(
            Diagnostic(
                "X211",
                f"onnxruntime cannot quantize this graph ({kind}): {reason}",
                help="export with another opset, or choose another quantization.method",
            )
        ) from error


def loaded_once(model: OnnxModel) -> OnnxModel:
    """Load a file to prove that it can be; StepError X212 when it cannot."""
    load(model.path, threads=1)
    return model
